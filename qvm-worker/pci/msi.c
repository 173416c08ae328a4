/* MSI of one function. */
#include "qvm-worker/pci/msi.h"

#include <string.h>

#include "qvm-worker/pci/space.h"

#define CAP_HEADER    2u
#define CAP_SIZE_MAX  (PCI_MSI_END - CAP_HEADER)
#define CAPABLE_SHIFT 1u /* 6.8.1.3: how many there are, as a power of two */
#define ALLOWED_SHIFT 4u /* and how many the guest allows */
#define COUNT_BITS    7u

/* Where what stands at `at` with an address of 64 bits is in this one. */
static uint32_t place_of(uint32_t control, uint32_t at)
{
    return (control & PCI_MSI_CONTROL_64BIT) != 0 ? at : at - 4;
}

uint32_t pci_msi_pending_at(uint32_t control)
{
    return place_of(control, PCI_MSI_PENDING);
}

uint32_t pci_msi_size(uint32_t control)
{
    bool has_masks = (control & PCI_MSI_CONTROL_MASKS) != 0;

    return place_of(control, has_masks ? PCI_MSI_END : PCI_MSI_DATA + 2);
}

void pci_msi_allow(struct pci_space *space, uint32_t at, uint32_t control, uint32_t count)
{
    pci_space_allow(space, at + PCI_MSI_CONTROL,
                    PCI_MSI_CONTROL_ENABLE | COUNT_BITS << ALLOWED_SHIFT, 2);
    pci_space_allow(space, at + PCI_MSI_ADDRESS, ~3u, 4); /* 6.8.1.4: aligned */
    if ((control & PCI_MSI_CONTROL_64BIT) != 0) {
        pci_space_allow(space, at + PCI_MSI_ADDRESS_HIGH, UINT32_MAX, 4);
    }
    pci_space_allow(space, at + place_of(control, PCI_MSI_DATA), UINT16_MAX, 2);
    if ((control & PCI_MSI_CONTROL_MASKS) != 0) {
        pci_space_allow(space, at + place_of(control, PCI_MSI_MASK),
                        UINT32_MAX >> (PCI_MSI_MESSAGES_MAX - count), 4);
    }
}

static void put(uint8_t *bytes, uint32_t at, uint32_t value, uint32_t size)
{
    memcpy(bytes + at - CAP_HEADER, &value, size); /* little-endian, as we are */
}

int pci_msi_add(struct pci_space *space, uint32_t count, bool has_masks)
{
    uint32_t shift = (uint32_t)__builtin_ctz(count);
    uint32_t control =
        shift << CAPABLE_SHIFT | PCI_MSI_CONTROL_64BIT | (has_masks ? PCI_MSI_CONTROL_MASKS : 0);
    uint8_t data[CAP_SIZE_MAX] = {0};
    int at;

    put(data, PCI_MSI_CONTROL, control, 2);
    at = pci_space_add_cap(space, PCI_CAP_MSI, data, NULL, pci_msi_size(control) - CAP_HEADER);
    if (at >= 0) {
        pci_msi_allow(space, (uint32_t)at, control, count);
    }
    return at;
}

static uint32_t get(const struct pci_space *space, uint32_t at, uint32_t size)
{
    return pci_space_get(space, at, size);
}

/* How many messages the guest tells apart; reserved values are as many as there are. */
static uint32_t allowed(const struct pci_messages *messages, uint32_t control)
{
    uint32_t count = 1u << (control >> ALLOWED_SHIFT & COUNT_BITS);

    return count < messages->count ? count : messages->count;
}

/* 6.8.1.6: the device changes as many low bits of the data as it was allowed messages. */
void pci_msi_written(struct pci_messages *messages, const struct pci_space *space, uint32_t at,
                     bool is_usual)
{
    uint32_t control = get(space, at + PCI_MSI_CONTROL, 2);
    bool has_high = (control & PCI_MSI_CONTROL_64BIT) != 0;
    uint32_t data = get(space, at + place_of(control, PCI_MSI_DATA), 2);
    uint32_t masks = (control & PCI_MSI_CONTROL_MASKS) != 0
                         ? get(space, at + place_of(control, PCI_MSI_MASK), 4)
                         : 0;
    uint32_t low = allowed(messages, control) - 1;
    uint32_t words[PCI_MSI_MESSAGES_MAX][PCI_MESSAGE_WORDS];

    for (uint32_t i = 0; i < messages->count; i++) {
        words[i][PCI_MESSAGE_ADDRESS] = get(space, at + PCI_MSI_ADDRESS, 4);
        words[i][PCI_MESSAGE_ADDRESS_HIGH] =
            has_high ? get(space, at + PCI_MSI_ADDRESS_HIGH, 4) : 0;
        words[i][PCI_MESSAGE_DATA] = (data & ~low) | (i & low);
        words[i][PCI_MESSAGE_CONTROL] = masks >> (i & low) & PCI_MESSAGE_MASKED;
    }
    if ((control & PCI_MSI_CONTROL_ENABLE) == 0 || !is_usual) {
        pci_messages_enable(messages, false, false);
    }
    pci_messages_put_all(messages, words);
    if ((control & PCI_MSI_CONTROL_ENABLE) != 0 && is_usual) {
        pci_messages_enable(messages, true, false);
    }
}

uint32_t pci_msi_pending(struct pci_messages *messages, const struct pci_space *space, uint32_t at)
{
    uint32_t low = allowed(messages, get(space, at + PCI_MSI_CONTROL, 2)) - 1;
    uint64_t pending = pci_messages_pending(messages, 0);
    uint32_t shown = 0;

    for (uint32_t i = 0; i < messages->count; i++) {
        shown |= (uint32_t)(pending >> i & 1) << (i & low);
    }
    return shown;
}
