/* The helper of an image, from its connection to its first request, and its end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/image/helper_private.h"
#include "qvm-worker/lockdown/apart.h"

#define SECTOR         512u
#define CONFIG_SIZE    24u /* of the disk's: with blk_size */
#define F_RO           (UINT64_C(1) << 5)
#define F_FLUSH        (UINT64_C(1) << 9)
#define F_DISCARD      (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)
#define F_VERSION_1    (UINT64_C(1) << 32)

void helper_close(struct image *image)
{
    struct helper *helper = image->engine;

    if (helper->has_thread) {
        (void)pthread_mutex_lock(&image->lock);
        helper->is_closing = true;
        (void)pthread_mutex_unlock(&image->lock);
        helper_wake(helper);
        (void)pthread_join(helper->thread, NULL);
    }
    vhost_fini(&helper->vhost);
    if (helper->shared != NULL) {
        (void)munmap(helper->shared, sizeof(*helper->shared));
    }
    cleanup_close(&helper->memory_fd);
    cleanup_close(&helper->kick_fd);
    cleanup_close(&helper->call_fd);
    cleanup_close(&helper->work_fd);
    cleanup_close(&helper->epoll_fd);
    helper_log_fini(&helper->log);
    (void)pthread_cond_destroy(&helper->ended);
    free(helper);
    image->engine = NULL;
}

static int make_memory(struct helper *helper, struct err *err)
{
    void *at = MAP_FAILED;

    helper->memory_fd = memfd_create("qvm-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (helper->memory_fd >= 0 &&
        ftruncate(helper->memory_fd, (off_t)sizeof(*helper->shared)) == 0 &&
        fcntl(helper->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        at = mmap(NULL, sizeof(*helper->shared), PROT_READ | PROT_WRITE, MAP_SHARED,
                  helper->memory_fd, 0);
    }
    if (at == MAP_FAILED) {
        return err_sys(err, -errno, "no memory for an image");
    }
    helper->shared = at;
    return 0;
}

int helper_watch(const struct helper *helper, int fd, uint32_t how)
{
    struct epoll_event event = {.events = how, .data = {.fd = fd}};

    return epoll_ctl(helper->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int make_events(struct helper *helper, struct err *err)
{
    int r = 0;

    helper->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    helper->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    helper->work_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    helper->image->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    helper->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (helper->kick_fd < 0 || helper->call_fd < 0 || helper->work_fd < 0 ||
        helper->image->event_fd < 0 || helper->epoll_fd < 0) {
        return err_sys(err, -errno, "no descriptor for an image");
    }
    r = helper_watch(helper, helper->call_fd, EPOLLIN);
    r = r == 0 ? helper_watch(helper, helper->work_fd, EPOLLIN) : r;
    /* once: after its end it would be ready for ever */
    r = r == 0 ? helper_watch(helper, helper->vhost.fd, EPOLLIN | EPOLLRDHUP | EPOLLET) : r;
    return r == 0 ? 0 : err_sys(err, r, "no descriptor for an image");
}

/* What the disk is, as the helper says. */
int helper_read_facts(struct vhost *vhost, struct vdev_image *facts, struct err *err)
{
    uint8_t config[CONFIG_SIZE];
    uint64_t sectors;
    uint32_t block;
    int r = vhost_read_config(vhost, config, sizeof(config));

    if (r != 0 || (vhost->features & F_VERSION_1) == 0) {
        return err_set(err, -EPROTO, "what its helper serves is no disk");
    }
    memcpy(&sectors, config, sizeof(sectors));
    memcpy(&block, config + 20, sizeof(block));
    if (sectors == 0 || sectors > INT64_MAX / SECTOR) {
        return err_set(err, -EINVAL, "its helper says that the disk has no size");
    }
    if (block != SECTOR) {
        return err_set(err, -ENOTSUP,
                       "its sectors have %u bytes, and those of a disk here have 512", block);
    }
    facts->size = sectors * SECTOR;
    facts->block = 4096;
    return 0;
}

int helper_take_on(struct helper *helper, struct vhost *vhost, struct err *err)
{
    struct helper_shared *shared = helper->shared;
    const struct vhost_region region = {HELPER_START, sizeof(*shared), 0};
    const struct vhost_queue queue = {.size = HELPER_QUEUE_SIZE,
                                      .descriptors = helper_address(helper, shared->descriptors),
                                      .driver = helper_address(helper, &shared->driver),
                                      .device = helper_address(helper, &shared->device),
                                      .kick_fd = helper->kick_fd,
                                      .call_fd = helper->call_fd};
    uint64_t features = F_VERSION_1 | F_FLUSH | F_DISCARD | F_WRITE_ZEROES | F_RO;
    int r = vhost_set_memory(vhost, &region, 1, helper->memory_fd);

    r = r == 0 ? vhost_set_features(vhost, vhost->features & features) : r;
    r = r == 0 ? vhost_start(vhost, &queue) : r;
    return r == 0 ? 0 : err_sys(err, r, "its helper does not take it on");
}

static int start_thread(struct helper *helper, struct err *err)
{
    int r = apart_create(&helper->thread, helper_thread_main, helper);

    if (r != 0) {
        return err_sys(err, -r, "no thread for an image");
    }
    helper->has_thread = true;
    (void)pthread_mutex_lock(&helper->image->lock);
    while (!helper->is_ready) {
        (void)pthread_cond_wait(&helper->ended, &helper->image->lock);
    }
    (void)pthread_mutex_unlock(&helper->image->lock);
    return helper->err.code == 0 ? 0 : err_set(err, helper->err.code, "%s", helper->err.msg);
}

int helper_open(struct image *image, const struct image_spec *spec, struct err *err)
{
    struct helper *helper = calloc(1, sizeof(*helper));
    int r;

    if (helper == NULL) {
        return err_set(err, -ENOMEM, "no memory for an image");
    }
    *helper = (struct helper){.image = image,
                              .vhost = {.fd = -1},
                              .memory_fd = -1,
                              .kick_fd = -1,
                              .call_fd = -1,
                              .work_fd = -1,
                              .epoll_fd = -1,
                              .on_thread = spec->on_thread,
                              .on_lost = spec->on_lost,
                              .context = spec->context};
    image->engine = helper;
    (void)pthread_cond_init(&helper->ended, NULL); /* cannot fail for a plain one */
    for (uint16_t at = HELPER_SLOTS; at-- > 0;) {
        helper->unused[helper->unused_count++] = at;
    }
    r = vhost_init(&helper->vhost, take_fd(&image->fd), err);
    r = r == 0 ? make_memory(helper, err) : r;
    r = r == 0 ? make_events(helper, err) : r;
    r = r == 0 ? helper_read_facts(&helper->vhost, &image->facts, err) : r;
    r = r == 0 ? helper_take_on(helper, &helper->vhost, err) : r;
    if (r == 0 && spec->on_lost != NULL && !spec->is_read_only) {
        r = helper_log_init(&helper->log);
        r = r == 0 ? 0 : err_sys(err, r, "no memory for an image");
    }
    r = r == 0 ? start_thread(helper, err) : r;
    if (r != 0) {
        helper_close(image);
    }
    return r;
}
