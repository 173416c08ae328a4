/* What PCI functions are called by people: their classes, and names from the list pci.ids, which
 * may be installed. */
#ifndef QVM_CLI_PCI_WORDS_H
#define QVM_CLI_PCI_WORDS_H

#include <stdint.h>

#define PCI_NAME_SIZE 192

/* What a function does, in a word: nvme, ethernet, vga ...; `class` as in struct msg_device. */
const char *pci_class_word(int64_t class);

/* The list, read whole. */
struct pci_names {
    char *text; /* NULL: there is none */
};

/* Read the first of `paths` (NULL ends them) that is there; NULL: where distributions put it. */
void pci_names_load(struct pci_names *names, const char *const *paths);
void pci_names_fini(struct pci_names *names);

/* "VENDOR DEVICE", as far as the list knows them; empty: not at all. */
void pci_names_find(const struct pci_names *names, int64_t vendor, int64_t device,
                    char name[PCI_NAME_SIZE]);

#endif
