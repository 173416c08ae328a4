/* The functions of the host that one VM has. */
#include "qvm-worker/vfio/passed.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/loc.h"
#include "qvm-worker/vfio/function.h"
#include "qvm-worker/vfio/kernel.h"

struct vfio_passed {
    struct vfio_passed_config config;
    int container_fd;
    uint32_t count, slot_count, vector_count;
    struct {
        const char *name, *where;
        int group_fd;
        int request_fd, error_fd; /* the host writes to them */
        bool is_wanted;           /* back */
        bool has_failed;          /* and that was told: a guest can make it fail without end */
        struct vfio_kernel *kernel;
        struct vfio_function *function;
    } functions[VFIO_PASSED_MAX];
};

int vfio_passed_create(const struct vfio_passed_config *config, struct vfio_passed **passed,
                       struct err *err)
{
    struct vfio_passed *new = calloc(1, sizeof(*new));

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->config = *config;
    new->container_fd = -1;
    *passed = new;
    return 0;
}

static int make_event(struct vfio_passed *passed, int *fd, struct err *err)
{
    *fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return *fd >= 0 ? passed->config.watch(passed->config.context, *fd, err)
                    : err_sys(err, -errno, "no event descriptor is left");
}

static int hear(struct vfio_passed *passed, uint32_t i, struct err *err)
{
    int r = make_event(passed, &passed->functions[i].request_fd, err);

    r = r == 0 ? make_event(passed, &passed->functions[i].error_fd, err) : r;
    if (r == 0) {
        vfio_kernel_hear(passed->functions[i].kernel, passed->functions[i].request_fd,
                         passed->functions[i].error_fd);
    }
    return r;
}

static uint32_t vectors_most(const struct vfio_passed *passed, uint32_t i)
{
    uint32_t later = (VFIO_PASSED_MAX - 1 - i) * VFIO_PASSED_VECTORS_EACH;

    return VFIO_PASSED_VECTORS - passed->vector_count - later;
}

static int add(struct vfio_passed *passed, uint32_t i, const struct loc_pci *loc, int device_fd,
               struct err *err)
{
    struct vfio_function_config config = {.pci = passed->config.pci,
                                          .loc = loc->has_device ? loc : NULL,
                                          .name = passed->functions[i].name,
                                          .where = passed->functions[i].where,
                                          .first_slot = passed->slot_count,
                                          .vectors_most = vectors_most(passed, i),
                                          .slot = passed->config.slot,
                                          .context = passed->config.context};
    int r = vfio_kernel_create(device_fd, passed->functions[i].group_fd,
                               &passed->functions[i].kernel, &config.device, err);

    r = r == 0 ? hear(passed, i, err) : r;
    if (r == 0) {
        r = passed->config.group(passed->config.context, passed->functions[i].group_fd, err);
    }
    if (r == 0) {
        r = vfio_function_create(&config, &passed->functions[i].function, err);
    }
    if (r == 0) {
        passed->slot_count += vfio_function_slots(passed->functions[i].function);
        passed->vector_count += vfio_function_vectors(passed->functions[i].function);
    }
    return r;
}

int vfio_passed_add(struct vfio_passed *passed, const char *name, const char *where,
                    const struct loc_pci *loc, const int fds[3], struct err *err)
{
    auto_close int container_fd = fds[0], group_fd = fds[1], device_fd = fds[2];
    uint32_t i = passed->count;
    int r;

    if (i == VFIO_PASSED_MAX) {
        return err_set(err, -ENOSPC, "%s: more than %u functions of the host", where,
                       VFIO_PASSED_MAX);
    }
    if (passed->container_fd < 0) {
        passed->container_fd = take_fd(&container_fd);
    }
    passed->count++;
    passed->functions[i].name = name;
    passed->functions[i].where = where;
    passed->functions[i].request_fd = passed->functions[i].error_fd = -1;
    passed->functions[i].group_fd = take_fd(&group_fd);
    r = add(passed, i, loc, take_fd(&device_fd), err);
    if (r != 0) {
        (void)err_prefix(err, "%s: %s: ", where, name);
    }
    return r;
}

int vfio_passed_map(struct vfio_passed *passed, struct err *err)
{
    int r =
        passed->count == 0 ? 0 : vfio_kernel_map(passed->container_fd, passed->config.memory, err);

    if (r != 0) {
        (void)err_prefix(err, "%s: ", passed->functions[0].where);
    }
    cleanup_close(&passed->container_fd); /* the groups hold it, and nobody maps any more */
    return r;
}

void vfio_passed_reset(struct vfio_passed *passed)
{
    for (uint32_t i = 0; i < passed->count; i++) {
        struct err err = {0};

        passed->functions[i].has_failed = false;
        if (vfio_function_reset(passed->functions[i].function, &err) != 0) {
            log_warn("pass: not reset device=\"%s\" why=\"%s\"", passed->functions[i].name,
                     err.msg);
        }
    }
}

static bool take(int fd)
{
    uint64_t count;

    return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

bool vfio_passed_look(struct vfio_passed *passed)
{
    bool is_any_wanted = false;

    for (uint32_t i = 0; i < passed->count; i++) {
        if (take(passed->functions[i].error_fd) && !passed->functions[i].has_failed) {
            log_error("pass: failed device=\"%s\"", passed->functions[i].name);
            passed->functions[i].has_failed = true;
        }
        if (take(passed->functions[i].request_fd) && passed->functions[i].kernel != NULL) {
            passed->functions[i].is_wanted = is_any_wanted = true;
        }
    }
    return is_any_wanted;
}

void vfio_passed_give_back(struct vfio_passed *passed)
{
    for (uint32_t i = 0; i < passed->count; i++) {
        if (passed->functions[i].is_wanted) {
            log_warn("pass: given back, since the host wants it device=\"%s\"",
                     passed->functions[i].name);
            vfio_function_forget(passed->functions[i].function);
            vfio_kernel_destroy(take_ptr(passed->functions[i].kernel));
            passed->functions[i].is_wanted = false;
        }
    }
}

void vfio_passed_destroy(struct vfio_passed *passed)
{
    if (passed == NULL) {
        return;
    }
    for (uint32_t i = 0; i < passed->count; i++) {
        vfio_function_destroy(passed->functions[i].function);
        vfio_kernel_destroy(passed->functions[i].kernel);
    }
    for (uint32_t i = 0; i < passed->count; i++) {
        cleanup_close(&passed->functions[i].group_fd); /* after all devices in it */
        cleanup_close(&passed->functions[i].request_fd);
        cleanup_close(&passed->functions[i].error_fd);
    }
    cleanup_close(&passed->container_fd);
    free(passed);
}
