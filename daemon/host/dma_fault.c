#include "daemon/host/dma_fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_PRIORITIES 8 /* of its own facility, which is 0 */

/* "00:09.0" is of domain 0. */
static bool read_bdf(const char *text, char bdf[PCI_BDF_SIZE])
{
    size_t length = strspn(text, "0123456789abcdef:.");
    char whole[2 * PCI_BDF_SIZE];

    if (length > 0 && text[length - 1] == ':') {
        length--; /* of the sentence */
    }
    if (length >= PCI_BDF_SIZE) {
        return false;
    }
    (void)snprintf(whole, sizeof(whole), "%s%.*s", length == 7 ? "0000:" : "", (int)length, text);
    if (!pci_is_bdf(whole) || strlen(whole) >= PCI_BDF_SIZE) {
        return false;
    }
    memcpy(bdf, whole, strlen(whole) + 1);
    return true;
}

/* The hexadecimal number behind `word`, with or without 0x. */
static bool read_address(const char *text, const char *word, uint64_t *address)
{
    const char *found = strstr(text, word);
    char *end;

    if (found == NULL) {
        return false;
    }
    found += strlen(word);
    errno = 0;
    *address = strtoull(found, &end, 16);
    return errno == 0 && end != found;
}

/* "DMAR: [DMA Write NO_PASID] Request device [00:09.0] fault addr 0x40000000 [fault reason ..." */
static bool parse_intel(const char *text, struct dma_fault *fault)
{
    static const char who[] = "Request device [";
    const char *device = strstr(text, who);

    return strncmp(text, "DMAR: [DMA ", 11) == 0 && device != NULL &&
           read_bdf(device + strlen(who), fault->bdf) &&
           read_address(device, "fault addr ", &fault->address);
}

/* "AMD-Vi: Event logged [IO_PAGE_FAULT device=03:00.0 domain=0x0019 address=0xfef00000 flags=..."
 * or "vfio-pci 0000:03:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0019 address=..." */
static bool parse_amd(const char *text, struct dma_fault *fault)
{
    const char *event = strstr(text, "AMD-Vi: Event logged [IO_PAGE_FAULT ");
    const char *device = event != NULL ? strstr(event, "device=") : NULL;
    const char *blank = strchr(text, ' ');

    if (event == NULL || !read_address(event, "address=", &fault->address)) {
        return false;
    }
    if (device != NULL) {
        return read_bdf(device + strlen("device="), fault->bdf);
    }
    return event != text && blank != NULL && read_bdf(blank + 1, fault->bdf);
}

bool dma_fault_parse(const char *record, struct dma_fault *fault)
{
    const char *text = strchr(record, ';');
    struct dma_fault found = {.address = 0};
    char *end;
    unsigned long priority = strtoul(record, &end, 10);

    if (text == NULL || end == record || *end != ',' || priority >= KERNEL_PRIORITIES) {
        return false;
    }
    text++;
    if (!parse_intel(text, &found) && !parse_amd(text, &found)) {
        return false;
    }
    *fault = found;
    return true;
}
