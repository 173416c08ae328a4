/* A device for bare-metal tests: the registers of QEMU's pc-testdev, so that guests written for
 * that one run.
 *
 *   ports 0xe0-0xe3    32 bits that keep what is written, byte by byte
 *   ports 0xe4-0xe7    a write asks for a page to be mapped anew: nothing that a guest can see
 *   ports 0xe8-0xeb    the 32 bits of 0xe0 once more
 *   ports 0x2000+N     the level of interrupt line N (0 to 23)
 *   memory 0xff000000  64 KiB that keep what is written, each access an exit
 *
 * With `save-every` the qvm saves and restores all devices again and again, which no guest is to
 * notice. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define ECHO_REGION   0u
#define LINE_REGION   1u
#define MEMORY_REGION 2u

#define ECHO_SIZE   12u
#define LINE_COUNT  24u
#define MEMORY_SIZE 0x10000u
#define NS_PER_MS   1000000ull
#define FLUSH_FIRST 4u /* within ECHO_REGION */
#define FLUSH_LAST  7u

struct test_dev {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    uint8_t echo[4];
    uint32_t lines; /* levels, by number */
    uint64_t accesses, restores;
    uint64_t period_ns; /* of `save-every`; 0: never */
    uint64_t due_ns;    /* the next */
    uint8_t memory[MEMORY_SIZE];
};

static uint8_t read_byte(const struct test_dev *test, uint32_t region, uint64_t offset)
{
    if (region == MEMORY_REGION) {
        return test->memory[offset];
    }
    if (region == LINE_REGION) {
        return (uint8_t)(test->lines >> offset & 1);
    }
    return offset >= FLUSH_FIRST && offset <= FLUSH_LAST ? 0xff : test->echo[offset % 4];
}

static void write_byte(struct test_dev *test, uint32_t region, uint64_t offset, uint8_t value)
{
    if (region == MEMORY_REGION) {
        test->memory[offset] = value;
    } else if (region == LINE_REGION) {
        uint32_t line = (uint32_t)offset;

        test->lines = (test->lines & ~(UINT32_C(1) << line)) | (value != 0 ? 1u : 0u) << line;
        test->host->intr(test->slot, line, value != 0);
    } else if (offset < FLUSH_FIRST || offset > FLUSH_LAST) {
        test->echo[offset % 4] = value;
    }
}

static uint64_t test_dev_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    struct test_dev *test = device;
    uint64_t value = 0;

    test->accesses++;
    for (uint32_t i = 0; i < size; i++) {
        value |= (uint64_t)read_byte(test, region, offset + i) << (8 * i);
    }
    return value;
}

static void test_dev_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                           uint64_t value)
{
    struct test_dev *test = device;

    test->accesses++;
    for (uint32_t i = 0; i < size; i++) {
        write_byte(test, region, offset + i, (uint8_t)(value >> (8 * i)));
    }
}

static void schedule(struct test_dev *test)
{
    if (test->period_ns != 0) {
        test->due_ns = test->host->now_ns(test->slot) + test->period_ns;
        test->host->timer(test->slot, 0, test->due_ns);
    }
}

static void test_dev_timer(void *device, uint32_t timer)
{
    struct test_dev *test = device;

    (void)timer; /* there is one */
    test->restores++;
    schedule(test);
    test->host->request(test->slot, VDEV_REQUEST_RESTORE, 0);
}

static void test_dev_reset(void *device)
{
    struct test_dev *test = device;

    memset(test->echo, 0, sizeof(test->echo));
    memset(test->memory, 0, sizeof(test->memory));
    test->lines = 0;
    schedule(test);
}

static int test_dev_create(const struct vdev_services *host, struct vdev_slot *slot,
                           const struct vdev_config *config, void **device)
{
    struct test_dev *test;

    if (config->regions[ECHO_REGION].size != ECHO_SIZE ||
        config->regions[LINE_REGION].size != LINE_COUNT ||
        config->regions[MEMORY_REGION].size != MEMORY_SIZE) {
        return host->fail(slot, NULL, "test-dev has places of %u, %u and %u bytes", ECHO_SIZE,
                          LINE_COUNT, MEMORY_SIZE);
    }
    test = calloc(1, sizeof(*test));
    if (test == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    test->host = host;
    test->slot = slot;
    for (uint32_t i = 0; i < config->value_count; i++) { /* `save-every` is the one option */
        test->period_ns = config->values[i].number[0] * NS_PER_MS;
    }
    schedule(test);
    *device = test;
    return 0;
}

static void test_dev_state(void *device, vdev_state_fn add, void *context)
{
    const struct test_dev *test = device;
    char text[32];

    (void)snprintf(text, sizeof(text), "0x%02x%02x%02x%02x", test->echo[3], test->echo[2],
                   test->echo[1], test->echo[0]);
    add(context, "echo", text);
    (void)snprintf(text, sizeof(text), "0x%06" PRIx32, test->lines);
    add(context, "lines", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, test->accesses);
    add(context, "accesses", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, test->restores);
    add(context, "restores", text);
}

static const struct vdev_field fields[] = {
    VDEV_BYTES(1, struct test_dev, echo),
    VDEV_NUMBER(2, struct test_dev, lines, (UINT32_C(1) << LINE_COUNT) - 1),
    VDEV_BYTES(3, struct test_dev, memory),
    VDEV_TIME(4, struct test_dev, due_ns),
    {0},
};

static int test_dev_save(void *device)
{
    const struct test_dev *test = device;

    return vdev_put_fields(test->host, test->slot, fields, 0, test);
}

static int test_dev_restore(void *device)
{
    struct test_dev *test = device;
    int r = vdev_get_fields(test->host, test->slot, fields, 0, test);

    for (uint32_t i = 0; r == 0 && i < LINE_COUNT; i++) {
        test->host->intr(test->slot, i, (test->lines >> i & 1) != 0);
    }
    if (r == 0 && test->period_ns != 0) {
        test->host->timer(test->slot, 0, test->due_ns);
    }
    return r;
}

static const struct vdev_option options[] = {
    {
        .name = "save-every",
        .kind = VDEV_OPTION_NUMBER,
        .min = 1,
        .max = 3600000,
        .doc = "milliseconds: as often all vdevs are saved, reset and restored, for tests",
    },
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    [ECHO_REGION] = {.space = VDEV_SPACE_IO, .start = 0xe0, .size = ECHO_SIZE},
    [LINE_REGION] = {.space = VDEV_SPACE_IO, .start = 0x2000, .size = LINE_COUNT},
    [MEMORY_REGION] = {.space = VDEV_SPACE_MEMORY, .start = 0xff000000, .size = MEMORY_SIZE},
};

/* Of lines 1 and up: each is the interrupt line of its number. */
static const uint32_t default_intrs[LINE_COUNT - 1] = {
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = test_dev_create,
    .destroy = free,
    .reset = test_dev_reset,
    .read = test_dev_read,
    .write = test_dev_write,
    .timer = test_dev_timer,
    .state = test_dev_state,
    .save = test_dev_save,
    .restore = test_dev_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "test-dev",
    .doc = "registers for bare-metal tests (pc-testdev)",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 3,
    .default_intr = 0,
    .ops = &ops,
    .line_count = LINE_COUNT,
    .default_intrs = default_intrs,
};

QVM_VDEV_EXPORT(module);
