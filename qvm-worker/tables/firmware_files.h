/* What firmware may ask the VM for, by name: the files of fw_cfg that the machine itself knows.
 *
 * ACPI tables with the script that places them, SMBIOS structures with their entry point, the
 * memory map. Made anew at each power-on, while no vCPU runs. */
#ifndef QVM_WORKER_TABLES_FIRMWARE_FILES_H
#define QVM_WORKER_TABLES_FIRMWARE_FILES_H

#include <stdint.h>

struct err;
struct machine_acpi;
struct memory;
struct smbios_config;

#define FIRMWARE_FILES_MAX      8u
#define FIRMWARE_FILE_NAME_SIZE 56u /* with its final 0, as fw_cfg has it */

struct firmware_file {
    char name[FIRMWARE_FILE_NAME_SIZE];
    uint8_t *bytes;
    uint32_t size;
};

struct firmware_files {
    uint32_t count;
    struct firmware_file list[FIRMWARE_FILES_MAX];
};

struct firmware_facts {
    const struct smbios_config *smbios;
    const struct memory *memory;
    const struct machine_acpi *acpi;
    uint64_t reserved_start, reserved_size; /* one more range of the memory map */
};

/* Make them all; what was there goes, but for the size of the ACPI tables. */
int firmware_files_make(struct firmware_files *files, const struct firmware_facts *facts,
                        struct err *err);
void firmware_files_fini(struct firmware_files *files);

/* Copy `bytes`. -ENOSPC: FIRMWARE_FILES_MAX are there. */
int firmware_files_add(struct firmware_files *files, const char *name, const void *bytes,
                       uint32_t size, struct err *err);

#endif
