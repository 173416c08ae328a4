/* MSI-X of one function. */
#include "qvm-worker/pci/msix.h"

#include <string.h>

#include "qvm-worker/pci/space.h"

#define ENTRY_SIZE 16u
#define WORD_SIZE  4u
#define CAP_SIZE   10u /* behind the header */

int pci_msix_add(struct pci_space *space, uint32_t count, uint32_t bar)
{
    uint32_t pending = PCI_MSIX_PENDING | bar;
    uint32_t control = count - 1;
    uint8_t data[CAP_SIZE] = {0}, mask[CAP_SIZE] = {0};

    mask[1] = (PCI_MSIX_CONTROL_MASK | PCI_MSIX_CONTROL_ENABLE) >> 8;
    memcpy(data, &control, 2);
    memcpy(data + 2, &bar, 4); /* the table is at its start */
    memcpy(data + 6, &pending, 4);
    return pci_space_add_cap(space, PCI_CAP_MSIX, data, mask, sizeof(data));
}

void pci_msix_control(struct pci_messages *messages, uint32_t control)
{
    pci_messages_enable(messages, (control & PCI_MSIX_CONTROL_ENABLE) != 0,
                        (control & PCI_MSIX_CONTROL_MASK) != 0);
}

static void access_table(struct pci_messages *messages, uint64_t offset, uint32_t size,
                         uint64_t *value, bool is_write)
{
    uint32_t vector = (uint32_t)(offset / ENTRY_SIZE);
    uint32_t word = (uint32_t)(offset % ENTRY_SIZE / WORD_SIZE);
    uint32_t words[PCI_MESSAGE_WORDS];

    if (is_write) {
        memcpy(words, value, size);
        pci_messages_put(messages, vector, word, size / WORD_SIZE, words);
    } else {
        pci_messages_get(messages, vector, words);
        memcpy(value, words + word, size);
    }
}

/* 6.8.2: others are undefined. A read of what is not there is 0. */
static bool is_whole(uint64_t offset, uint32_t size, uint64_t *value, bool is_write)
{
    if (!is_write) {
        *value = 0;
    }
    return (size == 4 || size == 8) && offset % size == 0;
}

void pci_msix_table(struct pci_messages *messages, uint64_t offset, uint32_t size, uint64_t *value,
                    bool is_write)
{
    if (is_whole(offset, size, value, is_write) &&
        offset < (uint64_t)messages->count * ENTRY_SIZE) {
        access_table(messages, offset, size, value, is_write);
    }
}

void pci_msix_pending(struct pci_messages *messages, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    if (is_whole(offset, size, value, is_write) && !is_write && offset < PCI_MESSAGES_MAX / 8) {
        uint64_t pending = pci_messages_pending(messages, (uint32_t)(offset / 8));

        memcpy(value, (const uint8_t *)&pending + offset % 8, size);
    }
}

void pci_msix_access(struct pci_messages *messages, uint64_t offset, uint32_t size, uint64_t *value,
                     bool is_write)
{
    if (offset < PCI_MSIX_PENDING) {
        pci_msix_table(messages, offset, size, value, is_write);
    } else {
        pci_msix_pending(messages, offset - PCI_MSIX_PENDING, size, value, is_write);
    }
}
