/* The watchdog of iBASE's IB700 single-board computers.
 *
 * "Manual" is the user's manual of the iBASE IB700, chapter "Watchdog Timer Configuration": a write
 * to port 443h starts the timer, or starts it anew, with the time that the value's low four bits
 * name; a write to port 441h stops it. Neither port can be read.
 *
 * What a bite does is the option `action`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qvm/vdev.h>
#include <qvm/vdev_fields.h>

#define STOP_REGION  0u /* port 0x441 */
#define START_REGION 1u /* port 0x443 */

#define NS_PER_S     1000000000ull
#define TIME_MASK    0x0fu
#define TIME_LONGEST 30u /* Manual: 0 is 30 s, each step 2 s less, 0xf at once */
#define TIME_STEP    2u

enum action { ACTION_TERMINATE, ACTION_RESET, ACTION_POWEROFF, ACTION_NONE };

static const char *const action_names[] = {
    [ACTION_TERMINATE] = "terminate",
    [ACTION_RESET] = "reset",
    [ACTION_POWEROFF] = "poweroff",
    [ACTION_NONE] = "none",
};

struct wdt_ib700 {
    const struct vdev_services *host;
    struct vdev_slot *slot;
    enum action action;
    bool dumps_first;
    uint64_t deadline_ns; /* 0: it does not run */
    uint64_t starts, bites;
};

static void bite(struct wdt_ib700 *wdt)
{
    wdt->deadline_ns = 0;
    wdt->bites++;
    wdt->host->log(wdt->slot, VDEV_LOG_INFO, "the watchdog bites: %s", action_names[wdt->action]);
    if (wdt->dumps_first) {
        wdt->host->request(wdt->slot, VDEV_REQUEST_DUMP, 0);
    }
    switch (wdt->action) {
    case ACTION_TERMINATE:
        wdt->host->request(wdt->slot, VDEV_REQUEST_WATCHDOG, 0);
        break;
    case ACTION_RESET:
        wdt->host->request(wdt->slot, VDEV_REQUEST_RESET, 0);
        break;
    case ACTION_POWEROFF:
        wdt->host->request(wdt->slot, VDEV_REQUEST_POWEROFF, 0);
        break;
    case ACTION_NONE:
        break;
    }
}

static void wdt_ib700_timer(void *device, uint32_t timer)
{
    struct wdt_ib700 *wdt = device;

    (void)timer; /* there is one */
    if (wdt->deadline_ns != 0) {
        bite(wdt);
    }
}

static uint64_t wdt_ib700_read(void *device, uint32_t region, uint64_t offset, uint32_t size)
{
    (void)device; /* nobody drives the bus: all ones */
    (void)region;
    (void)offset;
    (void)size;
    return UINT64_MAX;
}

static void wdt_ib700_write(void *device, uint32_t region, uint64_t offset, uint32_t size,
                            uint64_t value)
{
    struct wdt_ib700 *wdt = device;

    (void)offset; /* each region is one port */
    (void)size;
    if (region == START_REGION) {
        uint64_t seconds = TIME_LONGEST - TIME_STEP * (value & TIME_MASK);

        wdt->starts++;
        wdt->deadline_ns = wdt->host->now_ns(wdt->slot) + seconds * NS_PER_S;
    } else if (region == STOP_REGION) {
        wdt->deadline_ns = 0;
    }
    wdt->host->timer(wdt->slot, 0, wdt->deadline_ns);
}

static void wdt_ib700_reset(void *device)
{
    struct wdt_ib700 *wdt = device;

    wdt->deadline_ns = 0;
    wdt->host->timer(wdt->slot, 0, 0);
}

static int read_action(struct wdt_ib700 *wdt, const struct vdev_value *value)
{
    static const char dump[] = "dump,";
    const char *text = value->text;

    wdt->dumps_first = strncmp(text, dump, sizeof(dump) - 1) == 0;
    text += wdt->dumps_first ? sizeof(dump) - 1 : 0;
    for (uint32_t i = 0; i < sizeof(action_names) / sizeof(action_names[0]); i++) {
        if (strcmp(text, action_names[i]) == 0) {
            wdt->action = (enum action)i;
            return 0;
        }
    }
    return wdt->host->fail(wdt->slot, value,
                           "action '%s' is not [dump,]terminate, reset, poweroff or none",
                           value->text);
}

static int wdt_ib700_create(const struct vdev_services *host, struct vdev_slot *slot,
                            const struct vdev_config *config, void **device)
{
    struct wdt_ib700 *wdt;

    if (config->regions[STOP_REGION].size != 1 || config->regions[START_REGION].size != 1) {
        return host->fail(slot, NULL, "the watchdog has two places of 1 byte each");
    }
    wdt = calloc(1, sizeof(*wdt));
    if (wdt == NULL) {
        return host->fail(slot, NULL, "no memory");
    }
    wdt->host = host;
    wdt->slot = slot;
    for (uint32_t i = 0; i < config->value_count; i++) { /* `action` is the one option */
        int r = read_action(wdt, &config->values[i]);

        if (r != 0) {
            free(wdt);
            return r;
        }
    }
    *device = wdt;
    return 0;
}

static void wdt_ib700_state(void *device, vdev_state_fn add, void *context)
{
    const struct wdt_ib700 *wdt = device;
    uint64_t now_ns = wdt->host->now_ns(wdt->slot);
    char text[64] = "off";

    if (wdt->deadline_ns != 0) {
        uint64_t left_ns = wdt->deadline_ns > now_ns ? wdt->deadline_ns - now_ns : 0;

        (void)snprintf(text, sizeof(text), "bites in %llu ms",
                       (unsigned long long)(left_ns / 1000000));
    }
    add(context, "timer", text);
    (void)snprintf(text, sizeof(text), "%s%s", wdt->dumps_first ? "dump," : "",
                   action_names[wdt->action]);
    add(context, "action", text);
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)wdt->starts);
    add(context, "starts", text);
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)wdt->bites);
    add(context, "bites", text);
}

static const struct vdev_field fields[] = {
    VDEV_TIME(1, struct wdt_ib700, deadline_ns),
    {0},
};

static int wdt_ib700_save(void *device)
{
    const struct wdt_ib700 *wdt = device;

    return vdev_put_fields(wdt->host, wdt->slot, fields, 0, wdt);
}

static int wdt_ib700_restore(void *device)
{
    struct wdt_ib700 *wdt = device;
    int r = vdev_get_fields(wdt->host, wdt->slot, fields, 0, wdt);

    if (r == 0) {
        wdt->host->timer(wdt->slot, 0, wdt->deadline_ns);
    }
    return r;
}

static const struct vdev_option options[] = {
    {
        .name = "action",
        .kind = VDEV_OPTION_TEXT,
        .fallback = "terminate",
        .doc = "[dump,]terminate|reset|poweroff|none: what a bite does",
    },
    {.name = NULL},
};

static const struct vdev_region default_regions[] = {
    [STOP_REGION] = {.space = VDEV_SPACE_IO, .start = 0x441, .size = 1},
    [START_REGION] = {.space = VDEV_SPACE_IO, .start = 0x443, .size = 1},
};

static const struct vdev_ops ops = {
    .size = sizeof(ops),
    .create = wdt_ib700_create,
    .destroy = free,
    .reset = wdt_ib700_reset,
    .read = wdt_ib700_read,
    .write = wdt_ib700_write,
    .timer = wdt_ib700_timer,
    .state = wdt_ib700_state,
    .save = wdt_ib700_save,
    .restore = wdt_ib700_restore,
};

static const struct vdev_module module = {
    .size = sizeof(module),
    .abi = QVM_VDEV_ABI,
    .name = "wdt-ib700",
    .doc = "watchdog (iBASE IB700)",
    .options = options,
    .default_regions = default_regions,
    .default_region_count = 2,
    .default_intr = QVM_VDEV_NO_INTR,
    .ops = &ops,
};

QVM_VDEV_EXPORT(module);
