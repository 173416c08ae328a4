/* A helper that follows another one. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/image/helper_private.h"

/* It serves the same disk, and works our ring off from its beginning. */
static int meet(struct helper *helper, struct vhost *vhost, int fd, struct err *err)
{
    struct helper_shared *shared = helper->shared;
    struct vdev_image facts = {0};
    int r = vhost_init(vhost, fd, err);

    r = r == 0 ? helper_read_facts(vhost, &facts, err) : r;
    if (r == 0 && facts.size != helper->image->facts.size) {
        r = err_set(err, -EINVAL, "the disk has another size than before");
    }
    if (r == 0) { /* nobody else looks there while it is lost */
        memset(shared->descriptors, 0, sizeof(shared->descriptors));
        memset(&shared->driver, 0, sizeof(shared->driver));
        memset(&shared->device, 0, sizeof(shared->device));
        r = helper_take_on(helper, vhost, err);
    }
    if (r == 0 && helper_watch(helper, vhost->fd, EPOLLIN | EPOLLRDHUP | EPOLLET) != 0) {
        r = err_sys(err, -errno, "no descriptor for an image");
    }
    if (r != 0) {
        vhost_fini(vhost);
    }
    return r;
}

/* Nobody knows what the disk has of what was acknowledged: a flush says so. The lock is held. */
static void begin_log(struct helper *helper)
{
    if (helper->image->facts.is_read_only || helper->log.halves[1] != NULL) {
        return;
    }
    helper->has_failed = true;
    (void)helper_log_init(&helper->log); /* no memory: the next one cannot be followed */
}

/* The image's lock is held. */
static void go_on_with(struct helper *helper, const struct vhost *vhost)
{
    begin_log(helper);
    helper->is_over = false;
    vhost_fini(&helper->vhost);
    helper->vhost = *vhost;
    helper->driver_index = helper->device_index = 0;
    helper->is_lost = helper->image->is_parked = false;
    helper->is_replaying = helper_log_rewind(&helper->log);
    helper_start_waiting(helper);
    helper->image->ops->submit(helper->image);
    helper_wake(helper); /* it may have ended meanwhile */
}

int image_follow(struct image *image, int fd, struct err *err)
{
    struct helper *helper = image->ops == &image_helper_ops ? image->engine : NULL;
    struct vhost vhost = {.fd = -1};
    bool is_awaited;
    int r = 0;

    (void)pthread_mutex_lock(&image->lock);
    is_awaited = helper != NULL && helper->is_lost && (fd >= 0 || !helper->is_over);
    if (is_awaited && fd < 0) {
        helper_fail_all(helper);
        helper_tell_ended(helper);
    }
    (void)pthread_mutex_unlock(&image->lock);
    if (!is_awaited || fd < 0) {
        cleanup_close(&fd);
        return 0;
    }
    r = meet(helper, &vhost, fd, err);
    if (r == 0) {
        (void)pthread_mutex_lock(&image->lock);
        go_on_with(helper, &vhost);
        (void)pthread_mutex_unlock(&image->lock);
    }
    return r;
}

bool image_is_over(struct image *image)
{
    struct helper *helper = image->ops == &image_helper_ops ? image->engine : NULL;
    bool is_over;

    (void)pthread_mutex_lock(&image->lock);
    is_over = helper != NULL && helper->is_over;
    (void)pthread_mutex_unlock(&image->lock);
    return is_over;
}

void image_hold(struct image *image, bool is_held)
{
    struct helper *helper = image->ops == &image_helper_ops ? image->engine : NULL;

    if (helper == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&image->lock);
    helper->is_held = is_held;
    helper_start_waiting(helper);
    image->ops->submit(image);
    (void)pthread_mutex_unlock(&image->lock);
}

bool image_fail_parked(struct image *image)
{
    struct helper *helper = image->engine;
    bool is_any;

    (void)pthread_mutex_lock(&image->lock);
    is_any = image->flying > 0;
    while (image->is_parked && helper->waiting.count > 0) {
        uint16_t index = image_list_pop(&helper->waiting);

        if (image_stepped(image, index, -EIO)) {
            image_list_push(&helper->waiting, index);
        }
    }
    (void)pthread_mutex_unlock(&image->lock);
    return is_any;
}
