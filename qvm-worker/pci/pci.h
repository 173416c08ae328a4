/* The PCI buses of a machine: who sits where, configuration accesses, interrupt lines.
 *
 * PCI Local Bus Specification 3.0; the enhanced configuration access mechanism of PCI Express Base
 * Specification 2.1, 7.2.2. One segment, one root bus; other buses are behind bridges on it, which
 * are there when somebody names a place on such a bus.
 *
 * Order: pci_create (which adds the host bridge); pci_reserve and pci_add, in the order of the
 * configuration; pci_seal; then at each power-on pci_reset; pci_destroy.
 *
 * Threads: configuration accesses come on any vCPU, and BARs move under them; pci_intx and
 * pci_message may be called on any thread, also under a device's lock; everything else is the
 * control thread's, with no vCPU running. Lock order: on top of bus.c. */
#ifndef QVM_WORKER_PCI_PCI_H
#define QVM_WORKER_PCI_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/pci/function.h"

struct bus;
struct err;
struct loc;
struct loc_pci;
struct fields_writer;
struct pci;

#define PCI_ECAM_START   0xe0000000ull
#define PCI_ECAM_SIZE    0x10000000ull /* 256 buses of 1 MiB */
#define PCI_MEMORY_START 0xc0000000ull /* BARs below 4 GiB */
#define PCI_MEMORY_END   0xe0000000ull
#define PCI_FIRMWARE_END 0xfec00000ull /* firmware places BARs itself, as far up as that */
#define PCI_PORTS_START  0xc000u       /* where we put BARs of ports; a guest may use others */
#define PCI_PORTS_END    0x10000u

#define PCI_BUSES       256u /* numbers that there are for them */
#define PCI_AVOIDED_MAX 80u  /* ranges of ports and addresses */

#define PCI_PINS     4u /* INTA to INTD */
#define PCI_PIRQS    8u
#define PCI_GSI_BASE 16u /* PIRQA is this line of the IOAPIC, and so on */

#define PCI_PM_BASE 0x600u /* where power management is without firmware */

#define PCI_PAM_COUNT 7u /* registers that say who answers at 0xC0000-0xFFFFF */

/* What the buses need of the machine; called with locks held: none comes back to us. */
struct pci_ops {
    /* One holder of a level-triggered line more or less. */
    void (*line)(void *context, uint32_t gsi, bool is_held);

    /* A message as MSI's. */
    void (*message)(void *context, uint64_t address, uint32_t data);

    /* Routes, so that an event descriptor can send a message without us: a new one (its number, or
     * -ENOSPC); where it leads, from the next commit on; KVM hears `fd`, which it did not hear
     * before, or no more (the same values again). All NULL: KVM hears nothing. */
    int (*add_route)(void *context);
    void (*set_route)(void *context, uint32_t route, uint64_t address, uint32_t data);
    void (*commit_routes)(void *context);
    int (*hear)(void *context, uint32_t route, int fd, bool is_on);

    /* Likewise for a level-triggered line: a write to `fd` raises it, the end of the interrupt
     * lowers it and writes to `resample_fd`; no more: it is low. Not called with has_own_chips. */
    int (*hear_line)(void *context, uint32_t gsi, int fd, int resample_fd, bool is_on);

    /* The reset control register, port 0xCF9. */
    void (*reset)(void *context);

    /* The guest wrote the PAM registers of the host bridge (or they went back to power-on): for
     * each of them, two bits a half: bit 0 reads, bit 1 writes go to memory; otherwise to the ROM.
     * Intel 3 series chipset, 5.1.20 and on. On the vCPU's thread. NULL: nobody cares. */
    void (*pam)(void *context, const uint8_t registers[PCI_PAM_COUNT]);

    /* ECAM is somewhere else. The lock is held. NULL: nobody cares. */
    void (*ecam)(void *context);

    /* has_lpc: power management answers at these ports; 0: nowhere. The lock is held. */
    void (*pm_base)(void *context, uint16_t base);
};

struct pci_config {
    struct bus *bus;
    const struct pci_ops *ops;
    void *context;
    bool has_lpc;        /* a bridge to what is not on PCI, device 31 */
    bool has_firmware;   /* places of BARs and of ECAM are its business */
    bool has_own_chips;  /* the VM's interrupt controllers are its vdevs: KVM hears no lines */
    uint64_t high_start; /* above all RAM, and above 4 GiB: 64-bit BARs */
    uint64_t high_end;   /* as far as the processor can address */
};

int pci_create(const struct pci_config *config, struct pci **pci, struct err *err);
void pci_destroy(struct pci *pci); /* NULL is fine */

/* Keep a place for the one who comes with exactly this `loc` (it has a device), and off who comes
 * without. `owner` is for words and lives as long as the buses. -EEXIST: taken, `err` says by whom.
 * -EINVAL: there is no such place. */
int pci_reserve(struct pci *pci, const struct loc_pci *loc, const char *owner, struct err *err);

/* `reserve loc`: put nothing there on our own, neither a function nor a BAR. Who names the place
 * has it all the same. Before pci_add. -ENOSPC: PCI_AVOIDED_MAX are there. */
int pci_avoid(struct pci *pci, const struct loc *loc);

/* A new function at `loc`, or (NULL, or without a device) as function 0 of the first device number
 * that is free. It lives as long as the buses. */
int pci_add(struct pci *pci, const struct loc_pci *loc, const struct pci_function_config *config,
            struct pci_function **function, struct err *err);

/* All are there: functions of a device know of each other, BARs get their places. -EINVAL: a device
 * without function 0 (3.2.2.3.4); -ENOSPC: a BAR finds no place. */
int pci_seal(struct pci *pci, struct err *err);

/* Power-on. */
void pci_reset(struct pci *pci);

/* Set the function's INTx. */
void pci_intx(struct pci_function *function, bool is_high);

/* Send its vector by MSI-X or MSI; false: neither is enabled. */
bool pci_message(struct pci_function *function, uint32_t vector);
bool pci_has_messages(struct pci_function *function);

/* An event descriptor (eventfd, not blocking) for whoever raises that vector from outside, as a
 * device of the host or another process: writing to it sends the message as pci_message does. The
 * function's, as long as it lives; the same one at each call. On the control thread, before a vCPU
 * runs. -EINVAL: there is no such vector; -ENOSPC, -ENOMEM, -EMFILE: no more of them. */
int pci_event(struct pci_function *function, uint32_t vector);

/* The same for INTx, which is a level: writing to it raises the line; when the guest ends the
 * interrupt the line falls, and *resample_fd is written to: who still wants service raises it
 * again. So it is as well when the guest allows INTx again. It drives the IOAPIC's line of the PIRQ
 * alone. -EINVAL: the function has no INTx. */
int pci_intx_event(struct pci_function *function, int *resample_fd);

/* Whether a level that comes by an event descriptor is heard at all. */
bool pci_hears_lines(const struct pci *pci);

/* An access to MSI-X's table, and to its pending bits, of a function that was added with a space of
 * its own, wherever its BARs show them. Behind the last vector is nothing. Any thread. */
void pci_vectors(struct pci_function *function, uint64_t offset, uint32_t size, uint64_t *value,
                 bool is_write);
void pci_vectors_pending(struct pci_function *function, uint64_t offset, uint32_t size,
                         uint64_t *value, bool is_write);

/* Add what a guest wrote to the function's configuration, and to its MSI-X table, to a list
 * (fields.h); write it there again. No vCPU runs. -EINVAL: that is no such list; nothing was
 * written. */
int pci_function_save(struct pci_function *function, struct fields_writer *writer);
int pci_function_restore(struct pci_function *function, const uint8_t *bytes, size_t size,
                         struct err *err);

/* The PIRQ (0 is A) that a pin of a device number drives; its line of the IOAPIC follows. */
uint32_t pci_pirq(uint32_t device, uint32_t pin);

/* The device of bus 0, and its pin, by which the function's INTx comes there. */
void pci_root_pin(const struct pci_function *function, uint32_t *device, uint32_t *pin);

/* Where ECAM answers now; false: nowhere. */
bool pci_ecam(const struct pci *pci, uint64_t *start, uint64_t *size);

/* Where BARs below 4 GiB may be: ranges without that of ECAM, at most two. Returns how many. And
 * above 4 GiB. An end does not belong to its range. */
uint32_t pci_low_windows(const struct pci *pci, uint64_t starts[2], uint64_t ends[2]);
void pci_high_window(const struct pci *pci, uint64_t *start, uint64_t *end);

/* Functions in the order of bus, device, function: number `i`, or NULL after the last. */
const struct pci_function *pci_function_at(struct pci *pci, uint32_t i);

#endif
