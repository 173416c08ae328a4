/* The PCI functions of this machine, as sysfs(5) tells: a snapshot, which pci_read() takes anew.
 *
 * `root` is put before "/sys" and "/proc": "" on the machine itself, a prepared tree in tests.
 * Nothing here changes the machine. Some attributes (driver_override, sriov_numvfs, uevent) wait
 * until a change of the function's driver is over, which may be never, so none of them is read;
 * configuration space waits as long as a reset, so it is read once, and by who may wait. Formats:
 * the kernel's Documentation/ABI/testing/sysfs-bus-pci, PCI Express Base Specification 7.8.3
 * (Device Serial Number). */
#ifndef QVM_DAEMON_HOST_PCI_H
#define QVM_DAEMON_HOST_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define PCI_BDF_SIZE      20   /* "0000:00:1f.3" with its end; domains of 16 bits and more */
#define PCI_DRIVER_SIZE   64   /* of a driver's name */
#define PCI_RESET_SIZE    64   /* of a list of reset methods */
#define PCI_USE_SIZE      192  /* of the sentence that says what the host does with it */
#define PCI_BARS          7    /* six BARs and the expansion ROM */
#define PCI_FUNCTIONS_MAX 4096 /* more are counted and not listed */

#define PCI_VFIO_DRIVER "vfio-pci"

#define PCI_CLASS_NETWORK 0x02
#define PCI_CLASS_BRIDGE  0x06
#define PCI_CLASS_DISPLAY 0x03

struct pci_bar {
    uint64_t start, size; /* size 0: there is none */
    uint64_t flags;       /* the kernel's IORESOURCE_ flags: 0x100 I/O, 0x200 memory ... */
};

/* What configuration space tells. */
struct pci_config {
    bool is_known;         /* it answered */
    bool is_bridge;        /* the header is of type 1 or 2: never a guest's */
    uint8_t interrupt_pin; /* 1 INTA ... 4 INTD; 0: none, or it could not be read */
    uint64_t serial;       /* Device Serial Number; 0: none, or it could not be read */
};

struct pci_function {
    char bdf[PCI_BDF_SIZE];
    uint16_t vendor, device, subvendor, subdevice;
    uint32_t class; /* base class << 16 | subclass << 8 | programming interface */
    uint8_t revision;
    struct pci_config config;
    bool was_asked;               /* for that, by who follows the machine */
    char driver[PCI_DRIVER_SIZE]; /* empty: none is bound */
    int iommu_group;              /* -1: none */
    int node;                     /* NUMA node, -1: not known */
    char reset[PCI_RESET_SIZE];   /* methods in the kernel's order, "flr bus"; empty: none */
    unsigned vfs, vfs_most;       /* virtual functions: switched on, possible */
    char physical[PCI_BDF_SIZE];  /* the function that this one is a virtual one of, or empty */
    struct pci_bar bars[PCI_BARS];
    char use[PCI_USE_SIZE]; /* what the host itself does with it; empty: nothing that is known */
    const char *cure;       /* how that ends, in words of static storage; NULL: no use */
};

struct pci_table {
    struct pci_function *list; /* by BDF; owned */
    size_t count, room;
    size_t left_out; /* functions beyond PCI_FUNCTIONS_MAX */
};

/* Read all functions and what the host does with them, without what their configuration space
 * tells. A machine without PCI has none. -ENOMEM. */
int pci_read(const char *root, struct pci_table *table, struct err *err);
void pci_fini(struct pci_table *table);

/* Read one function, without its `use` and its configuration space. -ENODEV: it is not there;
 * -EINVAL: `bdf` is no name of a function. */
int pci_read_function(const char *root, const char *bdf, struct pci_function *function,
                      struct err *err);

/* Read what its configuration space tells: waits while it is reset. One that sleeps in D3cold is
 * left alone, unless it may be woken up, which takes a moment more. */
void pci_read_config(const char *root, const char *bdf, bool may_wake, struct pci_config *config);

/* Find out again what the host does with each: mounted disks and swap, also through partitions,
 * device mapper and md; addresses, routes, members of bridges and bonds; the display and the
 * console it was booted with; virtual functions that exist; a network card with a driver whose
 * interface cannot be seen. -ENOMEM: then `use` is not what it should be. */
int pci_read_use(const char *root, struct pci_table *table);

/* Add the cards that have an IPv4 address without a network (/32): no table of routes in /proc
 * names these. The kernel tells them by a netlink socket alone, which a hand must not have, and of
 * the network namespace that we live in: not of a prepared tree. */
void pci_read_addresses(const char *root, struct pci_table *table);

/* Is `text` the full name of a function, DOMAIN:BUS:DEVICE.FUNCTION in lower case? */
bool pci_is_bdf(const char *text);

/* The last function on the way to `path`, the target of a link of sysfs. False: there is none. */
bool pci_of_path(const char *path, char bdf[PCI_BDF_SIZE]);

/* One more, in its place; it is not there yet. -ENOMEM; -ENOSPC: there are PCI_FUNCTIONS_MAX, and
 * it is counted among those left out. */
int pci_insert(struct pci_table *table, const struct pci_function *function);

/* The function called `bdf`, or NULL. */
const struct pci_function *pci_find(const struct pci_table *table, const char *bdf);

/* Whether the function may be given to a guest as far as the hardware and the host's own use go:
 * 0, or why not, in words that name it: -EINVAL it is a bridge; -EBUSY the host uses it, or another
 * function of its IOMMU group, which would go with it; -EOPNOTSUPP there is no IOMMU. */
int pci_judge(const struct pci_table *table, const struct pci_function *function, struct err *err);

#endif
