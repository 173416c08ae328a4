/* Inside the PCI buses: shared by pci/ alone. */
#ifndef QVM_WORKER_PCI_PCI_PRIVATE_H
#define QVM_WORKER_PCI_PCI_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "qvm-worker/pci/pci.h"

#define PCI_DEVFNS 256u /* functions of one bus */

#define PCI_DEVFN(device, function) ((device) << 3 | (function))

#define PCI_BRIDGES_MAX 16u

struct pci_bus {
    struct pci *pci;
    uint32_t number;             /* as a configuration calls it; a guest may give it another */
    struct pci_function *bridge; /* to it, on the root bus; NULL: the root, or there is none yet */
    struct pci_function *functions[PCI_DEVFNS];
    const char *reserved[PCI_DEVFNS]; /* whose place it is */
    bool is_avoided[PCI_DEVFNS];
    char name[32]; /* of the bridge */
};

struct pci {
    struct pci_config config;
    pthread_mutex_t lock; /* of everything about configuration */
    struct pci_bus root;
    struct pci_bus *behind[PCI_BRIDGES_MAX]; /* bridges, by number */
    uint32_t behind_count;
    bool is_resetting;
    struct {
        enum bus_space space;
        uint64_t start, size;
    } avoided[PCI_AVOIDED_MAX];
    uint32_t avoided_count;
    atomic_uint address; /* what port 0xCF8 holds */
    struct {
        bool is_there;
        uint64_t start, size;               /* where it is */
        uint64_t wanted_start, wanted_size; /* where it is to be; size 0: nowhere */
    } ecam;
    pthread_mutex_t lines_lock;     /* under a device's lock, above the leaves */
    uint32_t pirq_count[PCI_PIRQS]; /* who asserts it */
    uint8_t pirq_route[PCI_PIRQS];  /* line of the 8259 that it drives as well; PCI_NO_ROUTE */
};

#define PCI_NO_ROUTE 0xffu

/* Messages of a function, and what raises them from outside (event.c). */
void pci_init_messages(const struct pci *pci, struct pci_messages *messages, uint32_t count);
void pci_fini_events(struct pci_function *function);

/* The device's wish, the command register, MSI or MSI-X changed. */
void pci_update_intx(struct pci_function *function);
void pci_drop_line(struct pci_function *function); /* its event is not heard, and the line low */
bool pci_is_asserted(struct pci_function *function);

/* BARs of this function, or its decoding, changed. The configuration lock is held. */
void pci_place(struct pci_function *function);

/* Have ECAM answer there (size 0: nowhere), as soon as nobody else does. The lock is held. */
void pci_place_ecam(struct pci *pci, uint64_t start, uint64_t size);
bool pci_try_ecam(struct pci *pci); /* returns whether it left its place */

/* Put everything where it is to be. The lock is held. */
void pci_settle(struct pci *pci);

/* `value` of registers with the bytes in it that somebody else has; what is written to those goes
 * there. The configuration lock is held (outside.c). */
uint32_t pci_outside_read(struct pci_function *function, uint32_t at, uint32_t size,
                          uint32_t value);
void pci_outside_write(struct pci_function *function, uint32_t at, uint32_t size, uint32_t value);

/* Put the function's FILE:LINE before what `err` says; returns `code`. */
int pci_blame(const struct pci_function *function, int code, struct err *err);

/* What PIRQ `pirq` drives of the 8259. */
void pci_route_pirq(struct pci *pci, uint32_t pirq, uint8_t line);

/* Bus `i` of those that there are, the root first; NULL after the last (bridge.c). */
struct pci_bus *pci_bus_at(struct pci *pci, uint32_t i);

/* The bus that a configuration calls so; a new one has no bridge yet. -ENOSPC: no more of them. */
int pci_bus_get(struct pci *pci, uint32_t number, struct pci_bus **bus, struct err *err);

/* Have a bridge to it, when all places are reserved that have an owner. */
int pci_bus_connect(struct pci_bus *bus, struct err *err);

/* The bus that has this number by what the guest wrote; NULL: none. The lock is held. */
struct pci_bus *pci_bus_answering(struct pci *pci, uint32_t number);

/* Whether its bridge hands on messages, and accesses to all of a range. The lock is held. */
bool pci_bus_is_master(const struct pci_bus *bus);
bool pci_bus_passes(const struct pci_bus *bus, enum bus_space space, uint64_t start, uint64_t size);

/* What its bridge hands on at power-on; size 0: nothing. Whole units of PCI_PORTS_UNIT or
 * PCI_MEMORY_UNIT. */
enum pci_window { PCI_WINDOW_PORTS, PCI_WINDOW_LOW, PCI_WINDOW_HIGH, PCI_WINDOWS };
#define PCI_PORTS_UNIT  0x1000u
#define PCI_MEMORY_UNIT 0x100000u
void pci_bus_open(const struct pci_bus *bus, enum pci_window window, uint64_t start, uint64_t size);

bool pci_is_free_device(const struct pci_bus *bus, uint32_t device);

/* All functions in the order of bus, device, function; begin with zeroes. NULL: no more. */
struct pci_walk {
    uint32_t bus, devfn;
};
struct pci_function *pci_next(struct pci *pci, struct pci_walk *walk);

/* One access to a function's space, `at` below 4096. Takes the lock. */
uint32_t pci_config_access(struct pci *pci, uint32_t number, uint32_t devfn, uint32_t at,
                           uint32_t size, uint32_t value, bool is_write);

/* Ports 0xCF8-0xCFF and the ECAM window on the bus (access.c). */
int pci_add_ports(struct pci *pci, struct err *err);
void pci_on_ecam(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t *value,
                 bool is_write);

/* Give every BAR a place (assign.c). */
int pci_assign(struct pci *pci, struct err *err);

/* The host bridge (host.c). */
int pci_add_host(struct pci *pci, struct err *err);

/* The bridge to ISA (lpc.c). */
int pci_add_lpc(struct pci *pci, struct err *err);

#endif
