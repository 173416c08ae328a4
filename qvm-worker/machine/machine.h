/* The door to one virtual machine: memory, vCPUs, buses, images, power.
 *
 * Order: machine_create; devices come (bus_add on machine_bus, machine_add_device); machine_start;
 * then machine_dispatch whenever machine_event_fd is readable, machine_reset or machine_stop as the
 * control thread decides; machine_destroy.
 *
 * Threads: everything here is for the control thread, except machine_intr, machine_message
 * and machine_request, which any thread may call, also under a device's lock. The machine opens
 * nothing: descriptors are granted, borrowed, and stay open until machine_destroy; so does all that
 * the spec points to. A guest's deed never ends the process and never waits for the control thread:
 * the vCPU that did it parks, the others run on until the control thread decides. */
#ifndef QVM_WORKER_MACHINE_H
#define QVM_WORKER_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qvm-worker/memory/memory.h"

struct bus;
struct counters;
struct err;
struct firmware_file;
struct machine;
struct pci;
struct placement;
struct power;
struct smbios_identity;
struct unsupported;
struct vm_ahead;

#define MACHINE_CPUS_MAX    512u /* and not more than this KVM can */
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
    int fd;            /* from machine_start on: readable, seekable; re-read at each reset */
    const char *path;  /* for words alone */
    const char *where; /* FILE:LINE */
};

/* What a guest, or a device on its behalf, did. */
enum machine_event_kind {
    MACHINE_EVENT_DUMP,         /* a device wants a dump, before what it wants next */
    MACHINE_EVENT_POWEROFF,     /* switched itself off */
    MACHINE_EVENT_RESET,        /* asked for a reset: its port, the keyboard controller, INIT */
    MACHINE_EVENT_TRIPLE_FAULT, /* a PC would reset; here it counts as a crash */
    MACHINE_EVENT_UNSUPPORTED,  /* KVM cannot go on: emulation failure, internal error */
    MACHINE_EVENT_KVM_FAILED,   /* KVM_RUN failed: the host's fault */
    MACHINE_EVENT_WATCHDOG,     /* nobody fed the guest's watchdog */
    MACHINE_EVENT_EXIT,         /* a vdev wants the process to end with exit status `value` */
    MACHINE_EVENT_RESTORE,      /* a vdev wants all vdevs to be saved and restored */
    MACHINE_EVENT_VDEV_FAILED,  /* a vdev cannot go on */
    MACHINE_EVENT_TROUBLE,      /* the host cannot do what a device asked it for */
    MACHINE_EVENT_BOARD,        /* the machine's own; on_event never hears of it */
};
#define MACHINE_EVENT_COUNT 12

#define MACHINE_TEXT_SIZE 768

struct machine_event {
    enum machine_event_kind kind;
    uint32_t vcpu;                /* who did it; UINT32_MAX: no vCPU */
    uint32_t value;               /* MACHINE_EVENT_EXIT: the status */
    char text[MACHINE_TEXT_SIZE]; /* one line for people: cause, registers */
};

typedef void (*machine_event_fn)(void *context, const struct machine_event *event);
typedef void (*machine_progress_fn)(void *context, uint64_t done, uint64_t all);

/* Where the interrupt controllers are: see struct vm_chips. Own ones are devices: machine_message,
 * machine_cpu_intr and machine_watch_vector are what they call; these call them, on any thread. */
struct machine_chips {
    bool are_own, has_timer, uses_line_0;
    uint32_t timer_pin;
    uint64_t ioapic_address; /* guest-physical */
    uint64_t hpet_address;   /* 0: there is none */
    uint32_t hpet_id;        /* the low half of its capabilities; both until machine_start */
    void (*line)(void *context, uint32_t gsi, bool is_high);
    int (*acknowledge)(void *context);
    void (*end_of_interrupt)(void *context, uint8_t vector);
    void *context;
};

struct machine_spec {
    struct machine_chips chips; /* ioapic_address 0: KVM's, at their usual places */
    const char *name;
    const char *where; /* FILE:LINE of `system`: for errors that belong to no other line */
    uint32_t cpu_count;
    uint32_t cores, threads;                   /* as in struct topology */
    bool shows_qnx;                            /* as in struct cpuid_topology */
    const struct smbios_identity *identity;    /* NULL: none is given */
    const struct placement *const *placements; /* one a vCPU; NULL: none has any */
    const struct memory_range *ram;
    uint32_t ram_count;
    uint64_t page_size; /* of RAM; 0: MEMORY_PAGE_SIZE. Huge ones are to be populated */
    const struct machine_load *loads;
    uint32_t load_count;
    bool has_pci;        /* PCI buses */
    bool has_passed;     /* functions of the host on them: threads may do what these need */
    bool is_shared;      /* memory is shared with other guests: likewise */
    bool shows_memory;   /* devices have memory of their own there: likewise */
    bool has_full_acpi;  /* fixed hardware, as firmware expects it; needs has_pci */
    const char *cmdline; /* NULL: none */
    const char *cmdline_where;
    int kvm_fd;                            /* of machine_create alone */
    struct vm_ahead *ahead;                /* what is made already, used until the vCPUs are made;
                                              NULL: nothing */
    const struct unsupported *unsupported; /* NULL: instruction abort, reference ignore, register
                                              fail */
    struct counters *counters; /* shared ones, borrowed; NULL: nobody outside counts with us */
    const char *halt_where; /* not NULL: vCPUs that halt keep their host CPU; FILE:LINE of that */
    bool is_populated;      /* `set populate on`: every page of RAM is allocated in machine_start */
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
    struct {
        uint32_t start, size;
    } places[MACHINE_PORTS_MAX]; /* addresses, below 4 GiB */
    uint32_t place_count;
    bool is_level; /* its interrupt; otherwise edge */
    uint32_t gsi;  /* MACHINE_NO_GSI: none */
};

/* Memory, VM, the machine's own ports; the vCPUs are on their way (none runs). The calling thread
 * becomes the control thread: the signal that kicks vCPUs is blocked in it. Words in `err` begin
 * with FILE:LINE where a line of the configuration is to blame. */
int machine_create(const struct machine_spec *spec, struct machine **machine, struct err *err);

/* Stops first when needed. NULL is fine. */
void machine_destroy(struct machine *machine);

struct bus *machine_bus(struct machine *machine);
const struct memory *machine_memory(const struct machine *machine);

/* A `rom` starts the guest: places of BARs are its business, tables it asks for. */
bool machine_has_firmware(const struct machine *machine);

/* What firmware may ask for: file number `index`, or NULL after the last. Any thread; they change
 * at power-on alone, while no vCPU runs. */
const struct firmware_file *machine_firmware_file(const struct machine *machine, uint32_t index);
struct pci *machine_pci(struct machine *machine); /* NULL: there is none */
struct power *machine_power(struct machine *machine);

/* Copies `device` (its strings are borrowed). Before machine_start. */
int machine_add_device(struct machine *machine, const struct machine_device *device,
                       struct err *err);

/* Set an interrupt line, as one of those that share it: it is high while any of them holds it. Who
 * raises it lowers it once. Any thread. */
void machine_intr(struct machine *machine, uint32_t gsi, bool is_high);

/* An interrupt message, as MSI's. Any thread. */
void machine_message(struct machine *machine, uint64_t address, uint32_t data);

/* As vm_device_slot, vm_shown_slot and vm_add_group (vm.h). */
int machine_device_slot(struct machine *machine, uint32_t slot, uint64_t address, void *host,
                        uint64_t size);
int machine_shown_slot(struct machine *machine, uint32_t slot, uint64_t address, void *host,
                       uint64_t size);
int machine_add_group(struct machine *machine, int group_fd, struct err *err);

/* As vm_doorbell (vm.h). */
int machine_doorbell(struct machine *machine, int fd, bool is_port, uint64_t address, uint32_t size,
                     const uint64_t *value, bool is_there);

/* Own controllers: the level of the 8259's output; whether ends of interrupts of a vector are told.
 * Any thread. */
void machine_cpu_intr(struct machine *machine, bool is_high);
void machine_watch_vector(struct machine *machine, uint8_t vector, bool is_watched);

/* The real-time clock interrupts: an event of ACPI's fixed hardware, too. Any thread. */
void machine_clock_alarm(struct machine *machine);

/* Messages that event descriptors send: as vm_route_add and the others. */
int machine_route_add(struct machine *machine);
void machine_route_set(struct machine *machine, uint32_t route, uint64_t address, uint32_t data);
void machine_routes_commit(struct machine *machine);
int machine_route_hear(struct machine *machine, uint32_t route, int fd, bool is_on);
int machine_line_hear(struct machine *machine, uint32_t gsi, int fd, int resample_fd, bool is_on);

/* A device's request for the whole machine: becomes an event. Any thread; never blocks; of events
 * of one kind that nobody took yet, the first counts. A vCPU that calls it parks afterwards. */
void machine_request(struct machine *machine, enum machine_event_kind kind, uint32_t value);

/* The same with a sentence of its own, which is copied. */
void machine_request_for(struct machine *machine, enum machine_event_kind kind, uint32_t value,
                         const char *why);

/* Readable when an event waits; watch it, never read it. */
int machine_event_fd(const struct machine *machine);

/* Have it be readable when `fd`, which the caller reads, is; before machine_start. */
int machine_watch(struct machine *machine, int fd, struct err *err);

/* Hand all waiting events to on_event, which may call machine_reset, machine_stop (but not
 * machine_destroy). */
void machine_dispatch(struct machine *machine);

/* Wait until all vCPUs are made, each by its thread. */
int machine_await(struct machine *machine, struct err *err);

/* Populate RAM if that is wanted; close the door (lockdown.h) on the calling thread, as the vCPUs'
 * threads do on theirs; load the images behind it, as a reset does; let the vCPUs run. From here on
 * this process opens nothing. */
int machine_start(struct machine *machine, struct err *err);

/* Reset inside the process, with the door closed: park the vCPUs, reset the devices, load the
 * images again from their descriptors, interrupt chips and vCPUs back to power-on, run unless they
 * are held. RAM keeps
 * what the loader does not write. -ESTALE: a file changed in place (`err` says which); the vCPUs
 * stay parked then, as after any failure. Events from before the reset are forgotten. */
int machine_reset(struct machine *machine, struct err *err);

/* Press the power button. */
void machine_press_power(struct machine *machine);

/* Park all vCPUs (returns when each is out of KVM_RUN); let them go on, unless they are held.
 * Pausing twice is fine. */
void machine_pause(struct machine *machine);
void machine_resume(struct machine *machine);

/* The same for an operator: held vCPUs stay parked over resets, until they are released, and the
 * guest's clock is told then that time was lost. */
void machine_hold(struct machine *machine);
void machine_release(struct machine *machine);
bool machine_is_held(const struct machine *machine);

/* Write a core dump (dump.h) to `fd`; running vCPUs are parked meanwhile. */
int machine_dump(struct machine *machine, int fd, struct err *err);

/* Kick and join all vCPU threads. The machine cannot be started again. */
void machine_stop(struct machine *machine);

/* Descriptors of KVM's statistics of the first vCPUs, in their order; borrowed. None without
 * shared counters. */
size_t machine_stats_fds(const struct machine *machine, int *fds, size_t most);

/* One named value of the machine's state at a time: vCPU registers, exits by reason. Running vCPUs
 * are parked for that moment. */
typedef void (*machine_state_fn)(void *context, const char *name, const char *value);
void machine_state(struct machine *machine, machine_state_fn add, void *context);

#endif
