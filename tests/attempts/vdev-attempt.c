/* A vdev that tries what a qvm must not be able to do: a byte N at its first port tries the Nth row
 * of attempts.def in the vCPU's thread, at the second in the control thread, at the third in the
 * device's I/O thread; 255 tries all rows that leave the qvm as it is, 254 is a fault of the
 * vdev's. What came of it goes into the log of the instance. */
#include <qvm/vdev.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/attempts/attempts.h"

#define ALL_HARMLESS 255
#define CRASH        254
#define PORT         0x5a0

/* Ports, and one that nobody writes to: it is the doorbell that the I/O thread hears. */
enum { PORT_VCPU, PORT_CONTROL, PORT_IO, PORT_BELL, PORT_COUNT };

static const struct row {
    const char *name;
    attempt_fn try;
    const char *no_door, *bare;
} rows[] = {
#define ATTEMPT(name, door, no_door, bare) {#name, attempt_##name, no_door, bare},
#include "tests/attempts/attempts.def"
#undef ATTEMPT
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

enum option {
    OPTION_NEIGHBOUR,
    OPTION_QVMD,
    OPTION_CONFIG,
    OPTION_API,
    OPTION_SOCKET,
    OPTION_NAME,
    OPTION_DISK
};

/* What a thread is still to try: the guest is quicker than the threads that it orders. */
struct orders {
    uint8_t list[UINT8_MAX + 1];
    atomic_uint_fast8_t given;
    uint8_t taken; /* the thread's own; both wrap around with the list */
};

struct attempt {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    struct attempt_target target;
    char *texts[4];
    struct orders control, io;
};

static void tell(const char *thread, const char *what, const char *how)
{
    char line[160];
    int size = snprintf(line, sizeof(line), "attempt: %s %s %s\n", thread, what, how);

    (void)!write(STDERR_FILENO, line, (size_t)size);
}

static void try_row(const struct attempt *attempt, const char *thread, const struct row *row)
{
    long r = row->try(&attempt->target);
    const char *name = r < 0 ? strerrorname_np((int)-r) : "possible";

    attempt->host->log(attempt->slot, VDEV_LOG_DEBUG, "tried %s", row->name); /* all may do that */
    tell(thread, row->name, name != NULL ? name : "?");
}

static void try_all(const struct attempt *attempt, const char *thread)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strcmp(rows[i].no_door, "-") != 0 && strcmp(rows[i].bare, "-") != 0) {
            try_row(attempt, thread, &rows[i]);
        }
    }
    tell(thread, "done", "yes");
}

/* As a fault of a vdev would: what comes of it is the kernel's to tell. */
static void crash(void)
{
    static volatile int *volatile nowhere;

    *nowhere = 1; // NOLINT(clang-analyzer-core.NullDereference): that is what is wanted
}

static void act(const struct attempt *attempt, const char *thread, uint64_t order)
{
    if (order == ALL_HARMLESS) {
        try_all(attempt, thread);
    } else if (order == CRASH) {
        crash();
    } else if (order < ROW_COUNT) {
        try_row(attempt, thread, &rows[order]);
    }
}

static void give(struct orders *orders, uint64_t order)
{
    uint8_t at = (uint8_t)atomic_load(&orders->given);

    orders->list[at] = (uint8_t)order;
    atomic_store(&orders->given, (uint8_t)(at + 1));
}

static void act_on_all(const struct attempt *attempt, const char *thread, struct orders *orders)
{
    while (orders->taken != (uint8_t)atomic_load(&orders->given)) {
        act(attempt, thread, orders->list[orders->taken++]);
    }
}

static uint64_t attempt_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    (void)device;
    (void)(region + offset + size);
    return ROW_COUNT;
}

static void attempt_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                          uint64_t value)
{
    struct attempt *attempt = device;

    (void)region;
    (void)size;
    if (offset == PORT_VCPU) {
        act(attempt, "vcpu", value);
    } else if (offset == PORT_IO) {
        give(&attempt->io, value);
        attempt->host->ring(attempt->slot, 0);
    } else if (offset == PORT_CONTROL) {
        give(&attempt->control, value);
        attempt->host->timer(attempt->slot, 0, 1); /* long over: at once, in the control thread */
    }
}

static void attempt_timer(void *device, uint32_t timer)
{
    struct attempt *attempt = device;

    (void)timer; /* there is one */
    act_on_all(attempt, "control", &attempt->control);
}

static void attempt_event(void *device, uint32_t event)
{
    struct attempt *attempt = device;

    (void)event; /* there is one */
    act_on_all(attempt, "io", &attempt->io);
}

static void attempt_io_done(void *device, uint64_t token, int result)
{
    (void)device; /* nothing is begun */
    (void)token;
    (void)result;
}

static void attempt_destroy(void *device)
{
    struct attempt *attempt = device;

    for (size_t i = 0; i < sizeof(attempt->texts) / sizeof(attempt->texts[0]); i++) {
        free(attempt->texts[i]);
    }
    free(attempt);
}

static void set(struct attempt *attempt, const struct vdev_value *value)
{
    const char **to[] = {&attempt->target.config, &attempt->target.qvmd_socket,
                         &attempt->target.neighbour_socket, &attempt->target.abstract};

    if (value->option == OPTION_NEIGHBOUR) {
        attempt->target.neighbour = (pid_t)value->number[0];
    } else if (value->option == OPTION_QVMD) {
        attempt->target.qvmd = (pid_t)value->number[0];
    } else if (value->option != OPTION_DISK) { /* opened already: it is there to have a ring */
        size_t i = value->option - OPTION_CONFIG;

        free(attempt->texts[i]);
        attempt->texts[i] = strdup(value->text);
        *to[i] = attempt->texts[i];
    }
}

static int attempt_create(const struct vdev_services *host, struct vdev_slot *slot,
                          const struct vdev_config *config, void **device)
{
    struct attempt *attempt = calloc(1, sizeof(*attempt));

    if (attempt == NULL || host->doorbell(slot, 0, PORT_BELL, 1, false, 0, 0) != 0) {
        free(attempt);
        return host->fail(slot, NULL, "no memory");
    }
    attempt->host = host;
    attempt->slot = slot;
    for (uint32_t i = 0; i < config->value_count; i++) {
        set(attempt, &config->values[i]);
    }
    *device = attempt;
    return 0;
}

static void attempt_reset(void *device)
{
    (void)device;
}

static void attempt_state(void *device, vdev_state_fn add, void *context)
{
    (void)device;
    add(context, "attempts", "some");
}

static const struct vdev_option options[] = {
    [OPTION_NEIGHBOUR] = {.name = "neighbour",
                          .kind = VDEV_OPTION_NUMBER,
                          .max = 1 << 22,
                          .fallback = "1",
                          .doc = "pid of another qvm"},
    [OPTION_QVMD] = {.name = "qvmd",
                     .kind = VDEV_OPTION_NUMBER,
                     .max = 1 << 22,
                     .fallback = "1",
                     .doc = "pid of qvmd"},
    [OPTION_CONFIG] = {.name = "config",
                       .kind = VDEV_OPTION_TEXT,
                       .fallback = "/etc/passwd",
                       .doc = "a file of qvmd's"},
    [OPTION_API] = {.name = "api",
                    .kind = VDEV_OPTION_TEXT,
                    .fallback = "/run/qvm/qvmd.sock",
                    .doc = "the socket of qvmd"},
    [OPTION_SOCKET] = {.name = "control",
                       .kind = VDEV_OPTION_TEXT,
                       .fallback = "/none",
                       .doc = "the control socket of another qvm"},
    [OPTION_NAME] = {.name = "abstract",
                     .kind = VDEV_OPTION_TEXT,
                     .fallback = "none",
                     .doc = "name of an abstract socket on the host"},
    [OPTION_DISK] = {.name = "disk", .kind = VDEV_OPTION_IMAGE, .doc = "an image, to have a ring"},
    {.name = NULL},
};

static const struct vdev_region regions[] = {{VDEV_SPACE_IO, PORT, PORT_COUNT}};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = attempt_create,
    .destroy = attempt_destroy,
    .reset = attempt_reset,
    .read = attempt_read,
    .write = attempt_write,
    .timer = attempt_timer,
    .event = attempt_event,
    .io_done = attempt_io_done,
    .state = attempt_state,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "attempt",
    .doc = "tries what it must not be able to do",
    .options = options,
    .default_regions = regions,
    .default_region_count = 1,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
    .has_io_thread = true,
};

QVM_VDEV_EXPORT(module);
