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
 * what env->intr and env->request make. */
#ifndef QVM_WORKER_VDEV_HOST_H
#define QVM_WORKER_VDEV_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vdevs/include/qvm/vdev.h"

struct bus;
struct console;
struct err;
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

/* Something outside the process that a vdev needs opened. */
enum vdev_host_need_kind {
    VDEV_HOST_NEED_FILE,    /* open `path` */
    VDEV_HOST_NEED_COMMAND, /* run `path` by the shell, with a pipe to it or from it */
};

struct vdev_host_need {
    enum vdev_host_need_kind kind;
    bool can_read, can_write; /* COMMAND: exactly one of them; can_write is the command's input */
    const char *path;         /* a relative one is relative to the file that `where` names */
    const char *where;        /* FILE:LINE */
    const char *device;       /* the vdev's name */
};

/* The need after `previous` (NULL: the first), or NULL after the last. The console is none. The
 * needs live as long as the host. */
const struct vdev_host_need *vdev_host_next_need(const struct vdev_host *host,
                                                 const struct vdev_host_need *previous);

/* Give what `need` asks for; `fd` becomes the host's. */
void vdev_host_grant(struct vdev_host *host, const struct vdev_host_need *need, int fd);

/* Whether a vdev has the console: by `hostdev -`, or because nobody else has it. */
bool vdev_host_uses_console(const struct vdev_host *host);

/* What the vdevs get from the VM. */
struct vdev_host_env {
    struct uv_loop_s *loop;
    struct bus *bus;
    struct console *console; /* of `hostdev -`; NULL: none, what is said is thrown away */
    uint32_t cpu_count;
    uint64_t ram_below_4g, ram_above_4g; /* bytes */
    void *context;

    /* Set an interrupt line; called at changes alone, in their order. Any thread. */
    void (*intr)(void *context, uint32_t gsi, bool is_high);

    /* VDEV_REQUEST_...; any thread; must not wait for a device. */
    void (*request)(void *context, enum vdev_request request, uint32_t value);
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
    const char *acpi_hid; /* NULL: none */
    const struct vdev_region *regions;
    uint32_t region_count;
    uint32_t intr_line;           /* GSI, or QVM_VDEV_NO_INTR */
    void *context;                /* for `reset` */
    void (*reset)(void *context); /* this device alone, back to power-on; its line low */
};

/* Device number `i` in the order of the configuration, from vdev_host_add on; false after the
 * last. */
bool vdev_host_device(const struct vdev_host *host, size_t i, struct vdev_host_device *device);

/* Reset all devices, last first (who was made later may lean on who was made before). No vCPU
 * runs. */
void vdev_host_reset(struct vdev_host *host);

/* One named value of one device at a time, for `qvmctl show` and SIGUSR1. */
typedef void (*vdev_host_state_fn)(void *context, const char *device, const char *name,
                                   const char *value);
void vdev_host_state(struct vdev_host *host, vdev_host_state_fn add, void *context);

#endif
