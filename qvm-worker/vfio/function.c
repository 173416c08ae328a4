/* A PCI function of the guest's with a function of the host behind it. */
#include "qvm-worker/vfio/function.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/pci/msix.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/vfio/bars.h"
#include "qvm-worker/vfio/extended.h"
#include "qvm-worker/vfio/registers.h"

#define VECTOR_SIZE 16u /* PCI Local Bus Specification 3.0, 6.8.2 */
#define NO_KIND     VFIO_INTERRUPT_COUNT

_Static_assert(VFIO_VECTORS_MAX <= PCI_MESSAGES_MAX, "vectors that the buses can count");
_Static_assert(VFIO_EXTENDED_START == PCI_SPACE_SIZE && VFIO_EXTENDED_END == PCI_EXTENDED_SIZE,
               "the extended space");

struct vfio_function {
    struct vfio_function_config config;
    struct vfio_registers registers;
    struct vfio_extended extended;
    struct vfio_bars bars;
    struct pci_function *function;
    int fds[VFIO_VECTORS_MAX]; /* of vectors; the buses' */
    int line_fd, resample_fd;  /* likewise */
    uint32_t kind;             /* of interrupts that the device may send; NO_KIND: none */
    uint32_t command;          /* as the device has it */
    bool has_complained;       /* since power-on: a guest must not fill the log */
};

static void complain(struct vfio_function *function, const char *what, int r)
{
    if (!function->has_complained) {
        function->has_complained = true;
        log_warn("pass: %s device=\"%s\" why=\"%s\"", what, function->config.name, strerror(-r));
    }
}

static int write_command(struct vfio_function *function, uint32_t command)
{
    const struct vfio_device *device = &function->config.device;
    int r = command == function->command
                ? 0
                : device->ops->write(device->context, VFIO_REGION_CONFIG, PCI_COMMAND, &command, 2);

    if (r == 0) {
        function->command = command;
    }
    return r;
}

/* What the device decodes is the host's matter, and stays on; DMA is the guest's wish. */
static uint32_t command_of(const struct vfio_function *function, bool is_master)
{
    uint32_t command = is_master ? PCI_COMMAND_MASTER : 0;

    for (uint32_t i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &function->registers.bars[i];

        if (bar->size != 0) {
            command |= bar->space == BUS_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
        }
    }
    return command;
}

static int turn(struct vfio_function *function, uint32_t kind, bool is_on)
{
    const struct vfio_device *device = &function->config.device;
    const int *fds = kind == VFIO_INTX ? &function->line_fd : function->fds;
    uint32_t counts[] = {[VFIO_INTX] = 1,
                         [VFIO_MSI] = function->registers.msi_count,
                         [VFIO_MSIX] = function->registers.vector_count};

    return device->ops->interrupts(device->context, (enum vfio_interrupt)kind, is_on ? fds : NULL,
                                   is_on ? counts[kind] : 0,
                                   is_on && kind == VFIO_INTX ? function->resample_fd : -1);
}

/* One kind at a time: the old one ends first. */
static int change_kind(struct vfio_function *function, uint32_t kind)
{
    int r = 0;

    if (kind == function->kind) {
        return 0;
    }
    if (function->kind != NO_KIND) {
        (void)turn(function, function->kind, false); /* fails for a device that is gone alone */
    }
    function->kind = NO_KIND;
    r = kind == NO_KIND ? 0 : turn(function, kind, true);
    if (r == 0) {
        function->kind = kind;
    }
    return r;
}

/* What the guest's registers say. */
static uint32_t wanted_kind(struct vfio_function *function)
{
    if (pci_messages_are_enabled(&function->function->msix)) {
        return VFIO_MSIX;
    }
    if (pci_messages_are_enabled(&function->function->msi)) {
        return VFIO_MSI;
    }
    return function->registers.has_intx ? (uint32_t)VFIO_INTX : NO_KIND;
}

static void on_written(void *context, uint32_t at, uint32_t size)
{
    struct vfio_function *function = context;
    const struct pci_space *space = &function->function->space;
    uint32_t command = pci_space_get(space, PCI_COMMAND, 2);
    int r = 0;

    if (at < PCI_COMMAND + 2 && at + size > PCI_COMMAND) {
        r = write_command(function, command_of(function, (command & PCI_COMMAND_MASTER) != 0));
    }
    if (r != 0) {
        complain(function, "command refused", r);
    }
    r = change_kind(function, wanted_kind(function));
    if (r != 0) {
        complain(function, "interrupts refused", r);
    }
}

static uint32_t on_outside_read(void *context, uint32_t at, uint32_t size)
{
    const struct vfio_function *function = context;
    const struct vfio_device *device = &function->config.device;
    uint32_t value = UINT32_MAX;

    return device->ops->read(device->context, VFIO_REGION_CONFIG, at, &value, size) == 0
               ? value
               : UINT32_MAX;
}

static void on_outside_write(void *context, uint32_t at, uint32_t size, uint32_t value)
{
    struct vfio_function *function = context;
    const struct vfio_device *device = &function->config.device;
    int r = device->ops->write(device->context, VFIO_REGION_CONFIG, at, &value, size);

    if (r != 0) {
        complain(function, "register refused", r);
    }
}

static uint32_t on_extended_read(void *context, uint32_t at, uint32_t size)
{
    const struct vfio_function *function = context;

    return vfio_extended_read(&function->extended, &function->config.device, at, size);
}

static void on_extended_write(void *context, uint32_t at, uint32_t size, uint32_t value)
{
    struct vfio_function *function = context;
    int r = vfio_extended_write(&function->extended, &function->config.device, at, size, value);

    if (r != 0) {
        complain(function, "register refused", r);
    }
}

/* Whether an access is one to `size` bytes at `start` of that BAR: *in is how far inside. */
static bool is_in(const struct vfio_function *function, uint32_t bar, uint64_t offset,
                  uint32_t its_bar, uint64_t start, uint64_t size, uint64_t *in)
{
    *in = offset - start;
    return function->registers.vector_count != 0 && bar == its_bar && offset >= start && *in < size;
}

/* Of MSI-X the guest reaches its own table; behind that of the device is nothing for it. */
static bool access_vectors(struct vfio_function *function, uint32_t bar, uint64_t offset,
                           uint32_t size, uint64_t *value, bool is_write)
{
    const struct vfio_vectors *vectors = &function->registers.vectors;
    uint64_t table_size = (uint64_t)vectors->hardware_count * VECTOR_SIZE;
    uint64_t pending_size = ((uint64_t)vectors->hardware_count + 63) / 64 * 8;
    uint64_t in;

    if (is_in(function, bar, offset, vectors->table_bar, vectors->table, table_size, &in)) {
        pci_vectors(function->function, in, size, value, is_write);
        return true;
    }
    if (is_in(function, bar, offset, vectors->pending_bar, vectors->pending, pending_size, &in)) {
        pci_vectors_pending(function->function, in, size, value, is_write);
        return true;
    }
    return false;
}

static void on_access(void *context, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value,
                      bool is_write)
{
    struct vfio_function *function = context;
    const struct vfio_device *device = &function->config.device;
    uint64_t read = UINT64_MAX;

    if (access_vectors(function, bar, offset, size, value, is_write)) {
        return;
    }
    if (!is_write) {
        *value =
            device->ops->read(device->context, bar, offset, &read, size) == 0 ? read : UINT64_MAX;
    } else if (bar != VFIO_REGION_ROM) {
        (void)device->ops->write(device->context, bar, offset, value, size); /* lost, as on a bus */
    }
}

static void on_placed(void *context, enum bus_space space, uint32_t bar, uint64_t address,
                      bool is_there)
{
    struct vfio_function *function = context;

    if (space == BUS_MEMORY) {
        int r = vfio_bars_place(&function->bars, bar, address, is_there);

        if (r != 0) {
            complain(function, "memory slot refused", r);
        }
    }
}

static const struct pci_function_ops function_ops = {.access = on_access,
                                                     .placed = on_placed,
                                                     .outside_read = on_outside_read,
                                                     .outside_write = on_outside_write,
                                                     .extended_read = on_extended_read,
                                                     .extended_write = on_extended_write,
                                                     .written = on_written};

static int add_to_buses(struct vfio_function *function, struct err *err)
{
    const struct vfio_registers *registers = &function->registers;
    struct pci_function_config config = {.name = function->config.name,
                                         .where = function->config.where,
                                         .has_intx = registers->has_intx,
                                         .vector_count = registers->vector_count,
                                         .msi_count = registers->msi_count,
                                         .space = &registers->space,
                                         .msi_at = registers->msi_at,
                                         .msix_at = registers->msix_at,
                                         .ops = &function_ops,
                                         .context = function};

    memcpy(config.bars, registers->bars, sizeof(config.bars));
    return pci_add(function->config.pci, function->config.loc, &config, &function->function, err);
}

/* Descriptors that the device writes to, by way of the kernel. */
static int take_events(struct vfio_function *function, struct err *err)
{
    const struct vfio_registers *registers = &function->registers;
    uint32_t count = registers->vector_count > registers->msi_count ? registers->vector_count
                                                                    : registers->msi_count;

    for (uint32_t i = 0; i < count; i++) {
        function->fds[i] = pci_event(function->function, i);
        if (function->fds[i] < 0) {
            return err_sys(err, function->fds[i], "no event descriptor for vector %u", i);
        }
    }
    if (registers->has_intx) {
        function->line_fd = pci_intx_event(function->function, &function->resample_fd);
        if (function->line_fd < 0) {
            return err_sys(err, function->line_fd, "no event descriptor for INTx");
        }
    }
    return 0;
}

/* A line that nobody hears would be dead without a word: the device has messages alone then. */
static int settle_intx(struct vfio_function *function, struct err *err)
{
    struct vfio_registers *registers = &function->registers;

    if (!registers->has_intx || pci_hears_lines(function->config.pci)) {
        return 0;
    }
    if (registers->vector_count == 0 && registers->msi_count == 0) {
        return err_set(
            err, -EOPNOTSUPP,
            "it interrupts by INTx alone, which wants the interrupt controllers of KVM: "
            "leave out 'vdev ioapic' and 'vdev 8259', or put them at their usual places");
    }
    registers->has_intx = false;
    pci_space_set(&registers->space, PCI_INTERRUPT_PIN, 0, 1);
    return 0;
}

static void limit_vectors(struct vfio_function *function)
{
    struct vfio_registers *registers = &function->registers;

    if (registers->vector_count > function->config.vectors_most) {
        registers->vector_count = function->config.vectors_most;
        pci_space_set(&registers->space, registers->msix_at + PCI_MSIX_CONTROL,
                      registers->vector_count - 1, 2);
    }
}

static int build(struct vfio_function *function, struct err *err)
{
    const struct vfio_device *device = &function->config.device;
    const struct vfio_bars_config bars = {.device = device,
                                          .registers = &function->registers,
                                          .first_slot = function->config.first_slot,
                                          .slot = function->config.slot,
                                          .context = function->config.context};
    int r = vfio_registers_read(&function->registers, device, err);

    r = r == 0 ? vfio_extended_init(&function->extended, device, err) : r;
    r = r == 0 ? settle_intx(function, err) : r;
    if (r == 0) {
        limit_vectors(function);
        function->command = UINT32_MAX; /* unknown */
        r = write_command(function, command_of(function, false));
        r = r == 0 ? 0 : err_sys(err, r, "its command register cannot be written");
    }
    r = r == 0 ? vfio_bars_init(&function->bars, &bars, err) : r;
    r = r == 0 ? add_to_buses(function, err) : r;
    return r == 0 ? take_events(function, err) : r;
}

int vfio_function_create(const struct vfio_function_config *config, struct vfio_function **function,
                         struct err *err)
{
    struct vfio_function *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->config = *config;
    new->kind = NO_KIND;
    new->line_fd = new->resample_fd = -1;
    r = build(new, err);
    if (r != 0) {
        free(new);
        return r;
    }
    *function = new;
    return 0;
}

uint32_t vfio_function_vectors(const struct vfio_function *function)
{
    return function->registers.vector_count;
}

uint32_t vfio_function_slots(const struct vfio_function *function)
{
    return function->bars.piece_count;
}

int vfio_function_reset(struct vfio_function *function, struct err *err)
{
    const struct vfio_device *device = &function->config.device;
    int r = write_command(function, command_of(function, false));

    (void)change_kind(function, NO_KIND); /* nothing begins */
    function->has_complained = false;
    if (r == 0) {
        r = device->ops->reset(device->context, err);
    } else {
        r = err_sys(err, r, "its command register cannot be written");
    }
    return r;
}

static int gone_read(void *device, uint32_t region, uint64_t offset, void *data, uint32_t size)
{
    (void)device;
    (void)region;
    (void)offset;
    (void)data;
    (void)size;
    return -ENODEV;
}

static int gone_write(void *device, uint32_t region, uint64_t offset, const void *data,
                      uint32_t size)
{
    (void)device;
    (void)region;
    (void)offset;
    (void)data;
    (void)size;
    return 0; /* as on a bus where nobody is */
}

static int gone_interrupts(void *device, enum vfio_interrupt kind, const int *fds, uint32_t count,
                           int resample_fd)
{
    (void)device;
    (void)kind;
    (void)fds;
    (void)count;
    (void)resample_fd;
    return 0;
}

static int gone_reset(void *device, struct err *err)
{
    (void)device;
    (void)err;
    return 0;
}

static const struct vfio_ops gone_ops = {
    .read = gone_read, .write = gone_write, .interrupts = gone_interrupts, .reset = gone_reset};

void vfio_function_forget(struct vfio_function *function)
{
    (void)write_command(function, command_of(function, false)); /* gone: it does nothing */
    (void)change_kind(function, NO_KIND);
    vfio_bars_forget(&function->bars);
    function->config.device = (struct vfio_device){.ops = &gone_ops};
}

void vfio_function_destroy(struct vfio_function *function)
{
    if (function != NULL) {
        (void)write_command(function, command_of(function, false)); /* gone: it does nothing */
        (void)change_kind(function, NO_KIND);
        free(function);
    }
}
