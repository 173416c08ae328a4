/* Inside the vdev host: shared by vdev_host*.c alone. */
#ifndef QVM_WORKER_VDEV_PRIVATE_H
#define QVM_WORKER_VDEV_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "proto/base/log.h"
#include "qvm-worker/fields.h"
#include "qvm-worker/image/image.h"
#include "qvm-worker/loc.h"
#include "qvm-worker/vdev/event_private.h"
#include "qvm-worker/vdev/host.h"

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

/* Where a device's bytes go, or come from. */
struct slot_stream {
    enum stream_kind kind;
    struct vdev_host_need need; /* of each kind but NONE */
    int fd;                     /* GRANTED, until a session has it; -1: none */
    struct console *console;    /* since vdev_host_build; NULL: none */
    bool is_own;                /* the console is this stream's */
};

enum { STREAM_OUTPUT, STREAM_INPUT, STREAM_COUNT };

/* What a value points to. */
struct value_strings {
    char *text, *where;
};

/* One timer of a device. */
struct vdev_timer {
    struct vdev_slot *slot;
    uint64_t deadline_ns; /* 0: it is off */
    int fd;
    uv_poll_t poll;
};

/* One device, from its options on. */
struct vdev_slot {
    struct vdev_host *host;
    const struct loaded_module *loaded;
    char name[VDEV_HOST_NAME_MAX + 1];
    char bus_name[VDEV_HOST_NAME_MAX + 8];
    char *where;
    bool has_name;   /* by `name`, not made up */
    bool is_implied; /* the configuration does not name it: its firmware wants it */

    struct vdev_value *values;
    struct value_strings *value_strings; /* that the values point to */
    uint32_t value_count;
    struct vdev_region regions[VDEV_HOST_REGIONS_MAX];
    uint32_t region_count;
    bool is_in_kernel; /* KVM has this one: there is no device here */
    bool is_on_pci;    /* `loc pci:...`, or it usually is */
    struct loc_pci pci;
    struct intr intr_names[VDEV_LINES_MAX]; /* as the configuration names them */
    uint32_t intrs[VDEV_LINES_MAX];         /* the GSI that each is, or QVM_VDEV_NO_INTR */
    uint32_t intr_count;
    uint32_t intr_given; /* by `intr`, since the first line */

    bool has_log; /* `log`: this vdev has levels and a destination of its own */
    unsigned log_set;
    int log_fd;                 /* -1: none */
    enum log_system log_system; /* instead; LOG_SYSTEM_COUNT: none */

    struct slot_stream streams[STREAM_COUNT]; /* output, or both ways; input of its own */
    bool has_hostdev;                         /* the configuration gives one */
    uint64_t batch_ms;                        /* `batch`; 0: none */
    char *delayed_where;                      /* FILE:LINE of `delayed`, or NULL */
    uint32_t delay_s;
    struct vdev_host_need image_need; /* without a path: the option was not given */
    enum image_keep image_keep;
    enum image_format image_format;
    const char *image_format_name;            /* as `format` says; NULL: nothing */
    bool image_keeps_blocks;                  /* that format has no holes */
    int image_fd;                             /* until image_create took it */
    struct vdev_host_need network_need;       /* without a path: no option was given */
    uint32_t network_queues;                  /* 0: the option was not given */
    const char *network_queues_where;         /* FILE:LINE of it; borrowed from its value */
    int network_fds[VDEV_NETWORK_QUEUES_MAX]; /* -1: none */
    uint8_t *network_buffer;                  /* of VDEV_FRAME_MAX, for frames to a peer */
    struct frames *frames;                    /* of a user's network; NULL: none */
    uint32_t network_event;                   /* that its first queue rings */
    atomic_bool is_unlinked;                  /* nobody is at the other end */
    enum vdev_host_vhost vhost;               /* the option, and FILE:LINE of `on`; borrowed */
    const char *vhost_where;
    struct slot_vhost *tap_kernel;  /* NULL: the kernel works nothing off */
    char cid[24];                   /* of a vsock, and FILE:LINE of it; empty: it is none */
    const char *cid_where;          /* borrowed from its value; NULL: it is the usual one */
    struct vdev_host_need cid_need; /* without a path: the kernel has no part in a vsock */

    struct vdev_host_need backend_need; /* without a path: the option was not given */
    struct slot_backend *backend;       /* NULL: it has none */

    struct vdev_host_need listen_need; /* without a path: the option was not given */
    struct slot_sockets *sockets;      /* NULL: nobody connects to it */
    struct slot_connects *connects;    /* NULL: it connects to nobody */
    struct slot_ports *ports;          /* NULL: it has none; from its options on */

    struct slot_again *again; /* for another helper; NULL: none follows the first */

    /* Since vdev_host_build: */
    pthread_mutex_t lock; /* around every operation */
    bool has_lock;
    void *device;                  /* NULL: create did not succeed */
    struct pci_function *function; /* of PCI; NULL: it is none */
    bool is_high[VDEV_LINES_MAX];  /* the interrupt lines, as the device has them */
    bool is_held;                  /* the VM is paused: nothing begins; under the lock */
    bool is_mute;                  /* on PCI, and no bus master; under the lock */
    struct vdev_timer timers[VDEV_TIMERS_MAX];
    uint32_t timer_count;         /* that were opened */
    uint32_t open_handles;        /* that the loop has not yet closed */
    struct image *image;          /* NULL: it has none */
    struct slot_shmem *shmem;     /* NULL: it shares nothing; from its options on */
    bool is_in_trouble;           /* transfers failed and are kept, and that was told */
    bool is_dispatching;          /* its events are being taken */
    uint64_t vectors_due;         /* a bit each: to be sent when they are taken */
    struct vdev_events *events;   /* NULL: it has none */
    struct err *words;            /* where `fail` puts them, during create and restore */
    struct fields_writer *writer; /* during save: what it puts */
    struct fields_reader *reader; /* during restore: what it gets */
};

/* An interrupt line that several devices may share: high while any of them holds it. */
struct intr_line {
    pthread_mutex_t lock; /* orders the calls of env->intr */
    uint32_t high_count;
    uint32_t legacy_count; /* the same of who may be silenced by an HPET */
    bool is_silenced;
    bool is_told; /* high, as env->intr heard it last */
    bool is_held; /* nothing is told before it is let go */
};

#define HELD_INPUTS 32

/* Keys and moves that came while the VM was paused, in their order; what was pressed has room for
 * its release. Control thread. */
struct held_inputs {
    uint32_t count;
    struct held_input {
        struct vdev_slot *slot;
        bool is_move, is_down;
        uint16_t code, y; /* of a move x and y */
    } rows[2 * HELD_INPUTS];
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
    struct vdev_host_chips chips;
    struct vdev_slot *ioapic, *pics[2]; /* NULL: the configuration names none */
    bool is_destroyed;
    struct {
        int64_t serial;         /* of the wish that waits for its answer, or of the last one */
        struct vdev_slot *slot; /* whose it is; NULL: none waits */
        uint32_t handle;
    } connecting;
    struct held_inputs held_inputs;
    atomic_uint_fast64_t
        clock_ahead_ns;              /* of CLOCK_MONOTONIC; as many less than that wrap around */
    atomic_uint_fast64_t held_at_ns; /* where the clock stands; 0: it goes */
};

#define VDEV_HOST_CLOCK_START ((uint64_t)FIELDS_TIME_MAX) /* when the host's clock has 0 */

extern const struct vdev_services vdev_host_services;

/* bus_access_fn: a guest's access to region number `region` of the slot `device`. */
void vdev_host_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write);

/* Whether two places have something in common. */
bool vdev_host_overlap(const struct vdev_region *a, const struct vdev_region *b);

/* Keep the places that the configuration names, before anybody gets a free one. */
int vdev_host_reserve_pci(struct vdev_host *host, struct err *err);

/* Whether the device said what it is on PCI, if it is there. */
int vdev_host_check_function(const struct vdev_slot *slot, struct err *err);

/* "pci:0:5.0": where a slot with a function is. */
void vdev_host_pci_loc(const struct vdev_slot *slot, char *text, size_t size);

/* Services of vdevs on PCI. */
int vdev_host_pci_function(struct vdev_slot *slot, const struct vdev_pci_function *function);
bool vdev_host_vector(struct vdev_slot *slot, uint32_t vector);
bool vdev_host_has_vectors(struct vdev_slot *slot);

/* Send each vector once that was wanted while events were taken: what several transfers ended with
 * is one interrupt. The slot's lock is held. */
void vdev_host_send_vectors(struct vdev_slot *slot);
int vdev_host_vector_event(struct vdev_slot *slot, uint32_t vector);
int vdev_host_intx_event(struct vdev_slot *slot, int *resample);

/* The module of that name, in any spelling, or NULL when it was not loaded. */
const struct loaded_module *vdev_host_find_module(const struct vdev_host *host, const char *name);

/* How many arguments an option of the language has that is refused (unless the module itself has
 * one of that name), and the reason, if `why` is not NULL. -ENOENT: it is none of these. */
int vdev_host_refused_arguments(const char *word, const char **why);

/* Read the options of a context into a new slot. */
int vdev_host_read_options(struct vdev_slot *slot, const struct vdev_host_option *options,
                           size_t option_count, struct err *err);

/* Give the slot its stream. */
int vdev_host_open_stream(struct vdev_slot *slot, struct err *err);
void vdev_host_listen_stream(struct vdev_slot *slot); /* once the device is there */
void vdev_host_close_stream(struct vdev_slot *slot);
void vdev_host_stream_write(struct vdev_slot *slot, const uint8_t *data, size_t size);

/* The words `hostdev`, `batch` and `delayed`; when all options are read, which it is for. */
int vdev_host_read_hostdev(struct vdev_slot *slot, const struct vdev_value *value, bool is_fallback,
                           struct err *err);
int vdev_host_read_batch(struct vdev_slot *slot, const struct vdev_host_option *option,
                         struct err *err);
int vdev_host_read_delayed(struct vdev_slot *slot, const struct vdev_host_option *option,
                           struct err *err);
void vdev_host_settle_delayed(struct vdev_slot *slot);

/* The stream that the device is typed from, and the one that it says to; NULL: none. */
const struct slot_stream *vdev_host_input(const struct vdev_slot *slot);
const struct slot_stream *vdev_host_output(const struct vdev_slot *slot);

/* Whether one of them is the console, by name or since it was settled. */
bool vdev_host_has_console(const struct vdev_slot *slot);

/* The image: its option; open it before the device is made; close it after its end. */
int vdev_host_read_image(struct vdev_slot *slot, const struct vdev_value *value, struct err *err);
int vdev_host_read_format(struct vdev_slot *slot, const struct vdev_value *value, struct err *err);
int vdev_host_read_on_error(struct vdev_slot *slot, const struct vdev_value *value,
                            struct err *err);
int vdev_host_open_image(struct vdev_slot *slot, struct err *err);
void vdev_host_close_image(struct vdev_slot *slot);
void vdev_host_take_transfers(struct vdev_slot *slot);  /* tell the device of those that ended */
void vdev_host_retry_transfers(struct vdev_slot *slot); /* those that failed and are kept */

/* The services. */
bool vdev_host_image(struct vdev_slot *slot, struct vdev_image *image);
int vdev_host_image_io(struct vdev_slot *slot, const struct vdev_io *io);
void vdev_host_image_stop(struct vdev_slot *slot);
void vdev_host_image_settle(struct vdev_slot *slot);
void vdev_host_image_drop(struct vdev_slot *slot, bool (*is_meant)(void *context, uint64_t token),
                          void *context);

/* Another helper, where the first one may be followed (again.c): prepare for that before anything
 * is open; say, on any thread, that the one there was is gone; let go of it. */
int vdev_host_open_again(struct vdev_slot *slot, struct err *err);
bool vdev_host_lose_helper(struct vdev_slot *slot); /* false: none follows */
void vdev_host_close_again(struct vdev_slot *slot);

/* A connection to it is taken over; -1: there is none. Control thread. */
int vdev_host_follow_network(struct vdev_slot *slot, int fd, struct err *err);

/* What it may share: its options; make it ready, once there is a device; its regions have moved;
 * close it. */
int vdev_host_read_shmem(struct vdev_slot *slot, struct vdev_value *value, struct err *err);
int vdev_host_open_shmem(struct vdev_slot *slot, struct err *err);
void vdev_host_place_shmem(struct vdev_slot *slot, uint32_t region, uint64_t start, bool is_there);
void vdev_host_ring_missed_shmem(struct vdev_slot *slot);
void vdev_host_close_shmem(struct vdev_slot *slot);
void vdev_host_free_shmem(struct vdev_slot *slot);

/* The services. */
uint64_t vdev_host_region_address(struct vdev_slot *slot, uint32_t region);
enum vdev_shmem_status vdev_host_shmem_attach(struct vdev_slot *slot, const char *name,
                                              uint64_t bytes, uint64_t most,
                                              struct vdev_shmem *shmem);
void vdev_host_shmem_detach(struct vdev_slot *slot, uint32_t handle);
int vdev_host_shmem_show(struct vdev_slot *slot, uint32_t handle, uint32_t region, uint64_t offset);
void vdev_host_shmem_notify(struct vdev_slot *slot, uint32_t handle, uint32_t clients);
uint32_t vdev_host_shmem_status(struct vdev_slot *slot, uint32_t handle);

/* A service: memory of the device's own (shown.c). */
int vdev_host_memory_show(struct vdev_slot *slot, uint32_t region, uint64_t offset, void *memory,
                          uint64_t size);

/* The network: its options; look at it before the device is made; close it after its end. */
int vdev_host_read_network(struct vdev_slot *slot, const struct vdev_value *value, struct err *err);
int vdev_host_settle_network(struct vdev_slot *slot, struct err *err);
int vdev_host_open_network(struct vdev_slot *slot, struct err *err);
void vdev_host_close_network(struct vdev_slot *slot);

/* The services. */
bool vdev_host_network(struct vdev_slot *slot, uint32_t event);
int vdev_host_frame_send(struct vdev_slot *slot, const struct vdev_piece *pieces, uint32_t count);
size_t vdev_host_frame_receive(struct vdev_slot *slot, void *to, size_t size);
int vdev_host_queue_send(struct vdev_slot *slot, uint32_t queue, const struct vdev_piece *pieces,
                         uint32_t count);
size_t vdev_host_queue_receive(struct vdev_slot *slot, uint32_t queue, void *to, size_t size);
bool vdev_host_network_is_up(struct vdev_slot *slot);

/* What epoll said of a queue of its network (any other number: of something else). A tap that the
 * host has deleted is as a cable that was pulled out, for good. On the I/O thread, without the
 * lock.
 */
void vdev_host_look_at_tap(struct vdev_slot *slot, uint32_t queue, uint32_t events);

/* There may be room again; the slot's lock is held. */
void vdev_host_flush_network(struct vdev_slot *slot);

/* One handle less; the slot is freed with the last. */
void vdev_host_closed_handle(struct vdev_slot *slot);

/* Watch the slot's timers. */
int vdev_host_open_timers(struct vdev_slot *slot, struct err *err);
void vdev_host_close_timers(struct vdev_slot *slot);

/* The VM is not paused any more: what was pressed meanwhile; the device is reset: that is void. */
void vdev_host_give_held_inputs(struct vdev_host *host);
void vdev_host_forget_held_inputs(struct vdev_slot *slot);

/* Interrupt line, timer. The slot's lock is held. */
void vdev_host_set_intr(struct vdev_slot *slot, uint32_t line, bool is_high);
void vdev_host_legacy_route(struct vdev_slot *slot, bool is_taken);
void vdev_host_set_timer(struct vdev_slot *slot, uint32_t timer, uint64_t deadline_ns);

/* Whether it begins nothing that reaches into memory. The slot's lock is held. */
static inline bool vdev_host_is_still(const struct vdev_slot *slot)
{
    return slot->is_held || slot->is_mute;
}

/* The function is a bus master from now on, or no more: then nothing is in flight when this
 * returns, and doorbells that are rung meanwhile ring once more afterwards. And the service. */
void vdev_host_set_master(struct vdev_slot *slot, bool is_master);
bool vdev_host_is_master(struct vdev_slot *slot);

/* The clocks: of devices, in ns, and UTC. */
uint64_t vdev_host_now(const struct vdev_host *host);
uint64_t vdev_host_now_ns(struct vdev_slot *slot);
uint64_t vdev_host_wall_ns(struct vdev_slot *slot);

void vdev_host_stream_resume(struct vdev_slot *slot);

/* All lines low, all timers off. The slot's lock is held. */
void vdev_host_quiet(struct vdev_slot *slot);

/* From now on changes of lines are counted alone; until what has become of them is told. */
void vdev_host_hold_lines(struct vdev_host *host);
void vdev_host_release_lines(struct vdev_host *host);

/* The services of save and restore. */
int vdev_host_put(struct vdev_slot *slot, uint32_t tag, enum vdev_field_kind kind, const void *data,
                  size_t size);
int vdev_host_get(struct vdev_slot *slot, uint32_t tag, enum vdev_field_kind kind, void *data,
                  size_t size, uint64_t max);

/* The slot has its module's default places: the second 8259's are others. */
void vdev_host_usual_place(struct vdev_slot *slot);

/* The GSI of a line that `intr` names, and how many lines that controller has. -ENOENT: there is no
 * such controller so far; -ERANGE: it has no such line (`count` is set). */
int vdev_host_find_line(const struct vdev_host *host, const struct intr *intr, uint32_t *gsi,
                        uint32_t *count);

/* The port of the edge/level register, if the slot is an 8259. */
int vdev_host_add_level_port(struct vdev_slot *slot, struct err *err);

/* Services of interrupt controllers. */
void vdev_host_message(struct vdev_slot *slot, uint64_t address, uint32_t data);
void vdev_host_cpu_intr(struct vdev_slot *slot, bool is_high);
void vdev_host_watch_vector(struct vdev_slot *slot, uint8_t vector, bool is_watched);

void vdev_host_free_slot(struct vdev_slot *slot);

#endif
