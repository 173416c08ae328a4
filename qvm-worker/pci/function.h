/* One function on a PCI bus: identity, BARs, interrupt, what a guest's writes to its configuration
 * do.
 *
 * PCI Local Bus Specification 3.0, chapter 6. Its BARs are regions of the bus while they are
 * decoded: they come, move and go as the guest writes; a BAR never displaces what is there, and
 * waits until its place is free. The configuration lock of pci.c is held around everything here
 * but what says otherwise. */
#ifndef QVM_WORKER_PCI_FUNCTION_H
#define QVM_WORKER_PCI_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/bus/bus.h"
#include "qvm-worker/pci/message.h"
#include "qvm-worker/pci/space.h"

#define PCI_BARS         6u
#define PCI_BAR_ROM      6u /* the expansion ROM's, which comes after them (6.2.5.2) */
#define PCI_BARS_AND_ROM 7u
#define PCI_CAPS_MAX     16u
#define PCI_CAP_SIZE_MAX 62u /* behind the header */

struct err;

struct pci_bar {
    uint64_t size; /* a power of two; 0: there is none */
    enum bus_space space;
    bool is_64bit, is_prefetchable;
    uint32_t region; /* what its accesses carry */
};

struct pci_cap {
    uint8_t id;
    uint32_t size;       /* behind the header */
    const uint8_t *data; /* at power-on */
    const uint8_t *mask; /* writable bits; NULL: none */
    bool is_live;        /* accesses go to the device */
};

struct pci_function_ops {
    /* Of BARs, as the bus calls it: no lock of ours is held. NULL if there are none. */
    bus_access_fn access;

    /* A BAR with this region answers at `address` from now on, or (is_there false) does so no more.
     * NULL: the device does not care. */
    void (*placed)(void *context, enum bus_space space, uint32_t region, uint64_t address,
                   bool is_there);

    /* Of capabilities that are live; `offset` counts from the id. */
    uint32_t (*config_read)(void *context, uint32_t cap, uint32_t offset, uint32_t size);
    void (*config_write)(void *context, uint32_t cap, uint32_t offset, uint32_t size,
                         uint32_t value);

    /* Of bytes that the space gives to somebody else, one to four that follow each other in a
     * double word; the lock is held. NULL: there are none. */
    uint32_t (*outside_read)(void *context, uint32_t at, uint32_t size);
    void (*outside_write)(void *context, uint32_t at, uint32_t size, uint32_t value);

    /* Of the extended space of PCI Express, bytes PCI_SPACE_SIZE to PCI_EXTENDED_SIZE - 1;
     * likewise. NULL: it has no capabilities there, and reads zeroes. */
    uint32_t (*extended_read)(void *context, uint32_t at, uint32_t size);
    void (*extended_write)(void *context, uint32_t at, uint32_t size, uint32_t value);

    /* It is a bus master from now on, or no more (6.2.2): before its messages may go, and when they
     * go no more. It begins as none. The lock is held. NULL: it does not reach into memory. */
    void (*mastering)(void *context, bool is_master);

    /* Bytes `at` to `at` + `size` - 1 of the space may have changed: at a guest's write, and as a
     * whole at power-on. NULL: there are no registers of its own. */
    void (*written)(void *context, uint32_t at, uint32_t size);
};

struct pci_function_config {
    const char *name;  /* for the bus; lives as long as the function */
    const char *where; /* FILE:LINE, for words; NULL: none */
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* base class << 16 | subclass << 8 | interface */
    uint8_t revision;
    bool has_intx;
    struct pci_bar bars[PCI_BARS_AND_ROM];
    uint32_t vector_count; /* of MSI-X; 0: none */
    uint8_t vector_bar;    /* where `bars` has none */
    uint32_t msi_count;    /* of MSI, a power of two; 0: none */
    bool has_msi_masks;
    const struct pci_cap *caps; /* copied, but for what they say is live */
    uint32_t cap_count;

    /* Registers as they are at power-on, of a function that is made after one that exists; NULL:
     * they are made from what stands above. It has identity, pin and capabilities, so that those
     * above say nothing; of MSI and MSI-X these are the places, and the counts above count.
     * Where MSI-X's table is, is known to who answers for the BARs: pci_vectors(). */
    const struct pci_space *space;
    uint32_t msi_at, msix_at; /* 0: none */
    const struct pci_function_ops *ops;
    void *context;
};

struct pci;
struct pci_bus;

struct pci_function {
    struct pci *pci;
    struct pci_bus *parent;
    uint8_t bus, devfn; /* as the configuration calls them */
    const char *name, *where;
    const struct pci_function_ops *ops;
    void *context;
    struct pci_space space;
    struct pci_bar bars[PCI_BARS_AND_ROM];
    struct {
        bool is_there; /* on the bus */
        uint64_t address;
    } placed[PCI_BARS_AND_ROM];
    uint32_t vector_bar;
    struct pci_messages msix, msi;
    uint32_t msix_at, msi_at;  /* their capabilities; 0: none */
    struct pci_events *events; /* descriptors that raise messages; NULL: none */
    struct {
        uint32_t at, size;
    } live[PCI_CAPS_MAX]; /* by number of the capability; size 0: not live */
    uint32_t live_count;
    struct {
        int fd, resample_fd; /* -1: none */
        bool is_heard;       /* under the lock of lines in pci.c */
    } line_event;
    uint32_t pin; /* 0 INTA; meaningless without has_intx */
    bool has_intx;
    bool is_master;
    bool is_asserted, is_held, is_intx_off; /* under the lock of lines in pci.c */
};

/* Whether that makes a function: -EINVAL in words without place. */
int pci_function_check(const struct pci_function_config *config, struct err *err);

/* `config` passed the check. -ENOSPC: the capabilities do not fit. */
int pci_function_init(struct pci_function *function, struct pci *pci,
                      const struct pci_function_config *config, struct err *err);
void pci_function_fini(struct pci_function *function);

/* A guest's access inside the 256 bytes, not over a border of four. */
uint32_t pci_function_read(struct pci_function *function, uint32_t at, uint32_t size);
void pci_function_write(struct pci_function *function, uint32_t at, uint32_t size, uint32_t value);

/* Back to power-on; pci_function_place moves its BARs. */
void pci_function_reset(struct pci_function *function);

/* It, or the bridge before it, is a bus master from now on or no more. */
void pci_function_update_master(struct pci_function *function);

/* Take all BARs off the bus. */
void pci_function_withdraw(struct pci_function *function, struct bus *bus);

/* Put each BAR where it says, if it is decoded and nobody is there. Returns whether one left its
 * place: then others may have waited for it. */
bool pci_function_place(struct pci_function *function, struct bus *bus);

/* Where BAR `bar` points, by its register; 0: nowhere (whether or not it is decoded). */
uint64_t pci_function_bar(const struct pci_function *function, uint32_t bar);

/* Have BAR `bar` point to `address` at power-on and decode it. */
void pci_function_assign(struct pci_function *function, uint32_t bar, uint64_t address);

#endif
