/* The SMBIOS tables of a guest: System Management BIOS Reference Specification 3.6.0 (DSP0134).
 *
 * Firmware (0), system with its name and UUID (1), chassis (3), processor (4), memory array, device
 * and mapped addresses (16, 17, 19), boot information (32), end (127). */
#ifndef QVM_WORKER_TABLES_SMBIOS_H
#define QVM_WORKER_TABLES_SMBIOS_H

#include <stdint.h>

#include "qvm-worker/topology.h"

struct memory;

#define SMBIOS_MAX         2048u /* bytes of all structures: checked when it is built */
#define SMBIOS_ANCHOR_SIZE 31u   /* _SM_, 5.2.1 */
#define SMBIOS_ANCHOR_3    24u   /* _SM3_, 5.2.2 */

#define SMBIOS_PACKAGES_MAX 16u /* that are told; more are what CPUID says */
#define SMBIOS_TEXT_MAX     64u /* bytes of one text of the identity */

/* Who the VM says that it is, where that was given; printable texts, NULL: not given. */
struct smbios_identity {
    const char *manufacturer, *product;
    const char *serial; /* otherwise the VM's name */
    const char *uuid;   /* smbios_parse_uuid takes it; otherwise it is made of the name */
};

struct smbios_config {
    const char *name;                       /* of the VM */
    const struct smbios_identity *identity; /* NULL: nothing is given */
    struct topology cpus;
    const struct memory *memory;
};

struct smbios {
    uint32_t size;
    uint16_t count, largest; /* structures; bytes of the largest one */
    uint8_t bytes[SMBIOS_MAX];
};

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" as SMBIOS keeps it (7.2.1). -EINVAL: it is none. */
int smbios_parse_uuid(const char *text, uint8_t uuid[16]);

void smbios_build(const struct smbios_config *config, struct smbios *tables);

/* Entry points for structures at `address`, with their checksums. */
void smbios_anchor(const struct smbios *tables, uint32_t address,
                   uint8_t anchor[SMBIOS_ANCHOR_SIZE]);
void smbios_anchor_3(const struct smbios *tables, uint64_t address,
                     uint8_t anchor[SMBIOS_ANCHOR_3]);

/* Write structures and both entry points to where a guest without firmware looks for them. */
void smbios_write(const struct smbios *tables, const struct memory *memory);

#endif
