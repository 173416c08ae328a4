/* A PCI function that does nothing: it keeps a place on the bus, with the ids and BARs that a guest
 * is to find there. PCI Local Bus Specification 3.0, chapter 6.
 *
 *   vdev pci-dummy loc pci:0:5 reg 0,10001234 reg 8,ff000001 bar 0,io,16 bar 2,mem64,64K vectors 2
 *
 * What BARs show reads 0 and forgets what is written. With `test on` BAR 0 has registers, so that
 * drivers and this project's own tests can have interrupts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define BAR_KEY_MAX 8u

/* Registers of `test on`, 32 bits each. */
#define TEST_LINE   0u  /* bit 0: INTx */
#define TEST_VECTOR 4u  /* write: send that vector */
#define TEST_KEEP   8u  /* keeps what is written */
#define TEST_COUNT  12u /* read: accesses to BAR 0 since power-on, without reads of this one */
#define TEST_EVENT  16u /* write: raise that vector as others do, by its event descriptor */
#define TEST_RAISE  20u /* write: likewise INTx; read: how often its interrupt was ended */

/* Registers that `reg` may set. */
#define REG_ID        0x00u
#define REG_CLASS     0x08u
#define REG_SUBSYSTEM 0x2cu

struct dummy {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    struct vdev_pci_function function;
    struct vdev_bar bars[VDEV_BARS_MAX];
    bool is_test, is_high;
    int events[VDEV_VECTORS_MAX]; /* the qvm's, as all of them; below 0: none */
    int line_event, resample;
    uint32_t end_count;
    uint32_t kept, access_count;
};

enum option {
    OPTION_REG,
    OPTION_BAR,
    OPTION_VECTORS,
    OPTION_MSI,
    OPTION_MASKS,
    OPTION_TEST,
    OPTION_CLONE
};

static const struct vdev_option options[] = {
    [OPTION_REG] = {.name = "reg",
                    .kind = VDEV_OPTION_PAIR,
                    .may_repeat = true,
                    .max = UINT32_MAX,
                    .doc = "OFFSET,VALUE: 32 bits of configuration space: 0 ids, 8 class and "
                           "revision, 2c ids of the subsystem"},
    [OPTION_BAR] = {.name = "bar",
                    .kind = VDEV_OPTION_TEXT,
                    .may_repeat = true,
                    .doc = "INDEX,KIND,SIZE: KIND is io, mem or mem64; SIZE a power of two"},
    [OPTION_VECTORS] = {.name = "vectors",
                        .kind = VDEV_OPTION_NUMBER,
                        .max = VDEV_VECTORS_MAX,
                        .fallback = "0",
                        .doc = "how many of MSI-X; their table is in the last BAR that is free"},
    [OPTION_MSI] = {.name = "msi",
                    .kind = VDEV_OPTION_NUMBER,
                    .max = 32,
                    .fallback = "0",
                    .doc = "how many of MSI: 1, 2, 4, 8, 16 or 32"},
    [OPTION_MASKS] = {.name = "masks",
                      .kind = VDEV_OPTION_BOOL,
                      .fallback = "yes",
                      .doc = "each of MSI has a mask"},
    [OPTION_TEST] = {.name = "test",
                     .kind = VDEV_OPTION_BOOL,
                     .fallback = "no",
                     .doc = "BAR 0 has registers that raise interrupts"},
    [OPTION_CLONE] = {.name = "clone",
                      .kind = VDEV_OPTION_TEXT,
                      .doc = "a device of the host to look like: not supported"},
    {.name = NULL},
};

static void dummy_reset(void *device)
{
    struct dummy *dummy = device;

    dummy->is_high = false;
    dummy->kept = 0;
    dummy->access_count = 0;
    dummy->end_count = 0;
}

static int set_register(struct dummy *dummy, const struct vdev_value *value)
{
    struct vdev_pci_function *function = &dummy->function;
    uint32_t is = (uint32_t)value->number[1];

    switch (value->number[0]) {
    case REG_ID:
        function->vendor = (uint16_t)is;
        function->device = (uint16_t)(is >> 16);
        break;
    case REG_CLASS:
        function->revision = (uint8_t)is;
        function->class_code = is >> 8;
        break;
    case REG_SUBSYSTEM:
        function->subsystem_vendor = (uint16_t)is;
        function->subsystem = (uint16_t)(is >> 16);
        break;
    default:
        return dummy->host->fail(dummy->slot, value,
                                 "reg sets the registers 0, 8 and 2c; BARs are set by 'bar'");
    }
    return 0;
}

/* A decimal number, or one behind 0x, with K or M. 0: it is none. */
static uint64_t read_size(const char *text)
{
    char *end = NULL;
    uint64_t size = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
    unsigned shift = *end == 'K' || *end == 'k' ? 10 : *end == 'M' || *end == 'm' ? 20 : 0;

    if (end == text || *text == '-' || end[shift != 0 ? 1 : 0] != '\0' ||
        size > UINT64_MAX >> shift) {
        return 0;
    }
    return size << shift;
}

static int add_bar(struct dummy *dummy, const struct vdev_value *value)
{
    unsigned index = 0;
    char kind[BAR_KEY_MAX] = "", size[24] = "";
    struct vdev_bar *bar = &dummy->bars[dummy->function.bar_count];

    if (sscanf(value->text, "%1u,%7[a-z0-9],%23[0-9a-zA-Z]", &index, kind, size) != 3 ||
        (strcmp(kind, "io") != 0 && strcmp(kind, "mem") != 0 && strcmp(kind, "mem64") != 0)) {
        return dummy->host->fail(dummy->slot, value,
                                 "bar '%s' is not INDEX,KIND,SIZE, as 0,mem,4K: KIND is io, mem or "
                                 "mem64",
                                 value->text);
    }
    if (dummy->function.bar_count == VDEV_BARS_MAX) {
        return dummy->host->fail(dummy->slot, value, "more than %u BARs", VDEV_BARS_MAX);
    }
    *bar = (struct vdev_bar){.index = (uint8_t)index,
                             .space = strcmp(kind, "io") == 0 ? VDEV_SPACE_IO : VDEV_SPACE_MEMORY,
                             .is_64bit = strcmp(kind, "mem64") == 0,
                             .size = read_size(size),
                             .region = index};
    dummy->function.bar_count++;
    return 0;
}

static int set_option(struct dummy *dummy, const struct vdev_value *value)
{
    switch (value->option) {
    case OPTION_REG:
        return set_register(dummy, value);
    case OPTION_BAR:
        return add_bar(dummy, value);
    case OPTION_VECTORS:
        dummy->function.vector_count = (uint16_t)value->number[0];
        return 0;
    case OPTION_MSI:
        dummy->function.msi_count = (uint8_t)value->number[0];
        return 0;
    case OPTION_MASKS:
        dummy->function.has_msi_masks = value->boolean;
        return 0;
    case OPTION_TEST:
        dummy->is_test = value->boolean;
        return 0;
    default:
        return dummy->host->fail(
            dummy->slot, value,
            "'clone' is not supported: a vdev cannot read the registers of a function "
            "of the host; give them with 'reg' and 'bar' ('lspci -nv' tells "
            "them)");
    }
}

/* The last BAR that nobody has. */
static int find_vector_bar(struct dummy *dummy)
{
    bool is_taken[VDEV_BARS_MAX + 1] = {false};

    for (uint32_t i = 0; i < dummy->function.bar_count; i++) {
        const struct vdev_bar *bar = &dummy->bars[i];

        if (bar->index < VDEV_BARS_MAX) {
            is_taken[bar->index] = true;
            is_taken[bar->index + 1] = is_taken[bar->index + 1] || bar->is_64bit;
        }
    }
    for (uint32_t i = VDEV_BARS_MAX; i-- > 0;) {
        if (!is_taken[i]) {
            dummy->function.vector_bar = (uint8_t)i;
            return 0;
        }
    }
    return dummy->host->fail(dummy->slot, NULL, "no BAR is free for the vectors");
}

static int open_events(struct dummy *dummy)
{
    const struct vdev_pci_function *function = &dummy->function;
    uint32_t count =
        function->vector_count > function->msi_count ? function->vector_count : function->msi_count;

    for (uint32_t i = 0; dummy->is_test && i < count; i++) {
        dummy->events[i] = dummy->host->vector_event(dummy->slot, i);
        if (dummy->events[i] < 0) {
            return dummy->host->fail(dummy->slot, NULL, "no event for vector %u: %s", i,
                                     strerror(-dummy->events[i]));
        }
    }
    if (dummy->is_test) {
        dummy->line_event = dummy->host->intx_event(dummy->slot, &dummy->resample);
    }
    return dummy->line_event >= 0 ? 0 : dummy->host->fail(dummy->slot, NULL, "no event for INTx");
}

static int set_up(struct dummy *dummy, const struct vdev_config *config)
{
    int r = 0;

    /* The ids of a test device that no driver claims, in the class of what fits in none. */
    dummy->function = (struct vdev_pci_function){.size = sizeof(dummy->function),
                                                 .vendor = 0x1b36,
                                                 .device = 0x0005,
                                                 .class_code = 0xff0000,
                                                 .bars = dummy->bars};
    for (uint32_t i = 0; r == 0 && i < config->value_count; i++) {
        r = set_option(dummy, &config->values[i]);
    }
    dummy->function.has_intx = dummy->is_test;
    if (r == 0 && dummy->function.vector_count > 0) {
        r = find_vector_bar(dummy);
    }
    if (r == 0) {
        r = dummy->host->pci_function(dummy->slot, &dummy->function);
    }
    return r == 0 ? open_events(dummy) : r;
}

static int dummy_create(const struct vdev_services *host, struct vdev_slot *slot,
                        const struct vdev_config *config, void **device)
{
    struct dummy *dummy = calloc(1, sizeof(*dummy));
    int r;

    if (dummy == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    dummy->host = host;
    dummy->slot = slot;
    memset(dummy->events, -1, sizeof(dummy->events));
    r = set_up(dummy, config);
    if (r != 0) {
        free(dummy);
        return r;
    }
    *device = dummy;
    return 0;
}

static void raise_event(int event)
{
    uint64_t one = 1;

    if (event >= 0) {
        (void)!write(event, &one, sizeof(one)); /* full: it is raised already */
    }
}

static uint32_t count_ends(struct dummy *dummy)
{
    uint64_t count;

    if (read(dummy->resample, &count, sizeof(count)) == (ssize_t)sizeof(count)) {
        dummy->end_count += (uint32_t)count;
    }
    return dummy->end_count;
}

static uint64_t dummy_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct dummy *dummy = device;

    if (!dummy->is_test || region != 0 || size != 4) {
        return 0;
    }
    dummy->access_count += offset != TEST_COUNT ? 1 : 0;
    switch (offset) {
    case TEST_LINE:
        return dummy->is_high ? 1 : 0;
    case TEST_KEEP:
        return dummy->kept;
    case TEST_COUNT:
        return dummy->access_count;
    case TEST_RAISE:
        return count_ends(dummy);
    default:
        return 0;
    }
}

static void dummy_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                        uint64_t value)
{
    struct dummy *dummy = device;

    if (!dummy->is_test || region != 0 || size != 4) {
        return;
    }
    dummy->access_count++;
    switch (offset) {
    case TEST_LINE:
        dummy->is_high = (value & 1) != 0;
        dummy->host->intr(dummy->slot, 0, dummy->is_high);
        break;
    case TEST_VECTOR:
        (void)dummy->host->vector(dummy->slot, (uint32_t)value); /* none is enabled: lost */
        break;
    case TEST_EVENT:
        raise_event(value < VDEV_VECTORS_MAX ? dummy->events[value] : -1);
        break;
    case TEST_RAISE:
        raise_event(dummy->line_event);
        break;
    case TEST_KEEP:
        dummy->kept = (uint32_t)value;
        break;
    default:
        break;
    }
}

static void dummy_state(void *device, vdev_state_fn add, void *context)
{
    const struct dummy *dummy = device;
    char text[32];

    (void)snprintf(text, sizeof(text), "%04x:%04x", dummy->function.vendor, dummy->function.device);
    add(context, "ids", text);
    if (dummy->is_test) {
        (void)snprintf(text, sizeof(text), "%u", dummy->access_count);
        add(context, "accesses", text);
    }
}

static const struct vdev_field fields[] = {
    VDEV_NUMBER(1, struct dummy, is_high, 1),
    VDEV_NUMBER(2, struct dummy, kept, 0),
    VDEV_NUMBER(3, struct dummy, access_count, 0),
    {0},
};

static int dummy_save(void *device)
{
    const struct dummy *dummy = device;

    return vdev_put_fields(dummy->host, dummy->slot, fields, 0, dummy);
}

static int dummy_restore(void *device)
{
    struct dummy *dummy = device;
    int r = vdev_get_fields(dummy->host, dummy->slot, fields, 0, dummy);

    if (r == 0) {
        dummy->host->intr(dummy->slot, 0, dummy->is_high);
    }
    return r;
}

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = dummy_create,
    .destroy = free,
    .reset = dummy_reset,
    .read = dummy_read,
    .write = dummy_write,
    .state = dummy_state,
    .save = dummy_save,
    .restore = dummy_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "pci-dummy",
    .doc = "a PCI function that does nothing",
    .options = options,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
    .can_pci = true,
    .is_pci_usual = true,
};

QVM_VDEV_EXPORT(module);
