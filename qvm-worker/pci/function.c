/* One function on a PCI bus. */
#include "qvm-worker/pci/function.h"

#include <errno.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/pci/msi.h"
#include "qvm-worker/pci/msix.h"
#include "qvm-worker/pci/pci_private.h"

/* A BAR's low bits: 6.2.5.1. */
#define BAR_IO           0x1u
#define BAR_64BIT        0x4u
#define BAR_PREFETCHABLE 0x8u
#define BAR_IO_BITS      0x3u
#define BAR_MEMORY_BITS  0xfu
#define BAR_IO_MIN       4u
#define ROM_ENABLE       0x1u /* 6.2.5.2 */
#define ROM_BITS         0x7ffu
#define ROM_MIN          0x800u
#define ROM_MAX          (1ull << 24)
#define BAR_IO_MAX       256u /* 6.2.5: what a function may ask of the ports */
#define BAR_MEMORY_MIN   16u
#define BAR_32BIT_MAX    (1ull << 31)
#define BAR_64BIT_MAX    (1ull << 40)

static uint32_t register_of(uint32_t bar)
{
    return bar == PCI_BAR_ROM ? PCI_ROM_ADDRESS : PCI_BAR(bar);
}

/* What of its register is no address. */
static uint32_t low_bits(const struct pci_function *function, uint32_t bar)
{
    if (bar == PCI_BAR_ROM) {
        return ROM_BITS;
    }
    return function->bars[bar].space == BUS_IO ? BAR_IO_BITS : BAR_MEMORY_BITS;
}

static bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static int check_bar(const struct pci_function_config *config, uint32_t i, struct err *err)
{
    const struct pci_bar *bar = &config->bars[i];
    bool is_io = bar->space == BUS_IO;
    uint64_t min = is_io ? BAR_IO_MIN : BAR_MEMORY_MIN;
    uint64_t max = is_io ? BAR_IO_MAX : bar->is_64bit ? BAR_64BIT_MAX : BAR_32BIT_MAX;

    if (i == PCI_BAR_ROM) {
        min = ROM_MIN;
        max = is_io || bar->is_64bit ? 0 : ROM_MAX;
    }
    if (!is_power_of_two(bar->size) || bar->size < min || bar->size > max) {
        return err_set(
            err, -EINVAL,
            "BAR %u has a size of 0x%llx, which is no power of two from 0x%llx to 0x%llx", i,
            (unsigned long long)bar->size, (unsigned long long)min, (unsigned long long)max);
    }
    if (is_io && (bar->is_64bit || bar->is_prefetchable)) {
        return err_set(err, -EINVAL, "BAR %u is of ports, and so neither 64-bit nor prefetchable",
                       i);
    }
    if (bar->is_64bit && (i + 1 == PCI_BARS || config->bars[i + 1].size != 0)) {
        return err_set(err, -EINVAL, "BAR %u is 64-bit and has no second half", i);
    }
    return 0;
}

static int check_vectors(const struct pci_function_config *config, struct err *err)
{
    uint32_t bar = config->vector_bar;

    if (config->msi_count > PCI_MSI_MESSAGES_MAX ||
        (config->msi_count != 0 && !is_power_of_two(config->msi_count))) {
        return err_set(err, -EINVAL, "%u messages of MSI: there are 1, 2, 4, 8, 16 or 32",
                       config->msi_count);
    }
    if (config->vector_count == 0) {
        return 0;
    }
    if (config->space != NULL && config->vector_count <= PCI_MESSAGES_MAX) {
        return 0; /* its BARs are not ours */
    }
    if (config->vector_count > PCI_MESSAGES_OF_VDEVS) {
        return err_set(err, -EINVAL, "%u vectors: a function has at most %u", config->vector_count,
                       PCI_MESSAGES_OF_VDEVS);
    }
    if (bar >= PCI_BARS || config->bars[bar].size != 0 ||
        (bar > 0 && config->bars[bar - 1].is_64bit)) {
        return err_set(err, -EINVAL, "BAR %u is not free for the vectors", bar);
    }
    return 0;
}

int pci_function_check(const struct pci_function_config *config, struct err *err)
{
    int r = check_vectors(config, err);

    for (uint32_t i = 0; r == 0 && i < PCI_BARS_AND_ROM; i++) {
        r = config->bars[i].size == 0 ? 0 : check_bar(config, i, err);
    }
    if (r == 0 && config->cap_count > PCI_CAPS_MAX) {
        r = err_set(err, -EINVAL, "more than %u capabilities", PCI_CAPS_MAX);
    }
    for (uint32_t i = 0; r == 0 && i < config->cap_count; i++) {
        if (config->caps[i].size > PCI_CAP_SIZE_MAX) {
            r = err_set(err, -EINVAL, "capability %u has more than %u bytes", i, PCI_CAP_SIZE_MAX);
        }
    }
    return r;
}

static void set_identity(struct pci_space *space, const struct pci_function_config *config)
{
    pci_space_set(space, PCI_VENDOR, config->vendor, 2);
    pci_space_set(space, PCI_DEVICE, config->device, 2);
    pci_space_set(space, PCI_REVISION, config->revision | config->class_code << 8, 4);
    pci_space_set(space, PCI_SUBSYSTEM_VENDOR, config->subsystem_vendor, 2);
    pci_space_set(space, PCI_SUBSYSTEM, config->subsystem, 2);
    pci_space_allow(space, PCI_CACHE_LINE, 0xff, 1);
    pci_space_allow(space, PCI_INTERRUPT_LINE, 0xff, 1);
    pci_space_set(space, PCI_INTERRUPT_PIN, config->has_intx ? 1 : 0, 1);
}

/* The type in the low bits; an address can be written down to the size: so a guest finds it. */
static void set_bar(struct pci_space *space, uint32_t i, const struct pci_bar *bar)
{
    uint32_t type = bar->space == BUS_IO ? BAR_IO : 0;
    uint64_t mask = ~(bar->size - 1);

    type |= bar->is_64bit ? BAR_64BIT : 0;
    type |= bar->is_prefetchable ? BAR_PREFETCHABLE : 0;
    pci_space_set(space, register_of(i), type, 4);
    pci_space_allow(space, register_of(i), (uint32_t)mask | (i == PCI_BAR_ROM ? ROM_ENABLE : 0), 4);
    if (bar->is_64bit) {
        pci_space_allow(space, PCI_BAR(i + 1), (uint32_t)(mask >> 32), 4);
    }
}

static void set_command(struct pci_function *function)
{
    uint32_t mask = PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR;

    for (uint32_t i = 0; i < PCI_BARS_AND_ROM; i++) {
        if (function->bars[i].size != 0) {
            mask |= function->bars[i].space == BUS_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
        }
    }
    mask |= function->has_intx ? PCI_COMMAND_INTX_OFF : 0;
    pci_space_allow(&function->space, PCI_COMMAND, mask, 2);
}

static int add_messages(struct pci_function *function, const struct pci_function_config *config,
                        struct err *err)
{
    int msix = config->vector_count == 0
                   ? 0
                   : pci_msix_add(&function->space, config->vector_count, function->vector_bar);
    int msi = config->msi_count == 0
                  ? 0
                  : pci_msi_add(&function->space, config->msi_count, config->has_msi_masks);

    if (msix < 0 || msi < 0) {
        return err_set(err, -ENOSPC, "there is no room for the capability of %s",
                       msix < 0 ? "MSI-X" : "MSI");
    }
    function->msix_at = (uint32_t)msix;
    function->msi_at = (uint32_t)msi;
    return 0;
}

static int add_caps(struct pci_function *function, const struct pci_function_config *config,
                    struct err *err)
{
    for (uint32_t i = 0; i < config->cap_count; i++) {
        const struct pci_cap *cap = &config->caps[i];
        int at = pci_space_add_cap(&function->space, cap->id, cap->data, cap->mask, cap->size);

        if (at < 0) {
            return err_set(err, at, "there is no room for capability %u", i);
        }
        function->live[i].at = (uint32_t)at;
        function->live[i].size = cap->is_live ? cap->size + 2 : 0;
        function->live_count = i + 1;
    }
    return add_messages(function, config, err);
}

/* The space that is there already, and what this room has to know of it. */
static void take_space(struct pci_function *function, const struct pci_function_config *config)
{
    uint32_t pin;

    function->space = *config->space;
    function->msi_at = config->msi_count != 0 ? config->msi_at : 0;
    function->msix_at = config->vector_count != 0 ? config->msix_at : 0;
    pin = pci_space_get(&function->space, PCI_INTERRUPT_PIN, 1);
    function->pin = pin >= 1 && pin <= PCI_PINS ? pin - 1 : 0;
}

int pci_function_init(struct pci_function *function, struct pci *pci,
                      const struct pci_function_config *config, struct err *err)
{
    *function = (struct pci_function){.pci = pci,
                                      .name = config->name,
                                      .where = config->where,
                                      .ops = config->ops,
                                      .context = config->context,
                                      .vector_bar = PCI_BARS_AND_ROM,
                                      .line_event = {.fd = -1, .resample_fd = -1},
                                      .has_intx = config->has_intx};
    memcpy(function->bars, config->bars, sizeof(function->bars));
    if (config->space != NULL) {
        take_space(function, config);
    } else {
        pci_space_init(&function->space);
        set_identity(&function->space, config);
    }
    if (config->space == NULL && config->vector_count > 0) {
        function->vector_bar = config->vector_bar;
        function->bars[config->vector_bar] =
            (struct pci_bar){.size = PCI_MSIX_BAR_SIZE, .space = BUS_MEMORY};
    }
    pci_init_messages(pci, &function->msix, config->vector_count);
    pci_init_messages(pci, &function->msi, config->msi_count);
    for (uint32_t i = 0; i < PCI_BARS_AND_ROM; i++) {
        if (function->bars[i].size != 0) {
            set_bar(&function->space, i, &function->bars[i]);
        }
    }
    set_command(function);
    return config->space != NULL ? 0 : add_caps(function, config, err);
}

void pci_function_fini(struct pci_function *function)
{
    pci_fini_events(function);
    pci_messages_fini(&function->msix);
    pci_messages_fini(&function->msi);
}

/* The live capability that an access hits, or function->live_count. */
static uint32_t find_live(const struct pci_function *function, uint32_t at)
{
    uint32_t i = 0;

    while (i < function->live_count &&
           (at < function->live[i].at || at - function->live[i].at >= function->live[i].size)) {
        i++;
    }
    return i;
}

static bool touches(uint32_t at, uint32_t size, uint32_t from, uint32_t end)
{
    return at < end && at + size > from;
}

static void show_pending(struct pci_function *function)
{
    uint32_t control = pci_space_get(&function->space, function->msi_at + PCI_MSI_CONTROL, 2);

    if ((control & PCI_MSI_CONTROL_MASKS) != 0) {
        pci_space_put(&function->space, function->msi_at + pci_msi_pending_at(control),
                      pci_msi_pending(&function->msi, &function->space, function->msi_at), 4);
    }
}

uint32_t pci_function_read(struct pci_function *function, uint32_t at, uint32_t size)
{
    uint32_t cap = find_live(function, at);

    if (cap < function->live_count && at - function->live[cap].at >= 2) {
        return function->ops->config_read(function->context, cap, at - function->live[cap].at,
                                          size);
    }
    if (at <= PCI_STATUS && at + size > PCI_STATUS) {
        uint32_t status = pci_space_get(&function->space, PCI_STATUS, 2) & ~PCI_STATUS_INTX;

        status |= pci_is_asserted(function) ? PCI_STATUS_INTX : 0;
        pci_space_put(&function->space, PCI_STATUS, status, 2);
    }
    if (function->msi_at != 0 &&
        touches(at, size, function->msi_at, function->msi_at + PCI_MSI_END)) {
        show_pending(function);
    }
    return pci_outside_read(function, at, size, pci_space_get(&function->space, at, size));
}

/* 6.8.2: to enable both is a mistake, which gets MSI-X. */
static void update_messages(struct pci_function *function, bool is_msix)
{
    bool has_msix = pci_messages_are_enabled(&function->msix);

    if (is_msix) {
        uint32_t control = pci_space_get(&function->space, function->msix_at + PCI_MSIX_CONTROL, 2);

        has_msix = (control & PCI_MSIX_CONTROL_ENABLE) != 0;
        if (has_msix) {
            pci_messages_enable(&function->msi, false, false);
        }
        pci_msix_control(&function->msix, control);
    }
    if (function->msi_at != 0) {
        pci_msi_written(&function->msi, &function->space, function->msi_at, !has_msix);
    }
    pci_update_intx(function);
}

/* 6.2.2. A bridge that is no bus master holds messages back, as it should, and nothing else:
 * SeaBIOS drives disks behind bridges that it never makes one. */
void pci_function_update_master(struct pci_function *function)
{
    bool is_master = (pci_space_get(&function->space, PCI_COMMAND, 2) & PCI_COMMAND_MASTER) != 0;
    bool may_send = is_master && pci_bus_is_master(function->parent);
    bool is_other = is_master != function->is_master && function->ops->mastering != NULL;

    function->is_master = is_master;
    if (is_other && !is_master) { /* what it does to its end may send messages */
        function->ops->mastering(function->context, false);
    }
    pci_messages_set_master(&function->msix, may_send);
    pci_messages_set_master(&function->msi, may_send);
    if (is_other && is_master) {
        function->ops->mastering(function->context, true);
    }
}

void pci_function_write(struct pci_function *function, uint32_t at, uint32_t size, uint32_t value)
{
    uint32_t cap = find_live(function, at);

    if (cap < function->live_count) {
        if (at - function->live[cap].at >= 2) {
            function->ops->config_write(function->context, cap, at - function->live[cap].at, size,
                                        value);
        }
        return;
    }
    pci_outside_write(function, at, size, value);
    pci_space_write(&function->space, at, value, size);
    if (function->msix_at != 0 && touches(at, size, function->msix_at + PCI_MSIX_CONTROL,
                                          function->msix_at + PCI_MSIX_CONTROL + 2)) {
        update_messages(function, true);
    }
    if (function->msi_at != 0 &&
        touches(at, size, function->msi_at + PCI_MSI_CONTROL, function->msi_at + PCI_MSI_END)) {
        update_messages(function, false);
    }
    if (touches(at, size, PCI_COMMAND, PCI_COMMAND + 2)) {
        pci_function_update_master(function);
        pci_update_intx(function);
    }
    if (touches(at, size, PCI_COMMAND, PCI_COMMAND + 2) ||
        touches(at, size, PCI_BAR(0), PCI_BAR(PCI_BARS)) ||
        touches(at, size, PCI_ROM_ADDRESS, PCI_ROM_ADDRESS + 4)) {
        pci_place(function);
    }
    if (function->ops->written != NULL) {
        function->ops->written(function->context, at, size);
    }
}

uint64_t pci_function_bar(const struct pci_function *function, uint32_t bar)
{
    const struct pci_bar *is = &function->bars[bar];
    uint64_t value = pci_space_get(&function->space, register_of(bar), 4);

    if (is->is_64bit) {
        value |= (uint64_t)pci_space_get(&function->space, PCI_BAR(bar + 1), 4) << 32;
    }
    return value & ~(uint64_t)low_bits(function, bar);
}

/* Where a BAR is to answer; 0: nowhere. All ones, as written to find the size, is no place. */
static uint64_t wanted(const struct pci_function *function, uint32_t i)
{
    const struct pci_bar *bar = &function->bars[i];
    uint32_t command = pci_space_get(&function->space, PCI_COMMAND, 2);
    uint32_t bit = bar->space == BUS_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    uint64_t address = pci_function_bar(function, i);
    uint64_t end = address + bar->size - 1;

    bool is_off =
        i == PCI_BAR_ROM && (pci_space_get(&function->space, PCI_ROM_ADDRESS, 4) & ROM_ENABLE) == 0;

    if (bar->size == 0 || (command & bit) == 0 || is_off || end < address ||
        (!bar->is_64bit && end >= UINT32_MAX) ||
        !pci_bus_passes(function->parent, bar->space, address, bar->size)) {
        return 0;
    }
    return address;
}

static void on_access(void *device, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value,
                      bool is_write)
{
    struct pci_function *function = device;

    if (bar == function->vector_bar) {
        pci_msix_access(&function->msix, offset, size, value, is_write);
    } else {
        function->ops->access(function->context, function->bars[bar].region, offset, size, value,
                              is_write);
    }
}

static void tell_placed(const struct pci_function *function, uint32_t bar, uint64_t address,
                        bool is_there)
{
    if (function->ops->placed != NULL && bar != function->vector_bar) {
        function->ops->placed(function->context, function->bars[bar].space,
                              function->bars[bar].region, address, is_there);
    }
}

static void take_away(struct pci_function *function, struct bus *bus, uint32_t i)
{
    tell_placed(function, i, function->placed[i].address, false);
    bus_unmap(bus, function->bars[i].space, function->placed[i].address);
    function->placed[i].is_there = false;
}

void pci_function_withdraw(struct pci_function *function, struct bus *bus)
{
    for (uint32_t i = 0; i < PCI_BARS_AND_ROM; i++) {
        if (function->placed[i].is_there) {
            take_away(function, bus, i);
        }
    }
}

bool pci_function_place(struct pci_function *function, struct bus *bus)
{
    bool has_left = false;

    for (uint32_t i = 0; i < PCI_BARS_AND_ROM; i++) {
        if (function->placed[i].is_there && wanted(function, i) != function->placed[i].address) {
            take_away(function, bus, i);
            has_left = true;
        }
    }
    for (uint32_t i = 0; i < PCI_BARS_AND_ROM; i++) {
        uint64_t address = wanted(function, i);
        const struct bus_place place = {.space = function->bars[i].space,
                                        .start = address,
                                        .size = function->bars[i].size,
                                        .fn = on_access,
                                        .device = function,
                                        .region = i,
                                        .name = function->name};

        if (!function->placed[i].is_there && address != 0 && bus_map(bus, &place) == 0) {
            function->placed[i].is_there = true;
            function->placed[i].address = address;
            tell_placed(function, i, address, true);
        }
    }
    return has_left;
}

void pci_function_reset(struct pci_function *function)
{
    pci_space_reset(&function->space);
    pci_messages_reset(&function->msix);
    pci_messages_reset(&function->msi);
    pci_function_update_master(function);
    pci_drop_line(function);
    pci_update_intx(function);
    if (function->ops->written != NULL) {
        function->ops->written(function->context, 0, PCI_SPACE_SIZE);
    }
}

void pci_function_assign(struct pci_function *function, uint32_t bar, uint64_t address)
{
    const struct pci_bar *is = &function->bars[bar];
    uint32_t type = pci_space_get(&function->space, register_of(bar), 4) & low_bits(function, bar);
    uint32_t command = pci_space_get(&function->space, PCI_COMMAND, 2);

    command |= is->space == BUS_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    pci_space_set(&function->space, PCI_COMMAND, command, 2);
    pci_space_set(&function->space, register_of(bar), (uint32_t)address | type, 4);
    if (is->is_64bit) {
        pci_space_set(&function->space, PCI_BAR(bar + 1), (uint32_t)(address >> 32), 4);
    }
}
