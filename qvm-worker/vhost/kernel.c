/* The kernel's own back ends. */
#include "qvm-worker/vhost/kernel.h"

#include <errno.h>
#include <linux/vhost.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/memory/memory.h"

static int order(int fd, unsigned long request, void *argument)
{
    return ioctl(fd, request, argument) == 0 ? 0 : -errno;
}

int vhost_kernel_own(int fd, uint64_t *features)
{
    int r = order(fd, VHOST_SET_OWNER, NULL);

    return r == 0 ? order(fd, VHOST_GET_FEATURES, features) : r;
}

int vhost_kernel_set_memory(int fd, const struct memory *memory)
{
    uint32_t count = 0;
    const struct memory_region *regions = memory_regions(memory, &count);
    auto_free struct vhost_memory *table =
        calloc(1, sizeof(*table) + VHOST_KERNEL_REGIONS_MAX * sizeof(table->regions[0]));

    if (table == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (regions[i].is_read_only) {
            continue;
        }
        if (table->nregions == VHOST_KERNEL_REGIONS_MAX) {
            return -E2BIG;
        }
        table->regions[table->nregions++] =
            (struct vhost_memory_region){.guest_phys_addr = regions[i].start,
                                         .memory_size = regions[i].size,
                                         .userspace_addr = (uintptr_t)regions[i].host};
    }
    return order(fd, VHOST_SET_MEM_TABLE, table);
}

static int set_file(int fd, unsigned long request, uint32_t index, int file)
{
    struct vhost_vring_file about = {.index = index, .fd = file};

    return order(fd, request, &about);
}

static int set_ring(int fd, uint32_t index, const struct vhost_kernel_ring *ring)
{
    struct vhost_vring_state size = {.index = index, .num = ring->size};
    struct vhost_vring_state base = {.index = index, .num = ring->base};
    struct vhost_vring_addr place = {.index = index,
                                     .desc_user_addr = (uintptr_t)ring->descriptors,
                                     .avail_user_addr = (uintptr_t)ring->driver,
                                     .used_user_addr = (uintptr_t)ring->device};
    int r = order(fd, VHOST_SET_VRING_NUM, &size);

    r = r == 0 ? order(fd, VHOST_SET_VRING_BASE, &base) : r;
    r = r == 0 ? order(fd, VHOST_SET_VRING_ADDR, &place) : r;
    r = r == 0 ? set_file(fd, VHOST_SET_VRING_ERR, index, ring->error_fd) : r;
    r = r == 0 ? set_file(fd, VHOST_SET_VRING_CALL, index, ring->call_fd) : r;
    return r == 0 ? set_file(fd, VHOST_SET_VRING_KICK, index, ring->kick_fd) : r;
}

int vhost_kernel_set_cid(int fd, uint64_t cid)
{
    return order(fd, VHOST_VSOCK_SET_GUEST_CID, &cid);
}

/* A vsock runs as a whole, a card ring by ring. */
static int set_running(int fd, bool is_running)
{
    int running = is_running;

    return order(fd, VHOST_VSOCK_SET_RUNNING, &running);
}

static int set_backend(int fd, uint32_t ring, int tap_fd)
{
    return set_file(fd, VHOST_NET_SET_BACKEND, ring, tap_fd);
}

int vhost_kernel_start(int fd, uint64_t features, const struct vhost_kernel_ring *rings, int tap_fd)
{
    int r = order(fd, VHOST_SET_FEATURES, &features);

    for (uint32_t i = 0; r == 0 && i < VHOST_KERNEL_RINGS; i++) {
        r = set_ring(fd, i, &rings[i]);
    }
    if (tap_fd == VHOST_KERNEL_NO_TAP) {
        return r == 0 ? set_running(fd, true) : r;
    }
    for (uint32_t i = 0; r == 0 && i < VHOST_KERNEL_RINGS; i++) {
        r = set_backend(fd, i, tap_fd);
    }
    for (uint32_t i = 0; r != 0 && i < VHOST_KERNEL_RINGS; i++) {
        (void)set_backend(fd, i, -1); /* it may have none */
    }
    return r;
}

int vhost_kernel_stop(int fd, struct vhost_kernel_ring *rings, int tap_fd)
{
    bool is_vsock = tap_fd == VHOST_KERNEL_NO_TAP;
    int r = is_vsock ? set_running(fd, false) : 0;

    for (uint32_t i = 0; i < VHOST_KERNEL_RINGS; i++) {
        struct vhost_vring_state base = {.index = i};
        int one = is_vsock ? 0 : set_backend(fd, i, -1);

        one = one == 0 ? order(fd, VHOST_GET_VRING_BASE, &base) : one;
        if (one == 0) {
            rings[i].base = (uint16_t)base.num;
        }
        /* Its doorbell is heard here again: by nobody there. */
        (void)set_file(fd, VHOST_SET_VRING_KICK, i, -1);
        r = r == 0 ? one : r;
    }
    return r;
}
