/* Inside the vdev host: shared by vdev_host*.c alone. */
#ifndef QVM_WORKER_VDEV_HOST_PRIVATE_H
#define QVM_WORKER_VDEV_HOST_PRIVATE_H

#include <pthread.h>
#include <uv.h>

#include "qvm-worker/vdev_host.h"

#define MODULES_MAX 64u /* different ones in one VM */

#define MODULE_OPTIONS_MAX 64u /* rows of one module's table */

/* A loaded module: what we know of its structures, zeroes where it is older than we are. */
struct loaded_module {
    char name[VDEV_HOST_NAME_MAX + 1];
    struct vdev_module module;
    struct vdev_ops ops;
    uint32_t option_count;
    uint32_t hostdev_option; /* its row, or UINT32_MAX */
};

enum stream_kind {
    STREAM_NONE,
    STREAM_CONSOLE_BY_DEFAULT, /* unless another vdev has the console */
    STREAM_CONSOLE,
    STREAM_GRANTED, /* a file or a command */
};

/* What a value points to. */
struct value_strings {
    char *text, *where;
};

/* One device, from its options on. */
struct vdev_slot {
    struct vdev_host *host;
    const struct loaded_module *loaded;
    char name[VDEV_HOST_NAME_MAX + 1];
    char bus_name[VDEV_HOST_NAME_MAX + 8];
    char *where;
    bool has_name; /* by `name`, not made up */

    struct vdev_value *values;
    struct value_strings *value_strings; /* that the values point to */
    uint32_t value_count;
    struct vdev_region regions[VDEV_HOST_REGIONS_MAX];
    uint32_t region_count;
    uint32_t intr_line;

    bool has_log; /* `log`: this vdev has levels and a destination of its own */
    unsigned log_set;
    int log_fd;

    enum stream_kind stream_kind;
    struct vdev_host_need need; /* STREAM_GRANTED */
    int granted_fd;

    /* Since vdev_host_build: */
    pthread_mutex_t lock; /* around every operation */
    bool has_lock;
    void *device; /* NULL: create did not succeed */
    struct console *stream;
    bool is_stream_own;
    bool is_high;         /* the interrupt line, as the device has it */
    uint64_t deadline_ns; /* 0: the timer is off */
    int timer_fd;
    uv_poll_t timer_poll;
    bool has_timer_poll;
    struct err *create_err; /* where `fail` puts its words, during create */
};

/* An interrupt line that several devices may share: high while any of them holds it. */
struct intr_line {
    pthread_mutex_t lock; /* orders the calls of env->intr */
    uint32_t high_count;
};

struct vdev_host {
    int directory_fd;
    struct loaded_module *modules[MODULES_MAX];
    uint32_t module_count;
    struct vdev_slot *slots[VDEV_HOST_DEVICES_MAX];
    uint32_t slot_count;
    uint32_t held_slots; /* whose memory is not yet freed */
    struct vdev_host_env env;
    struct intr_line lines[VDEV_HOST_GSI_COUNT];
    bool is_destroyed;
};

extern const struct vdev_services vdev_host_services;

/* The module of that name, in any spelling, or NULL when it was not loaded. */
const struct loaded_module *vdev_host_find_module(const struct vdev_host *host, const char *name);

/* Read the options of a context into a new slot. */
int vdev_host_read_options(struct vdev_slot *slot, const struct vdev_host_option *options,
                           size_t option_count, struct err *err);

/* Give the slot its stream. */
int vdev_host_open_stream(struct vdev_slot *slot, struct err *err);
void vdev_host_listen_stream(struct vdev_slot *slot); /* once the device is there */
void vdev_host_close_stream(struct vdev_slot *slot);

/* Watch the slot's timer. */
int vdev_host_open_timer(struct vdev_slot *slot, struct err *err);
void vdev_host_close_timer(struct vdev_slot *slot); /* the slot is freed when the loop closed it */

/* Interrupt line, timer. The slot's lock is held. */
void vdev_host_set_intr(struct vdev_slot *slot, bool is_high);
void vdev_host_set_timer(struct vdev_slot *slot, uint64_t deadline_ns);

void vdev_host_free_slot(struct vdev_slot *slot);

#endif
