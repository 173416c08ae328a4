/* The whole contract between a qvm process and a virtual device (vdev-NAME.so).
 *
 * A vdev module exports one symbol, `qvm_vdev_module` (see QVM_VDEV_EXPORT). It is loaded once
 * per process, before anything is asked of the host, and serves any number of `vdev NAME`
 * contexts of a configuration. A module keeps no state outside its devices, starts no thread,
 * opens nothing, and reaches its qvm through its slot alone: what it needs of the host it names
 * in its option table, and gets it through the slot. Slot, operations and services are written as
 * if a process boundary ran between module and qvm: what crosses it are values, guest memory that
 * both have mapped, and events; nobody keeps a pointer to what the other owns, but spans of guest
 * memory.
 *
 * Threads and locks: the qvm holds the device's own lock around every operation, so two
 * operations on one device never overlap. read, write, config_read and config_write run on vCPU
 * threads; event and io_done on the device's I/O thread if it has one (`has_io_thread`), everything
 * else on the control thread. Services of `struct vdev_services` may be called from any operation;
 * none of them blocks but those of images that say so.
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

#include "vdev_host.h"
#include "vdev_option.h"
#include "vdev_place.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QVM_VDEV_ABI 3u

#define VDEV_TIMERS_MAX 32u /* timers of one device */
#define VDEV_EVENTS_MAX 64u /* doorbells of one device */
#define VDEV_CASCADED   256 /* see acknowledge */

struct vdev_slot; /* one device's place in its qvm: opaque to the module */

enum vdev_log_level { VDEV_LOG_ERROR, VDEV_LOG_WARN, VDEV_LOG_INFO, VDEV_LOG_DEBUG };

/* Services of the qvm. All take the slot that create was given. */
struct vdev_services {
    uint32_t size;
    uint32_t abi;

    /* Say why create or restore fails: one sentence without place; the qvm puts value->where (or
     * the vdev's own FILE:LINE if `value` is NULL) before it. Returns -EINVAL. */
    int (*fail)(struct vdev_slot *slot, const struct vdev_value *value, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

    /* One line, without newline. From create on, levels above debug count as debug: by then it is
     * the guest who makes devices talk. */
    void (*log)(struct vdev_slot *slot, enum vdev_log_level level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

    /* Set one of the device's interrupt lines (on PCI: line 0, INTx). Repeating a level costs
     * nothing. */
    void (*intr)(struct vdev_slot *slot, uint32_t line, bool is_high);

    /* The devices' clock in ns: it goes as CLOCK_MONOTONIC, stands still while the VM is paused,
     * and is far from 0 at its start; and wall-clock time (UTC) in ns since 1970. */
    uint64_t (*now_ns)(struct vdev_slot *slot);
    uint64_t (*wall_ns)(struct vdev_slot *slot);

    /* Call the timer operation once at `deadline_ns` (of now_ns); 0 cancels; setting
     * replaces. `timer` is below the module's timer_count. */
    void (*timer)(struct vdev_slot *slot, uint32_t timer, uint64_t deadline_ns);

    /* Hand bytes to the stream of the HOSTDEV option. Never blocks and takes all: what nobody
     * reads is overwritten and counted (the console), or dropped and counted. */
    void (*stream_write)(struct vdev_slot *slot, const uint8_t *data, size_t size);

    /* The device has room again after receive took less than it was given. */
    void (*stream_resume)(struct vdev_slot *slot);

    void (*request)(struct vdev_slot *slot, enum vdev_request request, uint32_t value);

    /* ---- guest memory ---- */

    /* The gate: `size` bytes of guest RAM at a guest-physical address, all in one piece, or NULL:
     * part of it is no RAM (a device's registers never are). What lies there may change at any
     * time: copy once, then check. A span stays good as long as the device. */
    void *(*memory_span)(struct vdev_slot *slot, uint64_t address, uint64_t size);

    /* Copy out of and into guest memory, also across borders. 0, or -EFAULT: nothing was copied. */
    int (*memory_read)(struct vdev_slot *slot, uint64_t address, void *to, uint64_t size);
    int (*memory_write)(struct vdev_slot *slot, uint64_t address, const void *from, uint64_t size);

    /* ---- events ---- */

    /* A write of the guest of `access` bytes (1, 2, 4, 8; 0: any) at `offset` of `region` (and, if
     * `has_value`, of that value alone) calls the event operation with `event`, and not write: the
     * vCPU goes on at once. During create alone. 0, -E2BIG, -EEXIST. */
    int (*doorbell)(struct vdev_slot *slot, uint32_t region, uint64_t offset, uint32_t access,
                    bool has_value, uint64_t value, uint32_t event);

    /* ---- PCI (config->place is VDEV_PLACE_PCI) ---- */

    /* Say what the function is. Once, during create; all is copied. 0, or what fail() gave. */
    int (*pci_function)(struct vdev_slot *slot, const struct vdev_pci_function *function);

    /* Send the message of a vector by MSI-X or MSI, whichever the guest uses; masked ones wait.
     * False: neither is enabled, the device uses its line. A guest that allows MSI fewer vectors
     * than there are has several of them as one (PCI 3.0, 6.8.1.6). */
    bool (*vector)(struct vdev_slot *slot, uint32_t vector);
    bool (*has_vectors)(struct vdev_slot *slot); /* MSI-X or MSI is enabled */

    /* ---- the image ---- */

    /* False: the IMAGE option was not given. */
    bool (*image)(struct vdev_slot *slot, struct vdev_image *image);

    /* Begin a transfer; io_done tells its end. 0; -EINVAL: outside the image, or a write to a
     * read-only one; -EBUSY: VDEV_IO_MAX are in flight. Transfers may end in another order; a flush
     * covers the writes whose io_done was called before it began. */
    int (*image_io)(struct vdev_slot *slot, const struct vdev_io *io);

    /* ---- interrupt controllers (module->is_controller) ---- */

    /* A message as MSI's: `address` 0xFEExxxxx (Intel SDM 3A, 11.11). */
    void (*message)(struct vdev_slot *slot, uint64_t address, uint32_t data);

    /* The INTR pin of the first vCPU: when it takes the interrupt, it calls acknowledge. */
    void (*cpu_intr)(struct vdev_slot *slot, bool is_high);

    /* Call end_of_interrupt when a vCPU's local APIC is told EOI of this vector, or no more. */
    void (*watch_vector)(struct vdev_slot *slot, uint8_t vector, bool is_watched);

    /* ---- more of events and images ---- */

    /* Ring a doorbell oneself: the event operation is called soon, on its own thread. */
    void (*ring)(struct vdev_slot *slot, uint32_t event);

    /* Forget the transfers in flight: io_done is called for none of them, and when this returns
     * none touches memory any more. For a guest that resets the device; it waits for the host's
     * disk, as no other service does. */
    void (*image_stop)(struct vdev_slot *slot);

    /* ---- what the VM tells its firmware ---- */

    /* File number `index`; false after the last. Files change at a reset of the VM alone, and there
     * are none before it runs. */
    bool (*firmware_file)(struct vdev_slot *slot, uint32_t index, struct vdev_firmware_file *file);

    /* Copy `size` bytes at `offset` of it; what it does not have reads 0. */
    void (*firmware_read)(struct vdev_slot *slot, uint32_t index, uint64_t offset, void *to,
                          uint64_t size);

    /* Of the HPET (2.3.5): while it is taken, the lines of `timer8254` and `mc146818` are low. */
    void (*legacy_route)(struct vdev_slot *slot, bool is_taken);

    /* ---- saved state, by fields: see save and restore ---- */

    /* During save: keep a field of `size` bytes. 0; -EEXIST: that tag was put before; -E2BIG;
     * -EINVAL: a tag of 0, a size that the kind does not have. After a failure the device is not
     * saved, whatever save returns. */
    int (*put)(struct vdev_slot *slot, uint32_t tag, enum vdev_field_kind kind, const void *data,
               size_t size);

    /* During restore: copy a field to `data`. 0; -ENOENT: there is no such field. -EINVAL: it is of
     * another kind; -EMSGSIZE: has another size; -ERANGE: is a number above `max` (0: whatever the
     * bytes hold): then the words are said, and the device is not restored, whatever restore
     * returns. */
    int (*get)(struct vdev_slot *slot, uint32_t tag, enum vdev_field_kind kind, void *data,
               size_t size, uint64_t max);

    /* ---- more of PCI ---- */

    /* An event descriptor (eventfd) for whoever raises a vector from outside the device: writing to
     * it is as `vector`, whatever the guest masks, and needs neither the device's lock nor this
     * process. During create, after pci_function; the qvm closes it. -EINVAL: there is no such
     * vector; -ENOSPC, -EMFILE, -ENOMEM: no more of them. */
    int (*vector_event)(struct vdev_slot *slot, uint32_t vector);

    /* The same for INTx: writing to it raises the line; when the guest ends the interrupt the line
     * falls and the descriptor *resample can be read: who still wants service raises it again.
     * -EINVAL: there is no INTx. With interrupt controllers that are vdevs nobody hears it. */
    int (*intx_event)(struct vdev_slot *slot, int *resample);

    /* ---- memory shared with other guests (the SHMEM options) ---- */

    /* Where the guest finds a region of the device now; UINT64_MAX: nowhere. */
    uint64_t (*region_address)(struct vdev_slot *slot, uint32_t region);

    /* Have a region, made with `bytes` if it is not there (0: it must be), if it has no more than
     * `most`. From write alone. It waits for the host, a second or two at most, and lets go of the
     * device's lock for that: other operations may come in between. Of one device one at a time:
     * VDEV_SHMEM_FAILED. */
    enum vdev_shmem_status (*shmem_attach)(struct vdev_slot *slot, const char *name, uint64_t bytes,
                                           uint64_t most, struct vdev_shmem *shmem);

    /* Let go of it; the guest finds its memory no more. The handle is of no use from here on. */
    void (*shmem_detach)(struct vdev_slot *slot, uint32_t handle);

    /* Show its memory from `offset` of a region of the device on, a multiple of 4 KiB: accesses of
     * the guest arrive there and not at the device, wherever the region is put. Once. 0; -EINVAL;
     * -ENOSPC: the VM has no room for it. */
    int (*shmem_show)(struct vdev_slot *slot, uint32_t handle, uint32_t region, uint64_t offset);

    /* Signal clients (bit N: client N); take the signals that came: bits 0-15 who signalled, bits
     * 16-31 who is attached. Both are strangers' words. */
    void (*shmem_notify)(struct vdev_slot *slot, uint32_t handle, uint32_t clients);
    uint32_t (*shmem_status)(struct vdev_slot *slot, uint32_t handle);

    /* ---- the network ---- */

    /* During create: have the event operation called with `event` when a frame has come, and when
     * one may be sent again. After a call all that has come is to be received: there is no further
     * one for it. False: neither of TAP, PEER and USER was given. With USER the other end computes
     * no checksums and cuts nothing: headers of frames are left out. */
    bool (*network)(struct vdev_slot *slot, uint32_t event);

    /* Send a frame: 0. -EAGAIN: there is no room now, `event` is called when there is. Anything
     * else: the frame is lost. Pieces may be guest memory; what the network gets is one copy of
     * them. From the event operation alone. */
    int (*frame_send)(struct vdev_slot *slot, const struct vdev_piece *pieces, uint32_t count);

    /* Receive a frame: its size, which may be more than `size` bytes: then the rest of it is lost.
     * 0: there is none. The other end is a stranger. From the event operation alone. */
    size_t (*frame_receive)(struct vdev_slot *slot, void *to, size_t size);

    /* ---- images, once more ---- */

    /* Wait for the transfers in flight: io_done is called for each, here and now. */
    void (*image_settle)(struct vdev_slot *slot);

    /* ---- memory that the guest gives back ---- */

    /* Give the pages of `size` bytes of guest RAM at `at` (of memory_span; whole pages of 4 KiB)
     * back to the host: they are empty then, and the guest's again when anybody touches them. From
     * the event operation of a module that `discards_memory` alone. 0; -EINVAL: that is no RAM of
     * the guest's, or none in one piece; or why the host did not. */
    int (*memory_discard)(struct vdev_slot *slot, void *at, uint64_t size);

    /* ---- a back end outside that works virtio's queues off (vhost-user) ---- */

    /* During create, before doorbells: what it is. A doorbell whose event is below
     * VDEV_BACKEND_QUEUES_MAX is the back end's then, for the queue of that number, and the device
     * does not hear it. The event operation is called with `lost`, 2 * VDEV_BACKEND_QUEUES_MAX or
     * more, when it is gone, and when there is one again after all (backend_is_there). False:
     * neither BACKEND nor FOLDER was given. */
    bool (*backend)(struct vdev_slot *slot, uint32_t lost, struct vdev_backend *backend);

    /* During create: the first bytes of the device's configuration. 0, -ENOTSUP, -EINVAL. */
    int (*backend_config)(struct vdev_slot *slot, void *to, uint32_t size);

    /* Begin; tell it `size` bytes at `offset` of the configuration. Both return at once. */
    int (*backend_start)(struct vdev_slot *slot, uint64_t features,
                         const struct vdev_backend_queue *queues, uint32_t count);
    void (*backend_configure)(struct vdev_slot *slot, uint32_t offset, const void *from,
                              uint32_t size);

    /* Stop a queue: when this returns, nobody touches it or what was offered in it. It waits for
     * the back end, some seconds at most, and lets go of the device's lock for that: other
     * operations may come in between. */
    void (*backend_stop)(struct vdev_slot *slot, uint32_t queue);

    /* ---- the network, once more ---- */

    /* Whether there is anybody at the other end; the event of `network` tells of a change. */
    bool (*network_is_up)(struct vdev_slot *slot);

    /* As image_stop, of some transfers: those that is_meant(context, token) says it of, which is
     * asked once for each in flight. The others go on. */
    void (*image_drop)(struct vdev_slot *slot, vdev_meant_fn is_meant, void *context);

    /* ---- a network with several queues (the NETWORK_QUEUES option) ---- */

    /* frame_send and frame_receive of a queue, from 0 on; those two are queue 0. Each queue has an
     * event of its own: that of `network` and its number. */
    int (*queue_send)(struct vdev_slot *slot, uint32_t queue, const struct vdev_piece *pieces,
                      uint32_t count);
    size_t (*queue_receive)(struct vdev_slot *slot, uint32_t queue, void *to, size_t size);

    /* ---- connections with programs of the host (the LISTEN option) ----
     * Each has a handle below VDEV_SOCKETS_MAX, and is a stream of bytes; the other end is a
     * stranger. None of this waits. From the event operation alone, where nothing else is said. */

    /* During create: have the event operation called with `event` when something may be done with a
     * connection, or one waits to be accepted. False: the option was not given. */
    bool (*sockets)(struct vdev_slot *slot, uint32_t event);

    /* The next handle with which something more may be done than before; -1: there is none. */
    int (*socket_next)(struct vdev_slot *slot);

    /* Accept a connection: its handle, the lowest that is free. -EAGAIN: none waits; -EMFILE: all
     * handles are taken; `event` is called when one is free again. */
    int (*socket_accept)(struct vdev_slot *slot);

    /* Receive: how many bytes; 0: none will come any more. Send: how many bytes were taken.
     * -EAGAIN: not now, socket_next will tell; -EPIPE (sending, `size` 0 as well): nobody will
     * receive any more; anything else: the connection is lost. Memory may be the guest's. */
    int64_t (*socket_receive)(struct vdev_slot *slot, uint32_t handle, void *to, size_t size);
    int64_t (*socket_send)(struct vdev_slot *slot, uint32_t handle, const void *from, size_t size);

    /* Receive or send no more (VDEV_SOCKET_NO_...): the other end is told. */
    void (*socket_shut)(struct vdev_slot *slot, uint32_t handle, uint32_t how);

    /* Let go of it: the handle is void at once, and free soon. From any operation. */
    void (*socket_close)(struct vdev_slot *slot, uint32_t handle);

    /* Connect to who listens at PATH_PORT: a handle, and when socket_next gives that, sending
     * nothing tells: 0: it is connected; else it is to be closed. -EMFILE; -ENOTCONN: never. */
    int (*socket_connect)(struct vdev_slot *slot, uint32_t port);

    /* ---- PCI, once more ---- */

    /* Whether the guest lets the function be a bus master (PCI 3.0, 6.2.2); true elsewhere. Who
     * is none leaves guest memory alone: transfers have ended, a back end has stopped, no timer
     * goes off, nothing is received, and events that come meanwhile come once more afterwards. */
    bool (*is_master)(struct vdev_slot *slot);

    /* ---- streams beside that of the HOSTDEV option (the PORT options) ---- */

    /* stream_write and stream_resume of a port, from 1 on. */
    void (*port_write)(struct vdev_slot *slot, uint32_t port, const uint8_t *data, size_t size);
    void (*port_resume)(struct vdev_slot *slot, uint32_t port);

    const struct vdev_tap_services *tap; /* with the VHOST option */

    /* ---- memory of the device's own ---- */

    /* Show `size` bytes at `memory` from `offset` of a region on (whole pages of 4 KiB), in place
     * of what was shown there: reads find them and do not arrive at the device, writes do. 0: they
     * are shown no more. Not on PCI; of a module that `shows_memory`. It may take some ms. 0, or
     * -errno: then all accesses arrive, as before. */
    int (*memory_show)(struct vdev_slot *slot, uint32_t region, uint64_t offset, void *memory,
                       uint64_t size);

    /* ---- a back end outside, once more ---- */

    /* Whether there is one, or another may follow. */
    bool (*backend_is_there)(struct vdev_slot *slot);
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

    void (*timer)(void *device, uint32_t timer); /* NULL if the module has none */
    void (*state)(void *device, vdev_state_fn add, void *context);

    /* All that reset changes, by fields, which host->put takes: what the guest sees of the device
     * from now on. No vCPU runs, and no transfer is in flight. Streams, images and options are not
     * part of it. 0 or -errno. NULL: it cannot be saved. */
    int (*save)(void *device);

    /* The other way, after a reset, with host->get. A tag is the module's own, for ever: a newer
     * module reads what an older one wrote, so a field that is missing has its value of power-on,
     * and one that nobody asks for is passed over unless it is VDEV_FIELD_NEEDED. Fields are
     * strangers' as the guest is: bounds, indices and what belongs together are checked before they
     * are used. Lines, timers and doorbells are set as the device wants them to be; no message is
     * sent. 0, what fail() returned, or -errno: the device is reset then. */
    int (*restore)(void *device);

    /* A key of `qvmctl sendkey`: a code of Linux' input-event-codes (KEY_A is 30). Returns whether
     * there was room. NULL if the device is no keyboard. */
    bool (*key)(void *device, uint16_t key, bool is_down);

    /* A doorbell was rung, once or more often. */
    void (*event)(void *device, uint32_t event);

    /* A transfer ended: 0 or -errno. After a reset none arrives that was begun before. */
    void (*io_done)(void *device, uint64_t token, int result);

    /* The capability number `cap` that is live: `offset` counts from its id byte. */
    uint32_t (*config_read)(void *device, uint32_t cap, uint32_t offset, uint32_t size);
    void (*config_write)(void *device, uint32_t cap, uint32_t offset, uint32_t size,
                         uint32_t value);

    /* Interrupt controllers: one of their inputs changed (called under another device's lock: call
     * message, cpu_intr and nothing else); the vector of an INTR that is taken, VDEV_CASCADED + N
     * if the controller on input N has it, or negative; an EOI. */
    void (*input)(void *device, uint32_t input, bool is_high);
    int (*acknowledge)(void *device);
    void (*end_of_interrupt)(void *device, uint8_t vector);

    /* `qvmctl sendbreak`: a break condition on the serial line. Returns whether somebody listens.
     * NULL if it has no such line. */
    bool (*line_break)(void *device);

    /* Somebody signalled a region that it shares, or came or went. */
    void (*shmem_changed)(void *device, uint32_t handle);

    /* `qvmctl balloon`: the host wants so many bytes of the guest's memory, in all; 0: none. 0;
     * -EAGAIN: whoever drives it is not there yet, and finds it then; -ERANGE: the guest has not so
     * much. NULL if the device is no balloon. */
    int (*balloon)(void *device, uint64_t bytes);

    /* `qvmctl point`: the pointer goes to a place, each axis from 0 to 32767. Returns
     * whether there was room. Who has this one gets the keys that are buttons, too (BTN_LEFT is
     * 0x110), and nobody else does. NULL if the device is no pointer. */
    bool (*point)(void *device, uint16_t x, uint16_t y);

    /* The terminal at the stream has that size now. NULL if the guest cannot be told. */
    void (*resize)(void *device, uint16_t columns, uint16_t rows);

    /* The image is larger now than the service `image` said. NULL if the guest cannot be told. */
    void (*image_grown)(void *device);

    /* receive and resize of a port. NULL if the module has no PORT option; if ports have no size.
     */
    size_t (*port_receive)(void *device, uint32_t port, const uint8_t *data, size_t count);
    void (*port_resize)(void *device, uint32_t port, uint16_t columns, uint16_t rows);
};

struct vdev_module {
    uint32_t size; /* sizeof(struct vdev_module) of the module */
    uint32_t abi;  /* QVM_VDEV_ABI of the module */
    const char *name;
    const char *doc; /* one line */
    const struct vdev_option *options;
    const struct vdev_region *default_regions; /* without `loc`; NULL: `loc` must be given */
    uint32_t default_region_count;             /* at most 4 */
    uint32_t default_intr;                     /* line 0; QVM_VDEV_NO_INTR: none */
    const char *acpi_hid; /* ACPI id ("PNP0501") under which the guest finds it; NULL: none */
    const struct vdev_ops *ops;
    bool can_pci;                  /* may stand on a PCI bus (`loc pci:`) */
    bool is_pci_usual;             /* and does without `loc` */
    bool has_io_thread;            /* event and io_done have a thread of their own */
    bool is_controller;            /* interrupt lines of others end here (`intr NAME:INPUT`) */
    uint32_t line_count;           /* at most VDEV_LINES_MAX; 0 counts as 1 */
    uint32_t timer_count;          /* at most VDEV_TIMERS_MAX; 0 counts as 1 if there
                                      is a timer operation */
    bool has_level_lines;          /* its interrupts are level triggered, otherwise edge */
    const uint32_t *default_intrs; /* of lines 1 and up, line_count - 1 of them; NULL: none */
    uint64_t usual_size;           /* bytes of an address without its length that is no default
                                      region's; 0: the length must be given */
    bool discards_memory;          /* calls memory_discard: refused where RAM has to stay */
    bool shows_memory;             /* calls memory_show */
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
