/* Configuration space of a function of the host as a guest may see it. */
#include "qvm-worker/vfio/registers.h"

#include <errno.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/pci/msi.h"
#include "qvm-worker/pci/msix.h"

/* PCI Local Bus Specification 3.0, 6.2 and appendix H. */
#define LATENCY_TIMER    0x0du
#define BIST             0x0fu
#define HEADER_TYPE_MASK 0x7fu
#define STATUS_ERRORS    0xf900u
#define BAR_IO           0x1u
#define BAR_TYPE_64BIT   0x4u
#define BAR_PREFETCHABLE 0x8u
#define ROM_MIN          0x800u
#define ROM_MAX          (1ull << 24)
#define GONE             0xffffu /* vendor of a device that does not answer */

#define CAP_POWER   0x01u
#define CAP_VENDOR  0x09u
#define CAP_EXPRESS 0x10u

/* PCI Bus Power Management Interface Specification 1.2, 3.2. */
#define POWER_CAPABILITIES 2u
#define POWER_CONTROL      4u
#define POWER_SIZE         8u
#define POWER_PME          0xf800u /* states from which it could wake */
#define POWER_STATE        0x0003u

/* PCI Express Base Specification 2.1, 7.8. */
#define EXPRESS_FLAGS          0x02u
#define EXPRESS_TYPE           0x00f0u
#define EXPRESS_ENDPOINT       0x0u
#define EXPRESS_LEGACY         0x1u
#define EXPRESS_IN_COMPLEX     0x90u
#define EXPRESS_VERSION        0x000fu
#define EXPRESS_DEVICE         0x04u
#define EXPRESS_FLR            0x10000000u
#define EXPRESS_CONTROL        0x08u
#define EXPRESS_CONTROL_BITS   0x7fffu /* without that of a reset */
#define EXPRESS_LINK           0x0cu   /* to the end of slot and root */
#define EXPRESS_DEVICE_2       0x24u
#define EXPRESS_CONTROL_2      0x28u
#define EXPRESS_CONTROL_2_BITS 0x001fu /* completion time */
#define EXPRESS_LINK_2         0x2cu
#define EXPRESS_SIZE_1         0x14u
#define EXPRESS_SIZE_2         0x3cu

#define MSIX_SIZE  12u
#define MSIX_COUNT 0x07ffu
#define MSIX_BAR   0x7u

static int read_space(uint8_t bytes[PCI_SPACE_SIZE], const struct vfio_device *device,
                      struct err *err)
{
    for (uint32_t at = 0; at < PCI_SPACE_SIZE; at += 4) {
        int r = device->ops->read(device->context, VFIO_REGION_CONFIG, at, bytes + at, 4);

        if (r != 0) {
            return err_sys(err, r, "its configuration space cannot be read");
        }
    }
    return 0;
}

struct reading {
    const struct vfio_device *device;
    struct vfio_registers *registers;
    bool is_start[PCI_SPACE_SIZE]; /* of a capability */
    bool is_known[PCI_SPACE_SIZE]; /* it is settled whose the byte is */
    struct err *err;
};

static uint32_t get(const struct reading *reading, uint32_t at, uint32_t size)
{
    return pci_space_get(&reading->registers->space, at, size);
}

static void set(const struct reading *reading, uint32_t at, uint32_t value, uint32_t size)
{
    pci_space_set(&reading->registers->space, at, value, size);
}

static void know(struct reading *reading, uint32_t at, uint32_t size)
{
    for (uint32_t i = at; i < at + size && i < PCI_SPACE_SIZE; i++) {
        reading->is_known[i] = true;
    }
}

static void zero(struct reading *reading, uint32_t at, uint32_t end)
{
    for (; at < end && at < PCI_SPACE_SIZE; at++) {
        set(reading, at, 0, 1);
    }
}

/* How many bytes a capability has before the next one. */
static uint32_t room(const struct reading *reading, uint32_t at)
{
    uint32_t end = at + 1;

    while (end < PCI_SPACE_SIZE && !reading->is_start[end]) {
        end++;
    }
    return end - at;
}

static bool fits(const struct reading *reading, uint32_t at, uint32_t size)
{
    return size <= room(reading, at);
}

static bool take_power(struct reading *reading, uint32_t at)
{
    if (!fits(reading, at, POWER_SIZE)) {
        return false;
    }
    set(reading, at + POWER_CAPABILITIES, get(reading, at + POWER_CAPABILITIES, 2) & ~POWER_PME, 2);
    set(reading, at + POWER_CONTROL, get(reading, at + POWER_CONTROL, 2) & ~POWER_STATE & 0x00ff,
        2);
    set(reading, at + POWER_CONTROL + 2, 0, 2);
    pci_space_allow(&reading->registers->space, at + POWER_CONTROL, POWER_STATE, 2);
    know(reading, at, POWER_SIZE);
    return true;
}

/* As many messages as the kernel can have the device send: it is asked by trying. */
static uint32_t count_messages(const struct vfio_device *device, uint32_t most)
{
    int fds[VFIO_VECTORS_MAX];
    uint32_t count = 1;

    for (uint32_t i = 0; i < VFIO_VECTORS_MAX; i++) {
        fds[i] = -1;
    }
    while (count < most && count < PCI_MSI_MESSAGES_MAX &&
           device->ops->interrupts(device->context, VFIO_MSI, fds, 2 * count, -1) == 0) {
        count *= 2;
        (void)device->ops->interrupts(device->context, VFIO_MSI, NULL, 0, -1);
    }
    return count;
}

static bool take_msi(struct reading *reading, uint32_t at)
{
    struct vfio_registers *registers = reading->registers;
    uint32_t control = get(reading, at + PCI_MSI_CONTROL, 2);
    uint32_t most = reading->device->ops->interrupt_count(reading->device->context, VFIO_MSI);
    uint32_t size = pci_msi_size(control);

    if (most == 0 || !fits(reading, at, size)) {
        return false;
    }
    registers->msi_at = at;
    registers->msi_count = count_messages(reading->device, most);
    control &= PCI_MSI_CONTROL_64BIT | PCI_MSI_CONTROL_MASKS;
    control |= (uint32_t)__builtin_ctz(registers->msi_count) << 1; /* 6.8.1.3 */
    zero(reading, at + PCI_MSI_ADDRESS, at + size);
    set(reading, at + PCI_MSI_CONTROL, control, 2);
    pci_msi_allow(&registers->space, at, control, registers->msi_count);
    know(reading, at, size);
    return true;
}

static bool take_msix(struct reading *reading, uint32_t at)
{
    struct vfio_registers *registers = reading->registers;
    struct vfio_vectors *vectors = &registers->vectors;
    uint32_t count = reading->device->ops->interrupt_count(reading->device->context, VFIO_MSIX);
    uint32_t table, pending;

    if (count == 0 || !fits(reading, at, MSIX_SIZE)) {
        return false;
    }
    table = get(reading, at + 4, 4);
    pending = get(reading, at + 8, 4);
    vectors->table_bar = table & MSIX_BAR;
    vectors->pending_bar = pending & MSIX_BAR;
    vectors->table = table & ~MSIX_BAR;
    vectors->pending = pending & ~MSIX_BAR;
    vectors->hardware_count = (get(reading, at + PCI_MSIX_CONTROL, 2) & MSIX_COUNT) + 1;
    if (vectors->table_bar >= PCI_BARS || vectors->pending_bar >= PCI_BARS) {
        return false;
    }
    count = count < vectors->hardware_count ? count : vectors->hardware_count;
    registers->msix_at = at;
    registers->vector_count = count < VFIO_VECTORS_MAX ? count : VFIO_VECTORS_MAX;
    set(reading, at + PCI_MSIX_CONTROL, registers->vector_count - 1, 2);
    pci_space_allow(&registers->space, at + PCI_MSIX_CONTROL,
                    PCI_MSIX_CONTROL_ENABLE | PCI_MSIX_CONTROL_MASK, 2);
    know(reading, at, MSIX_SIZE);
    return true;
}

static bool take_express(struct reading *reading, uint32_t at)
{
    uint32_t flags = get(reading, at + EXPRESS_FLAGS, 2);
    uint32_t type = (flags & EXPRESS_TYPE) >> 4;
    bool is_second = (flags & EXPRESS_VERSION) >= 2;
    uint32_t size = is_second ? EXPRESS_SIZE_2 : EXPRESS_SIZE_1;

    if (!fits(reading, at, size)) {
        return false;
    }
    if (type == EXPRESS_ENDPOINT || type == EXPRESS_LEGACY) {
        set(reading, at + EXPRESS_FLAGS, (flags & ~EXPRESS_TYPE) | EXPRESS_IN_COMPLEX, 2);
    }
    set(reading, at + EXPRESS_DEVICE, get(reading, at + EXPRESS_DEVICE, 4) & ~EXPRESS_FLR, 4);
    set(reading, at + EXPRESS_CONTROL, get(reading, at + EXPRESS_CONTROL, 2), 4); /* no status */
    pci_space_allow(&reading->registers->space, at + EXPRESS_CONTROL, EXPRESS_CONTROL_BITS, 2);
    zero(reading, at + EXPRESS_LINK, at + (is_second ? EXPRESS_DEVICE_2 : size));
    if (is_second) {
        set(reading, at + EXPRESS_CONTROL_2, 0, 4);
        pci_space_allow(&reading->registers->space, at + EXPRESS_CONTROL_2, EXPRESS_CONTROL_2_BITS,
                        2);
        zero(reading, at + EXPRESS_LINK_2, at + size);
    }
    know(reading, at, size);
    return true;
}

/* Its bytes are the device's, but for the header. */
static bool take_vendor(struct reading *reading, uint32_t at)
{
    uint32_t size = get(reading, at + 2, 1);

    know(reading, at, 2);
    if (size > 2 && fits(reading, at, size)) {
        know(reading, at + 2, size - 2);
        pci_space_give(&reading->registers->space, at + 2, size - 2);
    }
    return true;
}

/* One that is not shown: its bytes are as if there were nothing. 6.7, and what else is registered.
 */
static void hide(struct reading *reading, uint32_t at, uint32_t id)
{
    static const uint8_t sizes[] = {
        [0x01] = 8, [0x02] = 12, [0x03] = 8,  [0x04] = 4,  [0x05] = 24, [0x06] = 4,
        [0x07] = 8, [0x08] = 28, [0x0a] = 4,  [0x0b] = 4,  [0x0c] = 8,  [0x0d] = 8,
        [0x0e] = 8, [0x0f] = 4,  [0x10] = 60, [0x11] = 12, [0x12] = 8,  [0x13] = 6,
    };
    uint32_t size = id < ARRAY_LEN(sizes) && sizes[id] != 0 ? sizes[id] : 4;

    size = size < room(reading, at) ? size : room(reading, at);
    zero(reading, at, at + size);
    know(reading, at, size);
}

static bool take(struct reading *reading, uint32_t at, uint32_t id)
{
    switch (id) {
    case CAP_POWER:
        return take_power(reading, at);
    case PCI_CAP_MSI:
        return take_msi(reading, at);
    case PCI_CAP_MSIX:
        return take_msix(reading, at);
    case CAP_EXPRESS:
        return take_express(reading, at);
    case CAP_VENDOR:
        return take_vendor(reading, at);
    default:
        return false;
    }
}

/* Where the capability after that byte is; 0: there is none, or the list leads back. */
static uint32_t next_start(const struct reading *reading, uint32_t link)
{
    uint32_t at = get(reading, link, 1) & ~3u;

    return at >= PCI_FIRST_FREE && !reading->is_start[at] ? at : 0;
}

static void find_starts(struct reading *reading)
{
    uint32_t at = (get(reading, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES) != 0
                      ? next_start(reading, PCI_CAPABILITIES)
                      : 0;

    while (at != 0) {
        reading->is_start[at] = true;
        at = next_start(reading, at + 1);
    }
}

/* Those that are kept are linked anew, in the order of their places. */
static void take_caps(struct reading *reading)
{
    bool are_seen[256] = {false}; /* by id: the second of a kind is not the guest's */
    uint32_t link = PCI_CAPABILITIES;

    find_starts(reading);
    set(reading, PCI_CAPABILITIES, 0, 1);
    for (uint32_t at = PCI_FIRST_FREE; at < PCI_SPACE_SIZE; at += 4) {
        uint32_t id = get(reading, at, 1);

        if (!reading->is_start[at]) {
            continue;
        }
        if ((id == CAP_VENDOR || !are_seen[id]) && take(reading, at, id)) {
            set(reading, link, at, 1);
            link = at + 1;
            set(reading, link, 0, 1);
        } else {
            hide(reading, at, id);
        }
        are_seen[id] = true;
    }
    reading->registers->space.is_end = PCI_SPACE_SIZE; /* nothing is added */
    if (link == PCI_CAPABILITIES) {
        set(reading, PCI_STATUS, get(reading, PCI_STATUS, 2) & ~PCI_STATUS_CAPABILITIES, 2);
    }
}

static bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static int take_bars(struct reading *reading)
{
    const struct vfio_device *device = reading->device;
    struct pci_bar *bars = reading->registers->bars;

    for (uint32_t i = 0; i < PCI_BARS; i++) {
        uint32_t type = get(reading, PCI_BAR(i), 4);
        struct vfio_region region = {0};
        int r = device->ops->region(device->context, i, &region, reading->err);

        set(reading, PCI_BAR(i), 0, 4); /* where the host has it is nobody's business */
        if (r != 0) {
            return r;
        }
        if (region.size == 0 || (i > 0 && bars[i - 1].is_64bit)) {
            continue;
        }
        if (!is_power_of_two(region.size)) {
            return err_set(reading->err, -EIO, "its BAR %u has 0x%llx bytes", i,
                           (unsigned long long)region.size);
        }
        bars[i] = (struct pci_bar){
            .size = region.size, .space = (type & BAR_IO) != 0 ? BUS_IO : BUS_MEMORY, .region = i};
        if (bars[i].space == BUS_MEMORY) {
            bars[i].is_64bit = (type & BAR_TYPE_64BIT) != 0;
            bars[i].is_prefetchable = (type & BAR_PREFETCHABLE) != 0;
        }
    }
    return 0;
}

/* One that no BAR can show is not there. */
static int take_rom(struct reading *reading)
{
    const struct vfio_device *device = reading->device;
    struct vfio_region region = {0};
    int r = device->ops->region(device->context, VFIO_REGION_ROM, &region, reading->err);

    if (r == 0 && region.can_read && is_power_of_two(region.size) && region.size >= ROM_MIN &&
        region.size <= ROM_MAX) {
        reading->registers->bars[PCI_BAR_ROM] =
            (struct pci_bar){.size = region.size, .space = BUS_MEMORY, .region = VFIO_REGION_ROM};
    }
    return r;
}

/* The registers that every function has. */
static void take_header(struct reading *reading)
{
    struct pci_space *space = &reading->registers->space;
    bool has_pin = get(reading, PCI_INTERRUPT_PIN, 1) != 0;
    uint32_t lines = reading->device->ops->interrupt_count(reading->device->context, VFIO_INTX);

    reading->registers->has_intx = has_pin && lines > 0;
    set(reading, PCI_INTERRUPT_PIN,
        reading->registers->has_intx ? get(reading, PCI_INTERRUPT_PIN, 1) : 0, 1);
    set(reading, PCI_COMMAND, 0, 2);
    set(reading, PCI_STATUS, get(reading, PCI_STATUS, 2) & ~(STATUS_ERRORS | PCI_STATUS_INTX), 2);
    set(reading, PCI_CACHE_LINE, 0, 2); /* with the latency timer */
    set(reading, PCI_HEADER_TYPE, 0, 2);
    set(reading, PCI_ROM_ADDRESS, 0, 4);
    set(reading, PCI_INTERRUPT_LINE, 0, 1);
    pci_space_allow(space, PCI_CACHE_LINE, 0xff, 1);
    pci_space_allow(space, LATENCY_TIMER, 0xff, 1);
    pci_space_allow(space, PCI_INTERRUPT_LINE, 0xff, 1);
    know(reading, 0, PCI_FIRST_FREE);
}

int vfio_registers_read(struct vfio_registers *registers, const struct vfio_device *device,
                        struct err *err)
{
    struct reading reading = {.device = device, .registers = registers, .err = err};
    uint8_t bytes[PCI_SPACE_SIZE];
    int r = read_space(bytes, device, err);

    if (r != 0) {
        return r;
    }
    *registers = (struct vfio_registers){0};
    pci_space_init(&registers->space);
    for (uint32_t at = 0; at < PCI_SPACE_SIZE; at++) {
        pci_space_set(&registers->space, at, bytes[at], 1);
    }
    if (get(&reading, PCI_VENDOR, 2) == GONE) {
        return err_set(err, -ENODEV, "it does not answer: it is gone, or switched off");
    }
    if ((get(&reading, PCI_HEADER_TYPE, 1) & HEADER_TYPE_MASK) != 0) {
        return err_set(err, -ENODEV, "it is a bridge, which no VM can be given");
    }
    r = take_bars(&reading);
    r = r == 0 ? take_rom(&reading) : r;
    if (r != 0) {
        return r;
    }
    take_header(&reading);
    take_caps(&reading);
    for (uint32_t at = PCI_FIRST_FREE; at < PCI_SPACE_SIZE; at++) {
        if (!reading.is_known[at]) {
            pci_space_give(&registers->space, at, 1);
        }
    }
    return 0;
}
