/* Modules that break the contract, one way each: BROKEN_... says which. */
#include <qvm/vdev.h>

#include <stddef.h>

#define TEXT(x)   #x
#define STRING(x) TEXT(x)

static int broken_create(const struct vdev_services *host, struct vdev_slot *slot,
                         const struct vdev_config *config, void **device)
{
    (void)host;
    (void)slot;
    (void)config;
#ifdef BROKEN_DEVICE
    *device = NULL; /* succeeds without one */
    return 0;
#else
    (void)device;
    return -12; /* fails without a word */
#endif
}

static void broken_end(void *device)
{
    (void)device;
}

static uint64_t broken_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    (void)device;
    return region + offset + size;
}

#ifndef BROKEN_OPERATION
static void broken_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                         uint64_t value)
{
    (void)device;
    (void)(region + offset + size + value);
}
#endif

static void broken_state(void *device, vdev_state_fn add, void *context)
{
    (void)device;
    add(context, "is", "broken");
}

static const struct vdev_option options[] = {
#ifdef BROKEN_OPTION
    {.name = "odd", .kind = (enum vdev_option_kind)99},
#endif
#ifdef BROKEN_CLASH
    {.name = "intr", .kind = VDEV_OPTION_TEXT},
#endif
#ifdef BROKEN_TWICE
    {.name = "same", .kind = VDEV_OPTION_TEXT},
    {.name = "other", .kind = VDEV_OPTION_TEXT},
    {.name = "same", .kind = VDEV_OPTION_NUMBER},
#endif
    {.name = NULL},
};

static const struct vdev_region regions[] = {{VDEV_SPACE_IO, 0x600, 1}};

static const struct vdev_ops ops = {
#ifdef BROKEN_SIZE
    .size = offsetof(struct vdev_ops, end_of_interrupt), /* the last of the first release */
#else
    .size = sizeof(ops),
#endif
    .create = broken_create,
    .destroy = broken_end,
    .reset = broken_end,
    .read = broken_read,
#ifndef BROKEN_OPERATION
    .write = broken_write,
#endif
    .state = broken_state,
};

static const struct vdev_module module = {
    .size = sizeof(module),
#ifdef BROKEN_ABI
    .abi = QVM_VDEV_ABI + 1,
#else
    .abi = QVM_VDEV_ABI,
#endif
#ifdef BROKEN_NAME
    .name = "else",
#else
    .name = STRING(NAME),
#endif
    .doc = "broken",
    .options = options,
    .default_regions = regions,
    .default_region_count = 1,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
#ifdef BROKEN_LINES
    .line_count = VDEV_LINES_MAX + 1,
#endif
#ifdef BROKEN_TIMERS
    .timer_count = VDEV_TIMERS_MAX + 1,
#endif
};

#ifdef BROKEN_SYMBOL
const struct vdev_module *broken_symbol(void);
__attribute__((visibility("default"))) const struct vdev_module *broken_symbol(void)
{
    return &module;
}
#elif defined(BROKEN_POINTER)
__attribute__((visibility("default"))) const struct vdev_module *const qvm_vdev_module = NULL;
const struct vdev_module *broken_pointer(void);
const struct vdev_module *broken_pointer(void)
{
    return &module;
}
#else
QVM_VDEV_EXPORT(module);
#endif
