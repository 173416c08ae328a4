/* Where a device sits and which interrupt it has, as the words of a configuration name it: the
 * arguments of `loc` and `intr`. Addresses are hexadecimal by default, all else is decimal. */
#ifndef QVM_WORKER_LOC_H
#define QVM_WORKER_LOC_H

#include <stdbool.h>
#include <stdint.h>

struct err;

#define LOC_PCI_BUSES     256u
#define LOC_PCI_DEVICES   32u
#define LOC_PCI_FUNCTIONS 8u
#define LOC_PIC_NAME_MAX  63u /* bytes: as the name of a vdev */

enum loc_kind { LOC_IO, LOC_MEMORY, LOC_PCI };

/* [[BUS:]DEVICE[.FUNCTION]] */
struct loc_pci {
    bool has_device;   /* otherwise any free one will do, and there are no numbers */
    bool has_function; /* otherwise 0 */
    uint32_t bus, device, function;
};

struct loc {
    enum loc_kind kind;
    uint64_t start; /* IO: port; MEMORY: guest-physical address */
    uint64_t size;  /* IO, MEMORY: bytes */
    bool has_size;  /* otherwise 0 */
    struct loc_pci pci;
};

/* `io:PORT[,LEN]`, `mem:ADDRESS[,LEN]`, `pci:` with struct loc_pci behind it. A size that is given
 * is not 0, and the end lies in the space. -EINVAL, -ERANGE: `err` has a sentence without place,
 * `loc` is as it was. */
int loc_parse(const char *text, struct loc *loc, struct err *err);

enum intr_kind {
    INTR_NONE, /* not given */
    INTR_APIC, /* `apic`: it feeds the local APICs, as interrupt controllers do */
    INTR_LINE, /* PIC:LINE */
};

struct intr {
    enum intr_kind kind;
    char pic[LOC_PIC_NAME_MAX + 1]; /* LINE: `ioapic`, `8259`, or the name of a vdev */
    uint32_t line;                  /* LINE */
};

/* `apic` or `PIC:LINE`. Whether there is such a controller, and such a line of it, is not looked
 * at. Failures as loc_parse. */
int intr_parse(const char *text, struct intr *intr, struct err *err);

#endif
