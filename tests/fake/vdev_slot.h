/* A slot for one device without a qvm around it: its clock stands still until a test moves it. */
#ifndef QVM_TESTS_FAKE_VDEV_SLOT_H
#define QVM_TESTS_FAKE_VDEV_SLOT_H

#include <qvm/vdev.h>

#include "proto/base/err.h"
#include "qvm-worker/fields.h"

#define FAKE_SENT_MAX      4096u
#define FAKE_PORT_SENT_MAX 64u
#define FAKE_MEMORY_MAX    4u    /* pieces of guest memory */
#define FAKE_IO_MAX        16u   /* transfers in flight */
#define FAKE_FILES_MAX     32u   /* of firmware */
#define FAKE_FRAMES_MAX    128u  /* of a network, each way */
#define FAKE_BYTES_MAX     2048u /* of a connection, each way */

/* A piece of guest memory; pieces do not lie together in the test's memory. */
struct fake_memory {
    uint64_t start;
    uint8_t *bytes;
    uint64_t size;
};

struct fake_doorbell {
    uint32_t region;
    uint64_t offset;
    uint32_t access;
    bool has_value;
    uint64_t value;
    uint32_t event;
};

/* A frame of a network, with its header; what is longer is kept in part. */
struct fake_frame {
    size_t size;
    uint32_t queue; /* of the network, that it goes through */
    uint8_t bytes[2048];
};

/* A connection with a program of the host: what it says, which the device receives, and the last of
 * what it heard, for which there is room for `room` bytes more. */
struct fake_socket {
    bool is_open, is_ready;
    bool is_called;                   /* by the device, and not answered yet */
    uint32_t port;                    /* whom */
    bool says_no_more, hears_no_more; /* the program; a test sets it, and calls fake_slot_stir */
    uint32_t shut;                    /* by the device: VDEV_SOCKET_NO_... */
    uint8_t said[FAKE_BYTES_MAX], heard[FAKE_BYTES_MAX];
    size_t said_count, said_next, heard_count, room;
    unsigned close_count;
};

/* A transfer that the device began, and that a test ends. */
struct fake_io {
    struct vdev_io io;
    struct vdev_piece pieces[VDEV_IO_PIECES];
};

struct vdev_slot {
    const struct vdev_module *module;
    void *device;

    bool lines[VDEV_LINES_MAX];
    bool is_high;        /* line 0 */
    unsigned rise_count; /* of all lines */

    uint64_t now_ns, wall_ns;
    uint64_t deadlines_ns[VDEV_TIMERS_MAX];
    uint64_t deadline_ns; /* of timer 0 */
    unsigned timer_count; /* calls of the timer operation */

    unsigned log_count;
    char logged[256]; /* the last line */

    uint8_t sent[FAKE_SENT_MAX]; /* to the stream; the count goes on beyond */
    uint64_t sent_count;
    unsigned resume_count;
    struct { /* the same of its ports, by their numbers */
        uint8_t sent[FAKE_PORT_SENT_MAX];
        uint64_t sent_count;
        unsigned resume_count;
    } ports[VDEV_PORTS_MAX + 1];

    unsigned message_count; /* of interrupt controllers; the last one */
    uint64_t message_address;
    uint32_t message_data;
    bool is_cpu_intr;
    bool is_watched[256]; /* vectors */
    bool is_legacy_taken; /* by an HPET */

    unsigned request_count;
    enum vdev_request request;
    uint32_t request_value;

    /* Set before the device is made: guest memory and the image. */
    struct fake_memory memory[FAKE_MEMORY_MAX];
    bool has_image;
    struct vdev_image image;

    /* Calls of memory_discard, and the last one: what was discarded is zero. */
    unsigned discard_count;
    uint64_t discarded_at, discarded_size; /* guest-physical; bytes */

    /* memory_show: it is refused; what is shown now (NULL: nothing), and how often that changed. */
    bool refuses_memory;
    const void *shown;
    uint64_t shown_size;
    unsigned show_count;

    /* What firmware may ask for; set at any time. */
    struct {
        const char *name;
        const void *bytes;
        uint32_t size;
    } files[FAKE_FILES_MAX];
    uint32_t file_count;

    struct fake_doorbell doorbells[VDEV_EVENTS_MAX];
    uint32_t doorbell_count;
    uint64_t rung; /* bit n: event n, by the device itself */

    /* On PCI: what it said it is, and messages that it sent. */
    struct vdev_pci_function function;
    uint8_t caps[VDEV_CAPS_MAX][VDEV_CAP_SIZE_MAX]; /* data of each, behind id and link */
    struct vdev_cap cap_rows[VDEV_CAPS_MAX];
    struct vdev_bar bar_rows[VDEV_BARS_MAX];
    bool is_mute;      /* the guest does not let it be a bus master */
    bool has_messages; /* MSI-X is enabled */
    unsigned messages[VDEV_VECTORS_MAX];

    struct fake_io ios[FAKE_IO_MAX];
    uint32_t io_count;  /* in flight; FAKE_IO_MAX are -EBUSY */
    unsigned io_stops;  /* calls of image_stop */
    unsigned io_begins; /* calls of image_io that succeeded */

    /* The network, if `has_network` was set before the device is made (`is_unlinked`: with nobody
     * at its other end): frames that a test sends to the device, and those that it sent, of which
     * there is room for `frame_room` more. */
    bool has_network, is_unlinked;
    uint32_t network_event;
    struct fake_frame in[FAKE_FRAMES_MAX], out[FAKE_FRAMES_MAX];
    uint32_t in_count, in_next, out_count, frame_room;

    /* The back end, if `has_backend` was set before the device is made: its configuration has bytes
     * 1, 2, 3 ...; what was wished for, and told. */
    bool has_backend, is_backend_gone;
    struct vdev_backend backend;
    uint32_t backend_config_size, backend_lost;
    struct vdev_backend_queue backend_queues[VDEV_BACKEND_QUEUES_MAX];
    bool is_backend_running[VDEV_BACKEND_QUEUES_MAX];
    uint64_t backend_features;
    uint32_t backend_told_offset, backend_told_size;
    uint8_t backend_told[8];
    void (*on_backend_stop)(struct vdev_slot *slot); /* while its lock is let go of; NULL: none */

    /* The kernel's part in its network, if it offers something before the device is made: what it
     * was asked for last. Tests say how far it is (queues[n].base). */
    struct {
        uint64_t offered;
        bool is_required, refuses, is_running;
        uint32_t event, runs, pairs;
        uint64_t features;
        struct vdev_tap_queue queues[2 * VDEV_NETWORK_QUEUES_MAX];
        void (*on_rest)(struct vdev_slot *slot); /* while its lock is let go of; NULL: none */
    } tap;

    /* Connections, if `has_sockets` was set before the device is made; those that nobody has
     * accepted yet. A connection that is accepted says `greeting`. */
    bool has_sockets, connects_to_nobody;
    uint32_t sockets_event, dial_count;
    char greeting[64];
    struct fake_socket sockets[VDEV_SOCKETS_MAX];

    struct fields_writer *writer; /* during save */
    struct fields_reader *reader; /* during restore */
    struct err why;               /* that it cannot be restored */

    char failure[256];
    char state[2048]; /* NAME=VALUE lines */
};

/* The services that every fake slot has. */
extern const struct vdev_services fake_slot_services;

extern const struct vdev_tap_services fake_slot_tap;

/* Line 0 of devices that are made from here on; QVM_VDEV_NO_INTR: as the module has it. */
extern uint32_t fake_slot_wired_to;

/* Make the module's device with its default regions, or with `regions`. Returns what create said;
 * `slot` is set up anew. */
int fake_slot_create(struct vdev_slot *slot, const struct vdev_module *module,
                     const struct vdev_value *values, uint32_t value_count,
                     const struct vdev_region *regions, uint32_t region_count);

/* The same with any configuration; `size` and `name` are filled in. */
int fake_slot_build(struct vdev_slot *slot, const struct vdev_module *module,
                    struct vdev_config *config);
void fake_slot_destroy(struct vdev_slot *slot);

/* Guest memory at `address`: NULL if `size` bytes of one piece are not there. */
void *fake_slot_memory(struct vdev_slot *slot, uint64_t address, uint64_t size);

/* A write of the guest: rings the doorbell that is there, or goes to the device. */
void fake_slot_write(struct vdev_slot *slot, uint32_t region, uint64_t offset, uint32_t size,
                     uint64_t value);

/* Call the event operation for all that was rung by the device itself. */
void fake_slot_run(struct vdev_slot *slot);

/* Take transfer `i` out of the list, and tell the device its end. */
void fake_slot_end_io(struct vdev_slot *slot, uint32_t i, int result);

/* One byte at offset `at` of a region. */
uint8_t fake_slot_in(struct vdev_slot *slot, uint32_t region, uint64_t at);
void fake_slot_out(struct vdev_slot *slot, uint32_t region, uint64_t at, uint8_t value);

size_t fake_slot_type(struct vdev_slot *slot, const void *data, size_t count);

/* Let time go by, both clocks; the timer fires on its way. */
void fake_slot_advance(struct vdev_slot *slot, uint64_t ns);

/* As the vdev host resets a device. */
void fake_slot_reset(struct vdev_slot *slot);

/* Save the device into `writer` (zeroes before); restore it from a list, by the moment of now. 0 or
 * -errno; the device was reset before, and is after a failure. */
int fake_slot_save(struct vdev_slot *slot, struct fields_writer *writer);
int fake_slot_restore(struct vdev_slot *slot, const uint8_t *bytes, size_t size);

/* Fill slot->state and return it. */
const char *fake_slot_state(struct vdev_slot *slot);

/* The image's services. */
bool fake_slot_image(struct vdev_slot *slot, struct vdev_image *image);
int fake_slot_image_io(struct vdev_slot *slot, const struct vdev_io *io);
void fake_slot_image_stop(struct vdev_slot *slot);
void fake_slot_image_settle(struct vdev_slot *slot);
void fake_slot_image_drop(struct vdev_slot *slot, bool (*is_meant)(void *context, uint64_t token),
                          void *context);

/* The streams' services. */
void fake_slot_stream_write(struct vdev_slot *slot, const uint8_t *data, size_t size);
void fake_slot_stream_resume(struct vdev_slot *slot);
void fake_slot_port_write(struct vdev_slot *slot, uint32_t port, const uint8_t *data, size_t size);
void fake_slot_port_resume(struct vdev_slot *slot, uint32_t port);

/* The network's services. */
int fake_slot_memory_discard(struct vdev_slot *slot, void *at, uint64_t size);
int fake_slot_memory_show(struct vdev_slot *slot, uint32_t region, uint64_t offset, void *memory,
                          uint64_t size);
bool fake_slot_network(struct vdev_slot *slot, uint32_t event);
int fake_slot_queue_send(struct vdev_slot *slot, uint32_t queue, const struct vdev_piece *pieces,
                         uint32_t count);
size_t fake_slot_queue_receive(struct vdev_slot *slot, uint32_t queue, void *to, size_t size);
int fake_slot_frame_send(struct vdev_slot *slot, const struct vdev_piece *pieces, uint32_t count);
size_t fake_slot_frame_receive(struct vdev_slot *slot, void *to, size_t size);
bool fake_slot_network_is_up(struct vdev_slot *slot);

/* Somebody comes to the other end, or goes, and the device is told. */
void fake_slot_link(struct vdev_slot *slot, bool is_up);

/* The services of connections. */
bool fake_slot_sockets(struct vdev_slot *slot, uint32_t event);
int fake_slot_socket_next(struct vdev_slot *slot);
int fake_slot_socket_accept(struct vdev_slot *slot);
int64_t fake_slot_socket_receive(struct vdev_slot *slot, uint32_t handle, void *to, size_t size);
int64_t fake_slot_socket_send(struct vdev_slot *slot, uint32_t handle, const void *from,
                              size_t size);
void fake_slot_socket_shut(struct vdev_slot *slot, uint32_t handle, uint32_t how);
void fake_slot_socket_close(struct vdev_slot *slot, uint32_t handle);
int fake_slot_socket_connect(struct vdev_slot *slot, uint32_t port);

/* A program of the host connects, and says `greeting` as soon as it is accepted; one says
 * something; something has changed. The device is told. */
void fake_slot_dial(struct vdev_slot *slot, const char *greeting);
void fake_slot_say(struct vdev_slot *slot, uint32_t handle, const void *bytes, size_t size);
void fake_slot_stir(struct vdev_slot *slot, uint32_t handle);

/* A program that the device wants to talk to is there, or not. The device is told. */
void fake_slot_answer(struct vdev_slot *slot, uint32_t handle, bool is_there);

/* The back end's services; vector_event gives 100 + vector on PCI. */
bool fake_slot_backend(struct vdev_slot *slot, uint32_t lost, struct vdev_backend *backend);
int fake_slot_backend_config(struct vdev_slot *slot, void *to, uint32_t size);
int fake_slot_backend_start(struct vdev_slot *slot, uint64_t features,
                            const struct vdev_backend_queue *queues, uint32_t count);
void fake_slot_backend_configure(struct vdev_slot *slot, uint32_t offset, const void *from,
                                 uint32_t size);
void fake_slot_backend_stop(struct vdev_slot *slot, uint32_t queue);
bool fake_slot_backend_is_there(struct vdev_slot *slot);
int fake_slot_vector_event(struct vdev_slot *slot, uint32_t vector);

/* A frame comes, of which `size` bytes are given, and the device is told. */
void fake_slot_frame(struct vdev_slot *slot, const void *bytes, size_t size);
void fake_slot_queue_frame(struct vdev_slot *slot, uint32_t queue, const void *bytes, size_t size);

#endif
