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

#include "proto/conf/words.h"
#include "proto/words.h"
#include "qvm-worker/machine.h"

struct err;
struct vdev_host;
struct vdev_host_need;

#define PLAN_NEEDS_MAX 256 /* things asked of the host */

enum plan_on_reboot { PLAN_ON_REBOOT_RESET, PLAN_ON_REBOOT_EXIT };
enum plan_on_crash { PLAN_ON_CRASH_EXIT, PLAN_ON_CRASH_RESET };

/* What `set VAR VALUE` changes. */
struct plan_settings {
    bool is_populated;  /* populate */
    unsigned on_reboot; /* enum plan_on_reboot */
    unsigned on_crash;  /* enum plan_on_crash */
};

/* Level sets of proto/base/log.h, one a destination. */
struct plan_log {
    bool is_given; /* otherwise the default goes to stderr */
    unsigned to_stdout, to_stderr;
};

/* One thing asked of the host. */
struct plan_need {
    enum resource_kind kind;
    const char *id;  /* of files and streams the absolute path */
    uint64_t amount; /* memory: bytes; cpu: vCPUs */
    bool is_readable, is_writable;
    const char *where;                   /* FILE:LINE */
    uint32_t load;                       /* which of `loads` it is for, or UINT32_MAX */
    const struct vdev_host_need *device; /* which need of a vdev it is for, or NULL */
};

struct plan {
    const char *name;  /* `system` */
    const char *where; /* its FILE:LINE */
    uint32_t cpu_count;
    const char *cpu_where;
    struct memory_range ram[MEMORY_RANGES_MAX];
    uint32_t ram_count;
    struct machine_load loads[MACHINE_LOADS_MAX]; /* absolute paths; no descriptors yet (-1) */
    uint32_t load_count;
    const char *cmdline, *cmdline_where;
    struct plan_settings settings;
    struct plan_log log;
    bool is_dryrun;
    bool wants_settings; /* `set ?`: print plan_list_settings, and do nothing else */
    uint32_t vdev_count;

    struct plan_need needs[PLAN_NEEDS_MAX]; /* in the order: memory, cpu, kvm, files, vdevs */
    uint32_t need_count;

    /* private */
    struct conf_words words;
    const struct conf_part *parts;
    size_t part_count;
    struct plan_text *texts;
    struct vdev_host *vdevs;
};

/* Read `parts` (borrowed, as all in them, until plan_fini). `env` as for conf_words_read. vdevs go
 * to `vdevs`, which is borrowed, too. -ENOEXEC: the configuration is wrong; -ENOMEM. After any
 * failure, and at the end, plan_fini. */
int plan_read(struct plan *plan, const struct conf_part *parts, size_t part_count,
              const char *const *env, struct vdev_host *vdevs, struct err *err);
void plan_fini(struct plan *plan);

/* The plan as people read it: the VM, its vdevs, what it asks of the host. */
void plan_print(const struct plan *plan, FILE *out);

/* The variables of `set`, with type, default and meaning. */
void plan_list_settings(FILE *out);

#endif
