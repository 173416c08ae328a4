/* ACPI tables for firmware: it places them where it likes, and a script tells it which pointers and
 * checksums follow from that. The commands are those of QEMU's hw/acpi/bios-linker-loader.c. */
#ifndef QVM_WORKER_TABLES_FIRMWARE_TABLES_H
#define QVM_WORKER_TABLES_FIRMWARE_TABLES_H

#include <stdint.h>

struct err;
struct firmware_files;

#define FIRMWARE_TABLES_FILE "etc/acpi/tables"

/* Add etc/acpi/rsdp, etc/acpi/tables and etc/table-loader for the tables that acpi_build wrote to
 * `area` for address 0: all pointers are offsets in it. Checksums that the script makes become 0.
 * The tables get `size` bytes of the area; 0: what they have, and room to grow. Firmware reads
 * sizes once, and the tables after it has moved what they tell. */
int firmware_tables_add(struct firmware_files *files, uint8_t *area, uint32_t size,
                        struct err *err);

#endif
