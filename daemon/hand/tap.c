/* In the hand: taps of the host are made. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/tap.h"
#include "proto/base/vhost_node.h"

#define BIT(capability)  (UINT32_C(1) << (capability))
#define LOOK_AGAIN       (20 * 1000 * 1000) /* ns, at a tap that is in use */
#define LOOK_AGAIN_TIMES 100

/* Of all that root may, this is enough. */
static int keep_one_right(struct err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    int r;

    if (syscall(SYS_capget, &header, data) != 0 || (data[0].permitted & BIT(CAP_NET_ADMIN)) == 0) {
        return err_set(err, -EPERM,
                       "qvmd lacks the right CAP_NET_ADMIN; under systemd a drop-in for its unit "
                       "gives it that, and the host's network (qvmd(8))");
    }
    r = hand_bound(err);
    if (r != 0) {
        return r;
    }
    data[0] = (struct __user_cap_data_struct){.permitted = BIT(CAP_NET_ADMIN),
                                              .effective = BIT(CAP_NET_ADMIN)};
    data[1] = (struct __user_cap_data_struct){.permitted = 0};
    return syscall(SYS_capset, &header, data) == 0
               ? 0
               : err_sys(err, -errno, "cannot drop the privileges of a hand");
}

/* Who had it until a moment ago may be not quite gone. */
static int open_soon(const char *words, size_t queues, int *fds, struct err *err)
{
    const struct timespec pause = {.tv_nsec = LOOK_AGAIN};
    int r = tap_open(words, queues, fds, err);

    for (unsigned i = 0; r == -EBUSY && i < LOOK_AGAIN_TIMES; i++) {
        (void)nanosleep(&pause, NULL);
        r = tap_open(words, queues, fds, err);
    }
    return r;
}

/* One tap with all that belongs to it, from `kept` on. `*places` is how many descriptors that may
 * be; of these, from `*missing` on there are none. */
static int open_one(const struct hand_file *file, int *kept, size_t *places, size_t *missing,
                    struct err *err)
{
    size_t queues = file->queues;
    int r = open_soon(file->path, queues, kept, err);

    *places = file->vhost != HAND_VHOST_OFF ? 2 * queues : queues;
    *missing = *places;
    if (r != 0 || file->vhost == HAND_VHOST_OFF) {
        return r;
    }
    r = vhost_net_open(queues, kept + queues, err);
    if (r != 0 && file->vhost == HAND_VHOST_AUTO) {
        for (size_t i = queues; i < *places; i++) {
            kept[i] = -1;
        }
        *missing = queues;
        *err = (struct err){0};
        return 0;
    }
    return r;
}

/* The last close of a tap waits until the kernel has taken the device apart, so it stays here. */
int hand_open_all_taps(const struct hand_order *order, int *kept, struct hand_packet *end)
{
    int r = geteuid() == 0 ? keep_one_right(&end->err) : 0;
    size_t tap = 0, first = 0, places = 0, missing = 0;

    r = r == 0 ? hand_confine_taps(&end->err) : r;
    for (size_t i = 0; r == 0 && i < order->count; i++) {
        struct hand_packet packet = {.is_kept = true};

        if (order->files[i].queues > 0) {
            end->bad = tap++;
            first = i;
            r = open_one(&order->files[i], &kept[i], &places, &missing, &end->err);
        }
        packet.size = i - first < missing ? 0 : HAND_NO_VHOST;
        if (r == 0) {
            r = hand_tell(&packet, -1);
            r = r == 0 ? 0 : err_sys(&end->err, r, "a hand cannot tell what it opened");
        }
    }
    return r;
}
