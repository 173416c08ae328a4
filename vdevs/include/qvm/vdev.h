/* The whole contract between a qvm process and a virtual device (vdev-NAME.so).
 *
 * A vdev module exports one symbol, `qvm_vdev_module` (see QVM_VDEV_EXPORT). It is loaded once
 * per process, before anything is asked of the host, and serves any number of `vdev NAME`
 * contexts of a configuration. A module keeps no state outside its devices, starts no thread,
 * opens nothing, and reaches its qvm through its slot alone: what it needs of the host it names
 * in its option table, and gets it through the slot.
 *
 * Threads and locks: the qvm holds the device's own lock around every operation, so two
 * operations on one device never overlap. read and write run on vCPU threads, everything else
 * on the control thread. Services of `struct vdev_services` may be called from any operation; none
 * of them blocks.
 *
 * The guest, the configuration and the console are strangers: offsets and sizes handed to read
 * and write lie inside the region, but every value is the guest's. A device never aborts, never
 * allocates on the guest's word, and writes no log line above debug for what a guest does.
 *
 * ABI: structures that hold functions or stand alone begin with their size and grow at the end
 * only; rows of arrays (options, values, regions) never grow. QVM_VDEV_ABI changes when that is
 * not enough. A qvm refuses a module of another ABI version in words. */
#ifndef QVM_VDEV_H
#define QVM_VDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QVM_VDEV_ABI 1u

struct vdev_slot; /* one device's place in its qvm: opaque to the module */

enum vdev_option_kind {
    VDEV_OPTION_TEXT,    /* one argument */
    VDEV_OPTION_BOOL,    /* on off yes no true false 1 0 */
    VDEV_OPTION_NUMBER,  /* decimal by default; 0x, 0d, K M G; min..max inclusive */
    VDEV_OPTION_PAIR,    /* HEX,HEX as in `reg 0x10,0x20`; each at most `max` */
    VDEV_OPTION_HOSTDEV, /* [<|>]PATH, `-` (the console), or [<|>]"|COMMAND": becomes the stream */
};

/* One row of a module's option table; the last row has no name. `loc`, `intr`, `name` and `log`
 * are common to all vdevs and read by the qvm. A module has at most one HOSTDEV option. */
struct vdev_option {
    const char *name;
    enum vdev_option_kind kind;
    bool may_repeat;      /* otherwise the last one in a context wins */
    uint64_t min, max;    /* NUMBER and PAIR */
    const char *fallback; /* as it would stand in the configuration; NULL: not set */
    const char *doc;      /* one line */
};

/* One option as the configuration gave it (or its fallback). */
struct vdev_value {
    uint32_t option;    /* row of the option table */
    bool boolean;       /* BOOL */
    uint64_t number[2]; /* NUMBER: [0]; PAIR: both */
    const char *text;   /* TEXT, HOSTDEV: valid until create returns */
    const char *where;  /* "FILE:LINE" of the argument, "default" for a fallback */
};

enum vdev_space { VDEV_SPACE_IO, VDEV_SPACE_MEMORY };

/* A range of ports or addresses that belongs to the device. */
struct vdev_region {
    enum vdev_space space;
    uint64_t start; /* guest-physical address or port */
    uint64_t size;  /* bytes */
};

struct vdev_config {
    uint32_t size; /* sizeof(struct vdev_config) of the qvm */
    const char *name;
    const struct vdev_value *values; /* fallbacks, then what the configuration gives, in its order;
                                        one of an option that may not repeat: its last */
    uint32_t value_count;
    const struct vdev_region *regions; /* from `loc`, or the module's default */
    uint32_t region_count;
    uint32_t intr_line; /* interrupt line (GSI) from `intr PIC:LINE`, or the module's default */
    uint32_t cpu_count;
    uint64_t ram_below_4g, ram_above_4g; /* bytes */
};

enum vdev_log_level { VDEV_LOG_ERROR, VDEV_LOG_WARN, VDEV_LOG_INFO, VDEV_LOG_DEBUG };

/* What a device can ask its qvm to do with the whole VM. */
enum vdev_request {
    VDEV_REQUEST_RESET,    /* as the reset button */
    VDEV_REQUEST_POWEROFF, /* the guest switched itself off */
    VDEV_REQUEST_EXIT,     /* end with exit status `value` (32-63) */
};

/* Services of the qvm. All take the slot that create was given. */
struct vdev_services {
    uint32_t size;
    uint32_t abi;

    /* Say why create fails: one sentence without place; the qvm puts value->where (or the
     * vdev's own FILE:LINE if `value` is NULL) before it. Returns -EINVAL. */
    int (*fail)(struct vdev_slot *slot, const struct vdev_value *value, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

    /* One line, without newline. From create on, levels above debug count as debug: by then it is
     * the guest who makes devices talk. */
    void (*log)(struct vdev_slot *slot, enum vdev_log_level level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

    /* Set the device's interrupt line. Repeating a level costs nothing. */
    void (*intr)(struct vdev_slot *slot, bool is_high);

    /* CLOCK_MONOTONIC in ns, and wall-clock time (UTC) in ns since 1970. */
    uint64_t (*now_ns)(struct vdev_slot *slot);
    uint64_t (*wall_ns)(struct vdev_slot *slot);

    /* Call the timer operation once at `deadline_ns` (CLOCK_MONOTONIC); 0 cancels. One timer a
     * device; setting replaces. */
    void (*timer)(struct vdev_slot *slot, uint64_t deadline_ns);

    /* Hand bytes to the stream of the HOSTDEV option. Never blocks and takes all: what nobody
     * reads is overwritten and counted (the console), or dropped and counted. */
    void (*stream_write)(struct vdev_slot *slot, const uint8_t *data, size_t size);

    /* The device has room again after receive took less than it was given. */
    void (*stream_resume)(struct vdev_slot *slot);

    void (*request)(struct vdev_slot *slot, enum vdev_request request, uint32_t value);
};

/* For the state operation: one named value, shown by `qvmctl show` and at SIGUSR1. */
typedef void (*vdev_state_fn)(void *context, const char *name, const char *value);

struct vdev_ops {
    uint32_t size;

    /* Make a device. On failure return what host->fail() returned and leave *device alone. */
    int (*create)(const struct vdev_services *host, struct vdev_slot *slot,
                  const struct vdev_config *config, void **device);
    void (*destroy)(void *device);

    /* Back to power-on state; streams and options stay. The interrupt line is low and the timer is
     * off already. */
    void (*reset)(void *device);

    /* `size` is 1, 2, 4 or 8; the access lies inside regions[region]. */
    uint64_t (*read)(void *device, uint32_t region, uint64_t offset, uint32_t size);
    void (*write)(void *device, uint32_t region, uint64_t offset, uint32_t size, uint64_t value);

    /* Bytes arrived on the stream: returns how many were taken; after fewer than `count` no more
     * are offered before host->stream_resume(). NULL if the module has no HOSTDEV option. */
    size_t (*receive)(void *device, const uint8_t *data, size_t count);

    void (*timer)(void *device); /* NULL if the module sets none */
    void (*state)(void *device, vdev_state_fn add, void *context);

    /* Reserved for suspended guests: NULL in this version. */
    int (*save)(void *device, void *buffer, size_t *size);
    int (*restore)(void *device, const void *buffer, size_t size);
};

struct vdev_module {
    uint32_t size; /* sizeof(struct vdev_module) of the module */
    uint32_t abi;  /* QVM_VDEV_ABI of the module */
    const char *name;
    const char *doc; /* one line */
    const struct vdev_option *options;
    const struct vdev_region *default_regions; /* without `loc`; NULL: `loc` must be given */
    uint32_t default_region_count;             /* at most 4 */
    uint32_t default_intr;                     /* QVM_VDEV_NO_INTR: none */
    const char *acpi_hid; /* ACPI id ("PNP0501") under which the guest finds it; NULL: none */
    const struct vdev_ops *ops;
};

#define QVM_VDEV_NO_INTR UINT32_MAX

#define QVM_VDEV_SYMBOL "qvm_vdev_module"
#define QVM_VDEV_EXPORT(module_)                                                                   \
    __attribute__((visibility("default"))) const struct vdev_module *const qvm_vdev_module =       \
        &(module_)

#ifdef __cplusplus
}
#endif

#endif
