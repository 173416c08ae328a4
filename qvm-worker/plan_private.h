/* What the files of the plan share. */
#ifndef QVM_WORKER_PLAN_PRIVATE_H
#define QVM_WORKER_PLAN_PRIVATE_H

#include "proto/conf/option.h"
#include "qvm-worker/plan.h"
#include "qvm-worker/vdev_host.h"

/* Contexts, by bit number as in plan_context_names. */
enum plan_context {
    PLAN_IN_CPU = 1 << 0,
    PLAN_IN_VDEV = 1 << 1,
    PLAN_IN_PASS = 1 << 2,
    PLAN_IN_RESERVE = 1 << 3,
};

/* What the reading has gathered besides the plan. */
struct plan_reading {
    struct plan *plan;      /* first: rows without a context may set members of the plan */
    struct plan_vdev *vdev; /* the open context, or NULL */
};

/* A `vdev` context that is being read: handed to the vdev host when it ends. */
struct plan_vdev {
    const char *module, *where;
    struct vdev_host_option options[VDEV_HOST_OPTIONS_MAX];
    size_t option_count;
};

/* Text that lives as long as the plan; NULL with `err` set when memory is out. */
const char *plan_keep(struct plan *plan, struct err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "FILE:LINE" of `word`, kept. */
const char *plan_where(struct plan *plan, const struct conf_word *word, struct err *err);

/* `path` as an absolute one, relative to the folder of the file that `word` stands in; kept. */
const char *plan_path(struct plan *plan, const struct conf_word *word, const char *path,
                      struct err *err);

/* plan_vdev.c */
int plan_vdev_open(struct conf_scope *scope, const struct conf_word *option);
int plan_vdev_option(struct conf_scope *scope, const struct conf_word *word);
int plan_vdev_close(struct plan_reading *reading, struct err *err);

/* plan_set.c */
int plan_set(struct conf_scope *scope, const struct conf_word *option);
void plan_set_fallbacks(struct plan_settings *settings);
void plan_print_settings(const struct plan_settings *settings, FILE *out);

/* plan_needs.c */
int plan_add_needs(struct plan *plan, struct err *err);

#endif
