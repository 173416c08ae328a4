/* The door to one virtual machine: memory, vCPUs, buses, images, power.
 *
 * Order: machine_create; devices come (bus_add on machine_bus, machine_add_device); machine_start;
 * then machine_dispatch whenever machine_event_fd is readable, machine_reset or machine_stop as the
 * control thread decides; machine_destroy.
 *
 * Threads: everything here is for the control thread, except machine_intr and machine_request,
 * which any thread may call, also under a device's lock. The machine opens nothing: descriptors
 * are granted, borrowed, and stay open until machine_destroy; so does all that the spec points to.
 * A guest's deed never ends the process and never waits for the control thread: the vCPU that did
 * it parks, the others run on until the control thread decides. */
#ifndef QVM_WORKER_MACHINE_H
#define QVM_WORKER_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/memory.h"

struct bus;
struct err;
struct machine;

#define MACHINE_CPUS_MAX    255u /* and not more than this KVM can */
#define MACHINE_LOADS_MAX   64u
#define MACHINE_DEVICES_MAX 256u
#define MACHINE_PORTS_MAX   4u /* port ranges of one device that ACPI tells */
#define MACHINE_NO_GSI      UINT32_MAX

enum machine_load_kind {
    MACHINE_LOAD_DETECT, /* no KIND: the first is the bootimage, whatever it is; later ones data */
    MACHINE_LOAD_GUEST,  /* the bootimage: Linux bzImage, ELF64, or flat */
    MACHINE_LOAD_INITRD,
    MACHINE_LOAD_DATA, /* needs an address */
    MACHINE_LOAD_ACPI, /* one more table */
};

struct machine_load {
    enum machine_load_kind kind;
    bool has_address;
    uint64_t address;  /* guest-physical */
    int fd;            /* readable, seekable; re-read at each reset */
    const char *path;  /* for words alone */
    const char *where; /* FILE:LINE */
};

/* What a guest, or a device on its behalf, did. */
enum machine_event_kind {
    MACHINE_EVENT_POWEROFF,     /* switched itself off */
    MACHINE_EVENT_RESET,        /* asked for a reset: its port, the keyboard controller, INIT */
    MACHINE_EVENT_TRIPLE_FAULT, /* a PC would reset; here it counts as a crash */
    MACHINE_EVENT_UNSUPPORTED,  /* KVM cannot go on: emulation failure, internal error */
    MACHINE_EVENT_KVM_FAILED,   /* KVM_RUN failed: the host's fault */
    MACHINE_EVENT_EXIT,         /* a vdev wants the process to end with exit status `value` */
};
#define MACHINE_EVENT_COUNT 6

#define MACHINE_TEXT_SIZE 768

struct machine_event {
    enum machine_event_kind kind;
    uint32_t vcpu;                /* who did it; UINT32_MAX: no vCPU */
    uint32_t value;               /* MACHINE_EVENT_EXIT: the status */
    char text[MACHINE_TEXT_SIZE]; /* one line for people: cause, registers */
};

typedef void (*machine_event_fn)(void *context, const struct machine_event *event);
typedef void (*machine_progress_fn)(void *context, uint64_t done, uint64_t all);

struct machine_spec {
    const char *name;
    const char *where; /* FILE:LINE of `system`: for errors that belong to no other line */
    uint32_t cpu_count;
    const struct memory_range *ram;
    uint32_t ram_count;
    const struct machine_load *loads;
    uint32_t load_count;
    const char *cmdline; /* NULL: none */
    const char *cmdline_where;
    int kvm_fd;
    bool is_populated; /* `set populate on`: every page of RAM is allocated in machine_create */
    machine_progress_fn on_progress; /* during that; may be NULL */
    machine_event_fn on_event;       /* called by machine_dispatch alone */
    void *context;                   /* of both */
};

/* A device, for what concerns the machine as a whole. Its regions are on the bus already. */
struct machine_device {
    const char *name;
    void *context;
    void (*reset)(void *context); /* all vCPUs parked; lines low afterwards. NULL: nothing to do */
    const char *acpi_hid;         /* "PNP0501"; NULL: the guest is not told */
    struct {
        uint16_t start, size;
    } ports[MACHINE_PORTS_MAX];
    uint32_t port_count;
    uint32_t gsi; /* MACHINE_NO_GSI: none */
};

/* Memory, VM, vCPUs (none runs), the machine's own ports. The calling thread becomes the control
 * thread: the signal that kicks vCPUs is blocked in it. Words in `err` begin with FILE:LINE where a
 * line of the configuration is to blame. */
int machine_create(const struct machine_spec *spec, struct machine **machine, struct err *err);

/* Stops first when needed. NULL is fine. */
void machine_destroy(struct machine *machine);

struct bus *machine_bus(struct machine *machine);
const struct memory *machine_memory(const struct machine *machine);

/* Copies `device` (its strings are borrowed). Before machine_start. */
int machine_add_device(struct machine *machine, const struct machine_device *device,
                       struct err *err);

/* Set an interrupt line. Any thread. */
void machine_intr(struct machine *machine, uint32_t gsi, bool is_high);

/* A device's request for the whole machine: becomes an event. Any thread; never blocks; of events
 * of one kind that nobody took yet, the first counts. A vCPU that calls it parks afterwards. */
void machine_request(struct machine *machine, enum machine_event_kind kind, uint32_t value);

/* Readable when an event waits; watch it, never read it. */
int machine_event_fd(const struct machine *machine);

/* Hand all waiting events to on_event, which may call machine_reset, machine_stop (but not
 * machine_destroy). */
void machine_dispatch(struct machine *machine);

/* Load the images, make the vCPU threads, close the door (lockdown.h) on them and on the calling
 * thread, let them run. From here on this process opens nothing. */
int machine_start(struct machine *machine, struct err *err);

/* Reset inside the process, with the door closed: park the vCPUs, reset the devices, load the
 * images again from their descriptors, interrupt chips and vCPUs back to power-on, run. RAM keeps
 * what the loader does not write. -ESTALE: a file changed in place (`err` says which); the vCPUs
 * stay parked then, as after any failure. Events from before the reset are forgotten. */
int machine_reset(struct machine *machine, struct err *err);

/* Press the power button. */
void machine_press_power(struct machine *machine);

/* Park all vCPUs (returns when each is out of KVM_RUN); let them go on. Pausing twice is fine. */
void machine_pause(struct machine *machine);
void machine_resume(struct machine *machine);

/* Kick and join all vCPU threads. The machine cannot be started again. */
void machine_stop(struct machine *machine);

/* One named value of the machine's state at a time: vCPU registers, exits by reason. Running vCPUs
 * are parked for that moment. */
typedef void (*machine_state_fn)(void *context, const char *name, const char *value);
void machine_state(struct machine *machine, machine_state_fn add, void *context);

#endif
