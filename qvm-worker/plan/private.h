/* What the files of the plan share. */
#ifndef QVM_WORKER_PLAN_PRIVATE_H
#define QVM_WORKER_PLAN_PRIVATE_H

#include "proto/conf/option.h"
#include "qvm-worker/plan/plan.h"
#include "qvm-worker/vdev/host.h"

/* Contexts, by bit number as in plan_context_names. */
enum plan_context {
    PLAN_IN_CPU = 1 << 0,
    PLAN_IN_VDEV = 1 << 1,
    PLAN_IN_PASS = 1 << 2,
    PLAN_IN_RESERVE = 1 << 3,
};

/* What the reading has gathered besides the plan. */
struct plan_reading {
    struct plan *plan;               /* first: rows without a context may set members of the plan */
    struct plan_vdev *vdev;          /* the open context, or NULL */
    const struct conf_word *reserve; /* the open context */
};

static inline struct plan *plan_of(const struct conf_scope *scope)
{
    return ((struct plan_reading *)scope->root)->plan;
}

/* A `vdev` context that is being read: handed to the vdev host when it ends. */
struct plan_vdev {
    const char *module, *where;
    size_t option_count;
    struct vdev_host_option options[VDEV_HOST_OPTIONS_MAX];
};

/* Text that lives as long as the plan; NULL with `err` set when memory is out. */
const char *plan_keep(struct plan *plan, struct err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "FILE:LINE" of `word`, kept. */
const char *plan_where(struct plan *plan, const struct conf_word *word, struct err *err);

/* `path` as an absolute one, relative to the folder of the file that `word` stands in; kept. */
const char *plan_path(struct plan *plan, const struct conf_word *word, const char *path,
                      struct err *err);

/* A sentence that does not refuse anything; its place is put before it. */
int plan_warn(struct plan *plan, const struct conf_word *word, struct err *err, const char *format,
              ...) __attribute__((format(printf, 4, 5)));

/* cpu.c: the context, and the options in it */
int plan_cpu_open(struct conf_scope *scope, const struct conf_word *option);
int plan_cpu_sched(struct conf_scope *scope, const struct conf_word *option);
int plan_cpu_runmask(struct conf_scope *scope, const struct conf_word *option);
int plan_cpu_cluster(struct conf_scope *scope, const struct conf_word *option);
int plan_cpu_partition(struct conf_scope *scope, const struct conf_word *option);
const char *plan_policy_name(enum placement_policy policy);
bool plan_runs_alike(const struct plan_cpu *a, const struct plan_cpu *b);

/* memory.c */
int plan_ram(struct conf_scope *scope, const struct conf_word *option); /* and `rom` */
int plan_load(struct conf_scope *scope, const struct conf_word *option);
int plan_load_kind(struct conf_scope *scope, const struct conf_word *option); /* KIND load */
int plan_cmdline(struct conf_scope *scope, const struct conf_word *option);
const char *plan_load_name(enum machine_load_kind kind); /* "" without a KIND */

/* log.c */
int plan_logger(struct conf_scope *scope, const struct conf_word *option);

/* policy.c */
int plan_unsupported(struct conf_scope *scope, const struct conf_word *option);
int plan_dump_option(struct conf_scope *scope, const struct conf_word *option);
int plan_safety(struct conf_scope *scope, const struct conf_word *option);
int plan_reserve_open(struct conf_scope *scope, const struct conf_word *option);
int plan_reserve_loc(struct conf_scope *scope, const struct conf_word *option);
int plan_reserve_intr(struct conf_scope *scope, const struct conf_word *option);
const char *plan_reaction_name(enum plan_reaction reaction);

/* pass.c */
int plan_pass_open(struct conf_scope *scope, const struct conf_word *option);
int plan_pass_loc(struct conf_scope *scope, const struct conf_word *option);
int plan_pass_memory(struct conf_scope *scope, const struct conf_word *word);
int plan_pass_intr(struct conf_scope *scope, const struct conf_word *option);

/* vdev.c */
int plan_vdev_open(struct conf_scope *scope, const struct conf_word *option);
int plan_vdev_option(struct conf_scope *scope, const struct conf_word *word);
bool plan_has_line(const struct vdev_host_device *device, uint32_t line);
void plan_vdev_offer(const struct conf_scope *scope, struct conf_nearest *nearest);
int plan_vdev_close(struct plan_reading *reading, struct err *err);

/* set.c */
int plan_set(struct conf_scope *scope, const struct conf_word *option);
void plan_set_fallbacks(struct plan_settings *settings);
typedef void (*plan_setting_fn)(void *context, const char *name, const char *value);
void plan_each_setting(const struct plan_settings *settings, plan_setting_fn add, void *context);

/* firmware.c: the vdevs that firmware wants and the configuration does not name */
int plan_add_board(struct plan *plan, struct err *err);

/* needs.c */
int plan_add_needs(struct plan *plan, struct err *err);

#endif
