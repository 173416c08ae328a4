/* The PCI buses of a machine, on its buses, interrupt lines and power management. */
#ifndef QVM_WORKER_MACHINE_PCI_H
#define QVM_WORKER_MACHINE_PCI_H

struct err;
struct machine;
struct machine_spec;
struct pci;

/* Needs machine_bus, machine_memory, machine_power. */
int machine_pci_create(struct machine *machine, const struct machine_spec *spec, struct pci **pci,
                       struct err *err);

#endif
