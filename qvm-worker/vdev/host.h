/* The vdevs of one VM: loads their modules, reads their options, gives them their services.
 *
 * Order: vdev_host_create; while the configuration is read: vdev_host_load at each `vdev NAME`,
 * vdev_host_option_arguments at each word after it, vdev_host_add at the end of the context; then
 * vdev_host_next_need and vdev_host_grant (what qvmd gives); vdev_host_build makes the devices and
 * puts them on the bus; vdev_host_destroy. Modules are loaded before anything is asked of the
 * host, and never later.
 *
 * Every refusal is one sentence that begins with FILE:LINE, where a line is to blame.
 *
 * Threads: all of this is the control thread's, apart from what the bus calls on vCPU threads. A
 * device's own lock is held around each operation of it; lock order: device, then interrupt line
 * or console, never two devices. env->intr and env->request are called under those locks.
 * System calls at run time on vCPU threads: timerfd_settime, futex, write (to an eventfd), and
 * what env->intr and env->request make; on I/O threads (one of each device that wants one) also
 * epoll_wait, and where there is a back end those of vhost.h. */
#ifndef QVM_WORKER_VDEV_HOST_H
#define QVM_WORKER_VDEV_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/log.h"
#include "qvm-worker/loc.h"
#include "vdevs/include/qvm/vdev.h"

struct bus;
struct console;
struct err;
struct fields_writer;
struct firmware_file;
struct memory;
struct pci;
struct uv_loop_s;
struct vdev_host;

#define VDEV_HOST_DEVICES_MAX 256u /* of one VM */
#define VDEV_HOST_REGIONS_MAX 4u   /* `loc` of one vdev */
#define VDEV_HOST_OPTIONS_MAX 256u /* words of one vdev context */
#define VDEV_HOST_NAME_MAX    63u  /* bytes of a module's or a device's name */
#define VDEV_HOST_GSI_COUNT   24u  /* lines of `ioapic`; `8259` has the first 16 */

/* `directory_fd` is the folder of the modules (it may be an O_PATH descriptor); borrowed until
 * vdev_host_build. */
int vdev_host_create(int directory_fd, struct vdev_host **host, struct err *err);

/* Destroys the devices, last first, and closes what was granted. No vCPU runs; the bus is not used
 * any more. The memory goes when the loop has run the closing of its handles (uv_run once more).
 * Modules stay loaded: they belong to the process. NULL is fine. */
void vdev_host_destroy(struct vdev_host *host);

/* Load the module `ser8250`, also spelled `vdev-ser8250` or `vdev-ser8250.so`; loading it again
 * costs nothing. -ENOENT: there is none (`err` lists those that there are); -EINVAL: that is no
 * name; -ELIBBAD: it is no vdev, or of another ABI. `where` is FILE:LINE of the name. */
int vdev_host_load(struct vdev_host *host, const char *module, const char *where, struct err *err);

/* How many arguments follow `word` inside a context of `module`, which was loaded: 0, 1 or 2;
 * -ENOENT if that is no option of a vdev of this kind. */
int vdev_host_option_arguments(const struct vdev_host *host, const char *module, const char *word);

/* Offer the names of all options of `module`, for a suggestion. */
struct conf_nearest;
void vdev_host_offer_options(const struct vdev_host *host, const char *module,
                             struct conf_nearest *nearest);

/* One word of a vdev context with its arguments, as the configuration has it. */
struct vdev_host_option {
    const char *word;
    const char *argument; /* NULL when the word has none */
    const char *second;   /* the DEST of `log F,F.. DEST`; NULL otherwise */
    const char *where;    /* FILE:LINE of the word */
};

/* One `vdev` context: reads and checks all options. Nothing given is kept (all is copied).
 * Addresses are hexadecimal by default, sizes and other numbers decimal; 0x, 0d, K M G. */
int vdev_host_add(struct vdev_host *host, const char *module, const char *where,
                  const struct vdev_host_option *options, size_t option_count, struct err *err);

/* What somebody else has of the VM's places and interrupt lines, or keeps free. */
struct vdev_host_taken {
    bool (*region)(void *context, const struct vdev_region *region);
    bool (*line)(void *context, uint32_t line);
    void *context;
};

/* Once all contexts were added: add a device of `module` at its usual place, because firmware wants
 * one, unless there is one wherever, or somebody has a place or line of it. `where` is FILE:LINE of
 * the firmware. */
int vdev_host_imply(struct vdev_host *host, const char *module, const char *where,
                    const struct vdev_host_taken *taken, struct err *err);

/* Something outside the process that a vdev needs opened. */
enum vdev_host_need_kind {
    VDEV_HOST_NEED_FILE,    /* open `path` */
    VDEV_HOST_NEED_IMAGE,   /* open `path`, a file or block device, and lock it */
    VDEV_HOST_NEED_COMMAND, /* run `path` by the shell, with a pipe to it or from it */
    VDEV_HOST_NEED_TAP,     /* a tap (proto/base/tap.h): `path` is NAME or NAME,BRIDGE */
    VDEV_HOST_NEED_PEER,    /* one end of a cable: `path` is GUEST/VDEV of the other */
    VDEV_HOST_NEED_BACKEND, /* connect to the stream socket `path` */
    VDEV_HOST_NEED_HELPER,  /* a connection to a helper that serves the image or folder `path` */
    VDEV_HOST_NEED_USER,    /* a connection to a helper that has a network: `path` is the device */
    VDEV_HOST_NEED_LISTEN,  /* make the stream socket `path`, and listen at it */
    VDEV_HOST_NEED_CID,     /* the kernel's back end of a vsock, and the address `path` in it */
};

/* Whether the kernel works the queues of a tap or a vsock off; AUTO: where it can. */
enum vdev_host_vhost { VDEV_HOST_VHOST_OFF, VDEV_HOST_VHOST_AUTO, VDEV_HOST_VHOST_ON };

struct vdev_host_need {
    enum vdev_host_need_kind kind;
    bool can_read, can_write;   /* COMMAND: exactly one of them; can_write is the command's input */
    const char *path;           /* a relative one is relative to the file that `where` names */
    const char *where;          /* FILE:LINE */
    const char *device;         /* the vdev's name */
    const char *format;         /* HELPER: of the image; "fs": a folder */
    const char *delayed_where;  /* FILE, a stream: FILE:LINE of `delayed`, or NULL */
    uint32_t delay_s;           /* how long it may be late; UINT32_MAX: for ever */
    uint32_t count;             /* TAP: descriptors, one of each queue */
    enum vdev_host_vhost vhost; /* TAP: and a back end of the kernel's for each */
};

/* The need after `previous` (NULL: the first), or NULL after the last. The console is none. The
 * needs live as long as the host. */
const struct vdev_host_need *vdev_host_next_need(const struct vdev_host *host,
                                                 const struct vdev_host_need *previous);

/* Give what `need` asks for; `fd` becomes the host's. */
void vdev_host_grant(struct vdev_host *host, const struct vdev_host_need *need, int fd);

/* The same with another queue of a tap, from 1 on. */
void vdev_host_grant_queue(struct vdev_host *host, const struct vdev_host_need *need,
                           uint32_t queue, int fd);

/* The same with the kernel's back end for a queue, from 0 on; -1: there is none. */
void vdev_host_grant_back_end(struct vdev_host *host, const struct vdev_host_need *need,
                              uint32_t queue, int fd);

/* What a vdev may share with other guests: rule number `index` (proto/shmem.h) with its FILE:LINE;
 * false after the last. And the bytes of it that the guest can see at once. */
bool vdev_host_shmem_rule(const struct vdev_host *host, uint32_t index, const char **rule,
                          const char **where);
uint64_t vdev_host_shmem_window(const struct vdev_host *host);

/* Whether a device shows memory of its own, which comes and goes while the guest runs. */
bool vdev_host_shows_memory(const struct vdev_host *host);

/* FILE:LINE of the first vdev whose `log` goes to that logger of the host, or NULL. */
const char *vdev_host_logs_to(const struct vdev_host *host, enum log_system system);

/* Whether a vdev has the console: by `hostdev -`, or because nobody else has it. */
bool vdev_host_uses_console(const struct vdev_host *host);

/* FILE:LINE of vdev number `index` of those that give guest RAM back; NULL after the last. */
const char *vdev_host_discards(const struct vdev_host *host, uint32_t index);

/* Whether a vdev is placed on PCI. */
bool vdev_host_wants_pci(const struct vdev_host *host);

/* A doorbell where the guest finds it now. */
struct vdev_host_bell {
    int fd; /* eventfd to be written to */
    enum vdev_space space;
    uint64_t address;
    uint32_t size; /* of the access in bytes; 0: any */
    bool has_value;
    uint64_t value;
};

/* Where the interrupt controllers are, and the interval timer. */
struct vdev_host_chips {
    bool are_own;            /* IOAPIC and 8259 are vdevs; otherwise KVM's */
    bool has_kernel_timer;   /* KVM's 8254 */
    bool uses_line_0;        /* a vdev has it */
    uint32_t timer_pin;      /* the pin of the IOAPIC that line 0 leads to: 2, as in PCs, or 0 */
    uint64_t ioapic_address; /* guest-physical */
    uint64_t hpet_address;   /* of the first; 0: there is none */
    uint32_t hpet_id;        /* since vdev_host_build: the low half of its capabilities */
};

/* Once all contexts were added: decides that, and adds the controllers that the configuration does
 * not name, if they are to be vdevs. -EEXIST: there are too many, in words. */
int vdev_host_settle_chips(struct vdev_host *host, struct err *err);
void vdev_host_get_chips(const struct vdev_host *host, struct vdev_host_chips *chips);

/* Own controllers: a line's level; the vector of the 8259's interrupt, which a vCPU takes
 * (negative: none); a local APIC's end of an interrupt. Any thread, also under a device's lock. */
void vdev_host_line(struct vdev_host *host, uint32_t gsi, bool is_high);
int vdev_host_acknowledge(struct vdev_host *host);
void vdev_host_end_of_interrupt(struct vdev_host *host, uint8_t vector);

/* Why a guest cannot go on. Borrowed. */
struct vdev_host_trouble {
    const char *device; /* its name */
    const char *path;   /* of its image */
    int result;         /* -errno of a transfer */
};

/* Whom an I/O thread talks to, besides disks and networks. */
enum vdev_host_thread {
    VDEV_HOST_THREAD_PLAIN,
    VDEV_HOST_THREAD_BACKEND, /* a back end */
    VDEV_HOST_THREAD_SOCKETS, /* programs of the host that connect */
    VDEV_HOST_THREAD_VHOST,   /* the kernel, which works queues off */
};

/* What the vdevs get from the VM. */
struct vdev_host_env {
    struct uv_loop_s *loop;
    struct bus *bus;
    struct pci *pci;         /* NULL: there are no PCI buses; then no vdev is placed there */
    struct console *console; /* of `hostdev -`; NULL: none, what is said is thrown away */
    bool is_dry;             /* no guest will run: what was not granted is no reason to fail */
    const char *system;      /* the VM's name; NULL: none */
    uint32_t cpu_count;
    uint64_t ram_below_4g, ram_above_4g; /* bytes */
    void *context;

    /* Set an interrupt line; called at changes alone, in their order. Any thread. */
    void (*intr)(void *context, uint32_t gsi, bool is_high);

    /* Of interrupt controllers: a message, as MSI's; the level of the 8259's output; whether ends
     * of interrupts of that vector are to be told. Any thread; may be NULL. */
    void (*message)(void *context, uint64_t address, uint32_t data);
    void (*cpu_intr)(void *context, bool is_high);

    /* The real-time clock interrupts, also while an HPET has taken its line. NULL: nobody asks. */
    void (*clock_alarm)(void *context);
    void (*watch_vector)(void *context, uint8_t vector, bool is_watched);

    /* VDEV_REQUEST_...; any thread; must not wait for a device. */
    void (*request)(void *context, enum vdev_request request, uint32_t value);
    /* Instead of it, with the device's name, and where that is configured; may be NULL. */
    void (*request_of)(void *context, const char *where, const char *device,
                       enum vdev_request request, uint32_t value);

    /* Transfers of a device's image failed and are kept: the VM is to pause. Once until it goes on.
     * As request; may be NULL. */
    void (*trouble)(void *context, const struct vdev_host_trouble *trouble);

    const struct memory *memory; /* the gate; NULL: there is no guest memory */

    /* What the VM tells its firmware: file number `index`, or NULL after the last. Any thread.
     * NULL: there is none. */
    const struct firmware_file *(*firmware_file)(void *context, uint32_t index);

    /* Have KVM hear a doorbell, or no more (the same values again). 0, or it does not hear: the bus
     * is asked then. NULL: it never does. */
    int (*doorbell)(void *context, const struct vdev_host_bell *bell, bool is_there);

    /* Of who shares memory; on the control thread: wish for a region (vdev_host_shmem_given
     * follows; otherwise nobody answers), or say that it is let go. NULL: nobody gives any. */
    int (*shmem_wish)(void *context, int64_t serial, const char *name, uint64_t bytes,
                      uint64_t most);
    void (*shmem_left)(void *context, const char *name);

    /* Of connections to programs of the host; on the control thread: connect to who listens at
     * PATH_PORT (vdev_host_connected follows; otherwise nobody answers). One at a time. NULL: it
     * cannot be. */
    int (*connect_wish)(void *context, int64_t serial, const char *path, uint32_t port);

    /* A device's helper is gone; on the control thread: have another one come
     * (vdev_host_helper_given follows). -ENOTCONN: nobody hears that now (wish again when somebody
     * does: vdev_host_wish_helpers); other errors: none ever comes. NULL: as these. */
    int (*helper_wish)(void *context, const char *device);

    /* Put memory where the guest finds it: slot number `slot` of those (size 0: it is no more). Any
     * thread. */
    int (*memory_slot)(void *context, uint32_t slot, uint64_t address, void *memory, uint64_t size);

    /* The same for memory that is only read; the slots are others. NULL: nothing is shown. */
    int (*shown_slot)(void *context, uint32_t slot, uint64_t address, void *memory, uint64_t size);

    bool has_no_ring; /* transfers of images are made by threads, whatever the kernel can */

    /* The first act of each I/O thread: its door. NULL: none. */
    int (*on_io_thread)(void *context, enum vdev_host_thread kind, struct err *err);
};

/* Make all devices, in the order of the configuration, and put them on the bus. `env` is copied;
 * what it points to outlives the host. After a failure only vdev_host_destroy makes sense.
 * -ENODEV: a need was not granted. */
int vdev_host_build(struct vdev_host *host, const struct vdev_host_env *env, struct err *err);

/* A device, for what concerns the machine as a whole (ACPI, reset). */
struct vdev_host_device {
    const char *name;   /* `name`, or the module's with a number when that is taken: "ser8250-2" */
    const char *module; /* "ser8250" */
    const char *where;  /* FILE:LINE */
    bool is_implied;    /* the line of the firmware that wants it: see vdev_host_imply */
    const char *acpi_hid; /* NULL: none */
    bool is_level;        /* its lines; otherwise edge */
    const struct vdev_region *regions;
    uint32_t region_count;
    const struct loc_pci *pci;     /* `loc pci:`, or NULL: it is no PCI device */
    const struct intr *intr_names; /* of each line, as the configuration names it; INTR_NONE: the
                                      module's own */
    const uint32_t *intrs;         /* GSI of each line, or QVM_VDEV_NO_INTR */
    uint32_t intr_count;           /* at least 1 */
    void *context;                 /* for `reset` */
    void (*reset)(void *context);  /* this device alone, back to power-on; its line low */
};

/* Device number `i` in the order of the configuration, from vdev_host_add on; false after the
 * last. */
bool vdev_host_device(const struct vdev_host *host, size_t i, struct vdev_host_device *device);

/* Press or release a key (Linux' input-event-codes) on the first keyboard, or a button on the first
 * pointer; move that. While the VM is paused some are kept until it goes on. 0; -ENODEV: there is
 * none; -ENOBUFS: it has no room. */
int vdev_host_key(struct vdev_host *host, uint16_t key, bool is_down);
int vdev_host_point(struct vdev_host *host, uint16_t x, uint16_t y);

/* A break condition on the serial line that is the console, or else on the first. 0; -ENODEV: there
 * is none; -ENOBUFS: the guest does not listen. */
int vdev_host_break(struct vdev_host *host);

/* Tell the guest how large the terminal at its console is. -ENODEV: what has the console has no
 * size. */
int vdev_host_resize(struct vdev_host *host, uint16_t columns, uint16_t rows);

/* The same at a port; and the console of a port that is at no file of the host, for sessions, once
 * the devices are made. -ENODEV, -ENOENT: there is no such port; -EBUSY: it is at a file. */
int vdev_host_resize_port(struct vdev_host *host, const char *name, uint16_t columns,
                          uint16_t rows);
int vdev_host_port_console(const struct vdev_host *host, const char *name, struct console **console,
                           struct err *err);

/* The host wants so many bytes of the guest's memory. 0; -EAGAIN: there will be a driver, and not
 * yet; -ENODEV: there is no balloon; -ERANGE: the guest has not so much. */
int vdev_host_balloon(struct vdev_host *host, uint64_t bytes);

/* The image of the device of that name may have grown: if so, the guest is told. Its bytes before
 * and now. -ENOENT: there is no such device; -EOPNOTSUPP: it has no image, or none that can grow;
 * -EINVAL: it has become smaller, or is no whole number of sectors. In words. */
int vdev_host_resize_disk(struct vdev_host *host, const char *name, uint64_t *before, uint64_t *now,
                          struct err *err);

/* Reset all devices, last first (who was made later may lean on who was made before). No vCPU
 * runs. */
void vdev_host_reset(struct vdev_host *host);

/* Begin nothing: wait for the transfers in flight, keep doorbells, typed bytes and timers for
 * later; the devices' clock stands still. Then go on. No vCPU runs; repeating either is fine.
 * -ETIMEDOUT: the host is not done with a transfer within VDEV_HOST_HOLD_MS; nothing is held. */
#define VDEV_HOST_HOLD_MS 3000u
int vdev_host_hold(struct vdev_host *host, struct err *err);
void vdev_host_release(struct vdev_host *host);

/* Add the state of all devices to a list (fields.h), a field of bytes for each; writer->now_ns
 * becomes their clock's. They are held.
 * -ENOTSUP: a device cannot be saved; `err` says which. */
int vdev_host_save(struct vdev_host *host, struct fields_writer *writer, struct err *err);

/* Reset all devices, and restore them from such a list, which is a stranger's: it has each of them
 * and no other. Lines that end as they were before are not told to anybody. After any failure all
 * are as after a reset. They are held. */
int vdev_host_restore(struct vdev_host *host, const uint8_t *bytes, size_t size, struct err *err);

/* The answer to a wish: `fds` (SHMEM_FD_COUNT of proto/shmem.h; NULL with any other status than
 * VDEV_SHMEM_OK) are taken by setting them to -1. False: a region that was given is not wanted any
 * more, or cannot be had here. */
bool vdev_host_shmem_given(struct vdev_host *host, int64_t serial, enum vdev_shmem_status status,
                           uint32_t client, uint64_t bytes, int *fds);

/* The answer to a connect_wish: `*fd` (-1: nobody listens there) is taken by setting it to -1, if
 * it is wanted still. Serial 0: there will be no answer to the one that waits. Control thread. */
void vdev_host_connected(struct vdev_host *host, int64_t serial, int *fd);

/* Another helper of that device: `fd` is taken; -1: none is to be waited for, and one may come all
 * the same. And wish again for those that did not come. Control thread. */
void vdev_host_helper_given(struct vdev_host *host, const char *device, int fd);
void vdev_host_wish_helpers(struct vdev_host *host);

/* Who is attached to that region has changed: the device is told. */
void vdev_host_shmem_changed(struct vdev_host *host, const char *name);

/* Whether there is anybody at the other end of that vdev's network, from now on: it is told. There
 * is, unless this says otherwise. A name that no vdev has is nobody's. */
void vdev_host_set_link(struct vdev_host *host, const char *name, bool is_up);

/* Region number `index` of those that are shared now; false after the last. Name and descriptors
 * are borrowed until the loop goes on. */
struct vdev_host_shared {
    const char *name;
    uint32_t client;
    uint64_t bytes;
    const int *fds;
};
bool vdev_host_shared(const struct vdev_host *host, uint32_t index,
                      struct vdev_host_shared *shared);

/* One named value of one device at a time, for `qvmctl show` and SIGUSR1. */
typedef void (*vdev_host_state_fn)(void *context, const char *device, const char *name,
                                   const char *value);
void vdev_host_state(struct vdev_host *host, vdev_host_state_fn add, void *context);

#endif
