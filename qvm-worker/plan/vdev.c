/* `vdev NAME [options]`: gathers the words of the context and hands them to the vdev host. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/plan/private.h"

int plan_vdev_open(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan_reading *reading = scope->root;
    struct plan *plan = reading->plan;
    const struct conf_word *name = conf_argument(scope, option);
    const char *where = name != NULL ? plan_where(plan, name, scope->err) : NULL;

    if (where == NULL) {
        return -ENOEXEC;
    }
    if (plan->vdev_count == VDEV_HOST_DEVICES_MAX) {
        return conf_fail(scope->err, option, "more than %u vdevs", VDEV_HOST_DEVICES_MAX);
    }
    if (vdev_host_load(plan->vdevs, name->text, where, scope->err) != 0) {
        return -ENOEXEC;
    }
    reading->vdev = malloc(sizeof(*reading->vdev));
    if (reading->vdev == NULL) {
        return err_set(scope->err, -ENOMEM, "no memory left to read the configuration");
    }
    memset(reading->vdev, 0, offsetof(struct plan_vdev, options));
    plan->vdev_count++;
    reading->vdev->module = name->text;
    reading->vdev->where = where;
    scope->context = PLAN_IN_VDEV;
    return 0;
}

int plan_vdev_option(struct conf_scope *scope, const struct conf_word *word)
{
    struct plan_reading *reading = scope->root;
    struct plan_vdev *vdev = reading->vdev;
    struct vdev_host_option option = {.word = word->text};
    int arguments = vdev_host_option_arguments(reading->plan->vdevs, vdev->module, word->text);
    const char **slots[] = {&option.argument, &option.second};

    if (arguments < 0) {
        return -ENOENT;
    }
    if (vdev->option_count == VDEV_HOST_OPTIONS_MAX) {
        return conf_fail(scope->err, word, "more than %u options of one vdev",
                         VDEV_HOST_OPTIONS_MAX);
    }
    for (size_t i = 0; i < (size_t)arguments && i < ARRAY_LEN(slots); i++) {
        const struct conf_word *argument = conf_argument(scope, word);

        if (argument == NULL) {
            return -ENOEXEC;
        }
        *slots[i] = argument->text;
    }
    option.where = plan_where(reading->plan, word, scope->err);
    vdev->options[vdev->option_count++] = option;
    return option.where != NULL ? 0 : -ENOMEM;
}

void plan_vdev_offer(const struct conf_scope *scope, struct conf_nearest *nearest)
{
    const struct plan_reading *reading = scope->root;

    if (reading->vdev != NULL) {
        vdev_host_offer_options(reading->plan->vdevs, reading->vdev->module, nearest);
    }
}

int plan_vdev_close(struct plan_reading *reading, struct err *err)
{
    struct plan_vdev *vdev = reading->vdev;
    int r;

    if (vdev == NULL) {
        return 0;
    }
    r = vdev_host_add(reading->plan->vdevs, vdev->module, vdev->where, vdev->options,
                      vdev->option_count, err);
    free(vdev);
    reading->vdev = NULL;
    return r == 0 ? 0 : -ENOEXEC;
}

bool plan_has_line(const struct vdev_host_device *device, uint32_t line)
{
    for (uint32_t i = 0; i < device->intr_count; i++) {
        if (device->intrs[i] == line) {
            return true;
        }
    }
    return false;
}
