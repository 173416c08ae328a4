/* What a configuration asks for: the VM that is to be built, and what that needs of the host.
 *
 * Reads the words of .qvmconf (qvmconf(5)) in their order. Nothing outside the process is touched
 * but the modules of vdevs, which are loaded to read their own options; nothing is opened. All
 * errors begin with FILE:LINE, or with "command line:N". The plan owns its texts and must outlive
 * the machine that is made from it. */
#ifndef QVM_WORKER_PLAN_H
#define QVM_WORKER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/base/log.h"
#include "proto/conf/words.h"
#include "proto/words.h"
#include "qvm-worker/loc.h"
#include "qvm-worker/machine/machine.h"
#include "qvm-worker/tables/smbios.h"
#include "qvm-worker/vm/placement.h"

struct conf_regions;
struct err;
struct vdev_host;
struct vdev_host_need;

#define PLAN_NEEDS_MAX    256 /* things asked of the host */
#define PLAN_COMMANDS_MAX 16  /* of them, commands at the ends of vdevs */
#define PLAN_RESERVES_MAX 64u
#define PLAN_WARNINGS_MAX 64u
#define PLAN_PASSES_MAX   32u /* functions of the host */
#define PLAN_CABLES_MAX   8u  /* to other guests: as many as `hello` tells of */
#define PLAN_QUEUES_MAX   64u /* of taps, beside the first of each */
#define PLAN_VHOSTS_MAX   96u /* of taps: back ends of the kernel's for their queues */
#define PLAN_PORTS_MAX    16u /* ranges of ports of the host */
#define PLAN_MEMORIES_MAX 16u /* ranges of its memory that is no RAM */
#define PLAN_KVM_PATH     "/dev/kvm"
#define PLAN_PARTITION    "host" /* the one that there is when the host declares none */

enum plan_on_reboot { PLAN_ON_REBOOT_RESET, PLAN_ON_REBOOT_EXIT };
enum plan_on_crash { PLAN_ON_CRASH_EXIT, PLAN_ON_CRASH_RESET };
enum plan_summary { PLAN_SUMMARY_TEXT, PLAN_SUMMARY_JSON };

/* What `set VAR VALUE` changes. */
enum plan_acpi { PLAN_ACPI_AUTO, PLAN_ACPI_REDUCED, PLAN_ACPI_FULL };

enum plan_hypervisor { PLAN_HYPERVISOR_KVM, PLAN_HYPERVISOR_QNX };

struct plan_settings {
    bool is_populated;               /* populate */
    unsigned on_reboot;              /* enum plan_on_reboot */
    unsigned on_crash;               /* enum plan_on_crash */
    unsigned summary;                /* enum plan_summary */
    unsigned acpi;                   /* enum plan_acpi */
    uint64_t cores, threads;         /* 0: as in struct topology */
    bool exits_on_halt;              /* exit-on-halt */
    unsigned hypervisor;             /* enum plan_hypervisor */
    struct smbios_identity identity; /* uuid, manufacturer, product, serial */
};

/* Level sets of proto/base/log.h, one a destination. */
enum plan_log_to {
    PLAN_LOG_STDOUT,
    PLAN_LOG_STDERR,
    PLAN_LOG_SYSLOG,  /* the host's system logger (`slog` is another word for it) */
    PLAN_LOG_JOURNAL, /* systemd's */
    PLAN_LOG_COUNT
};
struct plan_log {
    bool is_given; /* otherwise the default goes to stderr */
    unsigned to[PLAN_LOG_COUNT];
    const char *where[PLAN_LOG_COUNT]; /* FILE:LINE; NULL: nothing goes there */
};

/* What an access does that is not supported. */
enum plan_reaction { PLAN_ABORT, PLAN_FAIL, PLAN_IGNORE };
struct plan_unsupported {
    enum plan_reaction instruction, reference, msr; /* msr: `register` */
};

/* Where a core dump of the guest goes: one of both, or neither. */
struct plan_dump {
    const char *directory; /* absolute */
    const char *command;   /* for the shell; reads the dump from its input */
    const char *where;     /* FILE:LINE */
};

/* Nothing is put there that was not put there by name. */
struct plan_reserve {
    bool is_intr;
    uint32_t intr;  /* the line (GSI) */
    struct loc loc; /* otherwise; of IO and MEMORY with its size */
    const char *where;
};

/* A PCI function of the host that is the guest's alone. */
struct plan_pass {
    const char *id;       /* DDDD:BB:DD.F, or VVVV:DDDD/N: the N-th of that vendor and device */
    const char *name;     /* for words */
    const char *where;    /* FILE:LINE */
    struct loc_pci guest; /* where the guest finds it; without a device: anywhere */
};

/* Ports of the host that are the guest's alone, at the same numbers. */
struct plan_ports {
    uint16_t start;
    uint32_t size;
    const char *name;  /* for words */
    const char *where; /* FILE:LINE */
};

/* Memory of the host that is no RAM. Whole pages. */
struct plan_memory {
    uint64_t guest, host; /* physical addresses */
    uint64_t size;
    const char *name;  /* for words */
    const char *where; /* FILE:LINE */
};

/* Descriptors of all needs: that of need number N, or -1, is number N; of function number N of
 * `passes` the device is its need's, container and group are these; number N of `ports`; number N
 * of `memories`; of cable number N the other end; of taps the queues behind the first, and the
 * kernel's back ends for all of them. */
#define PLAN_FDS_MAX         (PLAN_FD_VHOST(PLAN_VHOSTS_MAX))
#define PLAN_FD_CONTAINER(n) (PLAN_NEEDS_MAX + 2 * (n))
#define PLAN_FD_GROUP(n)     (PLAN_NEEDS_MAX + 2 * (n) + 1)
#define PLAN_FD_PORTS(n)     (PLAN_NEEDS_MAX + 2 * PLAN_PASSES_MAX + (n))
#define PLAN_FD_MEMORY(n)    (PLAN_FD_PORTS(PLAN_PORTS_MAX) + (n))
#define PLAN_FD_FAR(n)       (PLAN_FD_MEMORY(PLAN_MEMORIES_MAX) + (n))
#define PLAN_FD_QUEUE(n)     (PLAN_FD_FAR(PLAN_CABLES_MAX) + (n))
#define PLAN_FD_VHOST(n)     (PLAN_FD_QUEUE(PLAN_QUEUES_MAX) + (n))

/* One thing asked of the host. */
struct plan_cpu;
struct plan_need {
    enum resource_kind kind;
    const char *id;             /* of files and streams the absolute path, or |COMMAND */
    uint64_t amount;            /* memory: bytes; cpu: vCPUs; a tap: queues, if it has several */
    uint32_t first;             /* cpu: number of the first */
    const struct plan_cpu *cpu; /* cpu: that one, and how all of them run; otherwise NULL */
    const char *cpus, *sched;   /* cpu: where, as a list, and how, as a word; NULL: as usual */
    bool is_readable, is_writable;
    const char *where;                   /* FILE:LINE */
    uint32_t load;                       /* which of `loads` it is for, or UINT32_MAX */
    const struct vdev_host_need *device; /* which need of a vdev it is for, or NULL */
    uint32_t pass;                       /* device: which of `passes` it is for */
    bool is_cable;                       /* network: to another guest */
    uint32_t cable;                      /* its number, if it is one */
    uint32_t queue;                      /* number of the second of its queues, if it has several */
    const char
        *vhost; /* a tap: `on` or `auto`: the kernel's back ends for its queues; NULL: none */
    uint32_t back_end; /* number of the first of them */
};

/* Names that the host gives to what it has. All is borrowed. */
struct plan_cluster {
    const char *name;
    cpu_set_t cpus;
};
struct plan_partition {
    const char *name;
    uint64_t page_size; /* of RAM; 0: as usual */
    bool is_populated;  /* all of RAM is there before the guest runs, whatever is set */
};
struct plan_host {
    const struct plan_cluster *clusters; /* beside _cpu-N */
    size_t cluster_count;
    const struct plan_partition *partitions; /* the default first; none: PLAN_PARTITION */
    size_t partition_count;
    bool places_cpus;                   /* it puts vCPUs where they are to run, when they do */
    const char *const *env;             /* as for conf_words_read */
    const struct conf_regions *regions; /* NULL: none */
};

struct plan_cpu {
    const char *where;                       /* FILE:LINE */
    const char *partition, *partition_where; /* NULL: it was not given */
    struct placement placement;
};

struct plan {
    const char *name;  /* `system` */
    const char *where; /* its FILE:LINE */
    struct plan_cpu cpus[MACHINE_CPUS_MAX];
    uint32_t cpu_count;
    const char *partition;                      /* that the VM is in */
    struct memory_range ram[MEMORY_RANGES_MAX]; /* `ram` and `rom`, in their order */
    uint32_t ram_count;
    struct machine_load loads[MACHINE_LOADS_MAX]; /* absolute paths; no descriptors yet (-1) */
    uint32_t load_count;
    const char *cmdline, *cmdline_where;
    struct plan_reserve reserves[PLAN_RESERVES_MAX];
    uint32_t reserve_count;
    struct plan_pass passes[PLAN_PASSES_MAX];
    uint32_t pass_count;
    struct plan_ports ports[PLAN_PORTS_MAX];
    uint32_t ports_count;
    struct plan_memory memories[PLAN_MEMORIES_MAX];
    uint32_t memory_count;
    struct plan_unsupported unsupported;
    struct plan_dump dump;
    struct plan_settings settings;
    const char *topology_where; /* FILE:LINE of the last `set cores` or `set threads` */
    const char *halt_where;     /* of the last `set exit-on-halt`; NULL: none */
    struct plan_log log;
    const char *warnings[PLAN_WARNINGS_MAX]; /* sentences with FILE:LINE; more are left out */
    uint32_t warning_count;
    bool is_dryrun;
    bool wants_settings; /* `set ?`: print plan_list_settings, and do nothing else */
    uint32_t vdev_count;

    struct plan_need needs[PLAN_NEEDS_MAX]; /* in the order: memory, cpu, kvm, files, vdevs,
                                             devices */
    uint32_t need_count;
    uint32_t command_count; /* of them, commands */
    uint32_t cable_count;   /* of them, cables to other guests */
    uint32_t queue_count;   /* of their taps, beside the first of each */
    uint32_t vhost_count;   /* of the kernel's back ends for those */

    /* private */
    struct conf_words words;
    const struct conf_part *parts;
    size_t part_count;
    const struct plan_host *host;
    struct plan_text *texts;
    struct vdev_host *vdevs;
};

/* `plan` is all zero: it is large, and clearing it would touch all its pages at each start.
 * Read `parts` and what `host` knows (both borrowed, with all in them, until plan_fini). vdevs go
 * to `vdevs`, which is borrowed, too. -ENOEXEC: the configuration is wrong; -ENOMEM. After any
 * failure, and at the end, plan_fini. */
int plan_read(struct plan *plan, const struct conf_part *parts, size_t part_count,
              const struct plan_host *host, struct vdev_host *vdevs, struct err *err);
void plan_fini(struct plan *plan);

/* The plan as people read it: the VM, its vdevs, what it asks of the host. */
void plan_print(const struct plan *plan, FILE *out);

/* The same for programs: members of a JSON object that the caller has opened. */
struct json_out;
void plan_json(const struct plan *plan, struct json_out *out);

/* "stdout", "syslog", ... */
const char *plan_log_name(enum plan_log_to to);

/* The variables of `set`, with type, default and meaning. */
void plan_list_settings(FILE *out);

/* Whether the VM has ACPI's fixed hardware: `set acpi`, or because a `rom` expects it. */
bool plan_has_full_acpi(const struct plan *plan);

/* What its partition says of its RAM: bytes of a page, and whether all of it is there before the
 * guest runs, which `set populate on` says as well. */
uint64_t plan_page_size(const struct plan *plan);
bool plan_is_populated(const struct plan *plan);

/* Tell the PCI buses (NULL: there are none) what `reserve` keeps free. */
struct pci;
void plan_avoid(const struct plan *plan, struct pci *pci);

/* Keep the places that `pass` names for what is passed. As pci_reserve, with FILE:LINE. */
int plan_reserve_passes(const struct plan *plan, struct pci *pci, struct err *err);

#endif
