/* A tap of the host. */
#include "proto/base/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define TUN_DEVICE   "/dev/net/tun"
#define HEADER_SIZE  12   /* virtio 1.2, 5.1.6 */
#define ADDRESS_HIGH 0xfe /* first byte of a locally administered address, the highest */

_Static_assert(TAP_NAME_SIZE == IFNAMSIZ, "as the kernel has it");

bool tap_is_name(const char *text, size_t size)
{
    if (size == 0 || size >= IFNAMSIZ || (size == 1 && text[0] == '.') ||
        (size == 2 && memcmp(text, "..", 2) == 0)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] <= ' ' || text[i] == 0x7f || strchr("/:%,", text[i]) != NULL) {
            return false; /* the kernel's own rules, its patterns (%), and our comma */
        }
    }
    return true;
}

int tap_split(const char *words, char name[TAP_NAME_SIZE], char bridge[TAP_NAME_SIZE],
              struct err *err)
{
    const char *comma = strchr(words, ',');
    size_t size = comma != NULL ? (size_t)(comma - words) : strlen(words);

    if (!tap_is_name(words, size) ||
        (comma != NULL && !tap_is_name(comma + 1, strlen(comma + 1)))) {
        return err_set(err, -EINVAL, "tap '%s' is no NAME or NAME,BRIDGE", words);
    }
    memset(name, 0, IFNAMSIZ);
    memset(bridge, 0, IFNAMSIZ);
    (void)snprintf(name, IFNAMSIZ, "%.*s", (int)size, words);
    (void)snprintf(bridge, IFNAMSIZ, "%s", comma != NULL ? comma + 1 : "");
    return 0;
}

/* A socket to speak of network devices, and the bridge's number: before anything is made. */
static int find_bridge(int socket, const char *bridge, struct err *err)
{
    struct ifreq request = {.ifr_ifindex = 0};

    if (*bridge == '\0') {
        return 0;
    }
    memcpy(request.ifr_name, bridge, IFNAMSIZ);
    return ioctl(socket, SIOCGIFINDEX, &request) == 0
               ? 0
               : err_set(err, -ENOENT,
                         "there is no bridge '%s': 'ip link add %s type bridge' makes one, 'ip "
                         "link set %s up' switches it on",
                         bridge, bridge, bridge);
}

static int refuse_device(const char *name, int why, struct err *err)
{
    switch (why) {
    case EPERM:
        return err_set(err, -EPERM,
                       "no right to make or to have the network device '%s': as root 'ip "
                       "tuntap add %s mode tap user USER' makes one for a user",
                       name, name);
    case EBUSY:
        return err_set(err, -EBUSY, "the tap '%s' is in use", name);
    case EINVAL:
        return err_set(err, -EINVAL, "there is a network device '%s' that is no tap", name);
    case E2BIG:
        return err_set(err, -EBUSY, "the tap '%s' has no queue left", name);
    default:
        return err_sys(err, -why, "cannot make the tap '%s'", name);
    }
}

#define TAP_FLAGS ((unsigned)IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

static int attach(int fd, const char *name, unsigned more)
{
    struct ifreq request = {.ifr_flags = (short)(TAP_FLAGS | more)};

    memcpy(request.ifr_name, name, IFNAMSIZ);
    return ioctl(fd, TUNSETIFF, &request) == 0 ? 0 : -errno;
}

/* The device has that name, and is not what is wanted; of no descriptor but this one so far. */
static int refuse_kind(int fd, const char *name, bool is_one, struct err *err)
{
    if (attach(fd, name, is_one ? IFF_MULTI_QUEUE : 0) != 0) {
        return refuse_device(name, EINVAL, err);
    }
    return is_one ? err_set(err, -EINVAL,
                            "the tap '%s' is the host's own, and has several queues: 'queues' says "
                            "how many of them, from 2 on",
                            name)
                  : err_set(err, -EINVAL,
                            "the tap '%s' is the host's own, and has one queue: 'ip tuntap add %s "
                            "mode tap multi_queue' makes one that has several",
                            name, name);
}

/* One queue. `more`: flags; `*is_own`: the device was there before. */
static int open_queue(const char *name, unsigned more, int *fd, bool *is_own, struct err *err)
{
    const unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    struct ifreq request = {.ifr_flags = 0};
    int header = HEADER_SIZE, r;

    *fd = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0) {
        return errno == ENOENT || errno == ENODEV
                   ? err_set(err, -ENOENT, "there is no %s: 'modprobe tun' loads it", TUN_DEVICE)
                   : err_sys(err, -errno, "cannot open %s", TUN_DEVICE);
    }
    r = attach(*fd, name, more);
    if (r != 0) {
        return r == -EINVAL ? refuse_kind(*fd, name, more == 0, err) : refuse_device(name, -r, err);
    }
    if (ioctl(*fd, TUNGETIFF, &request) != 0 || ioctl(*fd, TUNSETVNETHDRSZ, &header) != 0 ||
        ioctl(*fd, TUNSETOFFLOAD, offloads) != 0) {
        return err_sys(err, -errno, "cannot set up the tap '%s'", name);
    }
    *is_own = (request.ifr_flags & IFF_PERSIST) != 0;
    return 0;
}

/* The kernel lets several programs have queues of one tap: one that is not the host's own is there
 * because somebody has it, and nobody else is to make it between our look and our turn. */
static int open_queues(int socket, const char *name, size_t queues, int *fds, bool *is_own,
                       struct err *err)
{
    struct ifreq request = {.ifr_ifindex = 0};
    unsigned more = queues > 1 ? IFF_MULTI_QUEUE : 0;
    bool is_there, ignored;
    int r;

    memcpy(request.ifr_name, name, IFNAMSIZ);
    is_there = ioctl(socket, SIOCGIFINDEX, &request) == 0;
    r = open_queue(name, more | (queues > 1 && !is_there ? IFF_TUN_EXCL : 0), &fds[0], is_own, err);
    if (r == 0 && queues > 1 && is_there && !*is_own) {
        r = refuse_device(name, EBUSY, err);
    }
    for (size_t i = 1; r == 0 && i < queues; i++) {
        r = open_queue(name, more, &fds[i], &ignored, err);
    }
    return r;
}

/* A bridge has the lowest address of its ports: none of ours may be that, since it goes. */
static int raise_address(int socket, const char *name, struct err *err)
{
    struct ifreq request = {.ifr_ifindex = 0};

    memcpy(request.ifr_name, name, IFNAMSIZ);
    if (ioctl(socket, SIOCGIFHWADDR, &request) != 0) {
        return err_sys(err, -errno, "cannot look at the tap '%s'", name);
    }
    request.ifr_hwaddr.sa_data[0] = (char)ADDRESS_HIGH;
    return ioctl(socket, SIOCSIFHWADDR, &request) == 0
               ? 0
               : err_sys(err, -errno, "cannot set the address of the tap '%s'", name);
}

static int switch_on(int socket, const char *name, struct err *err)
{
    struct ifreq request = {.ifr_flags = 0};

    memcpy(request.ifr_name, name, IFNAMSIZ);
    if (ioctl(socket, SIOCGIFFLAGS, &request) != 0) {
        return err_sys(err, -errno, "cannot look at the tap '%s'", name);
    }
    if ((request.ifr_flags & IFF_UP) != 0) {
        return 0;
    }
    request.ifr_flags |= IFF_UP;
    return ioctl(socket, SIOCSIFFLAGS, &request) == 0
               ? 0
               : err_sys(err, -errno, "cannot switch the tap '%s' on ('ip link set %s up' does)",
                         name, name);
}

static int add_port(int socket, const char *bridge, const char *name, struct err *err)
{
    struct ifreq request = {.ifr_ifindex = 0};
    int index;

    memcpy(request.ifr_name, name, IFNAMSIZ);
    if (ioctl(socket, SIOCGIFINDEX, &request) != 0) {
        return err_sys(err, -errno, "cannot look at the tap '%s'", name);
    }
    index = request.ifr_ifindex;
    memset(&request, 0, sizeof(request));
    memcpy(request.ifr_name, bridge, IFNAMSIZ);
    request.ifr_ifindex = index;
    if (ioctl(socket, SIOCBRADDIF, &request) == 0) {
        return 0;
    }
    return errno == EOPNOTSUPP
               ? err_set(err, -EINVAL, "the network device '%s' is no bridge", bridge)
               : err_sys(err, -errno, "cannot make the tap '%s' a port of the bridge '%s'", name,
                         bridge);
}

/* One that was there stands where its maker put it, and would stay where we did. */
static int give_place(int socket, const char *bridge, const char *name, bool is_own,
                      struct err *err)
{
    int r;

    if (is_own && *bridge != '\0') {
        return err_set(err, -EINVAL,
                       "the tap '%s' is the host's own, which has its place already: leave the "
                       "bridge out ('ip link set %s master %s' makes it a port of that)",
                       name, name, bridge);
    }
    r = is_own ? 0 : raise_address(socket, name, err);
    return r == 0 && *bridge != '\0' ? add_port(socket, bridge, name, err) : r;
}

int tap_open(const char *words, size_t queues, int *fds, struct err *err)
{
    char name[TAP_NAME_SIZE] = "", bridge[TAP_NAME_SIZE] = "";
    /* any socket speaks of network devices; this kind needs no network of its own */
    auto_close int about = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int taps[TAP_QUEUES_MAX];
    bool is_own = false;
    int r = tap_split(words, name, bridge, err);

    for (size_t i = 0; i < TAP_QUEUES_MAX; i++) {
        taps[i] = -1;
    }
    if (r == 0 && (queues < 1 || queues > TAP_QUEUES_MAX)) {
        r = err_set(err, -EINVAL, "a tap has 1 to %d queues", TAP_QUEUES_MAX);
    }
    if (r == 0 && about < 0) {
        r = err_sys(err, -errno, "cannot speak of network devices");
    }
    r = r == 0 ? find_bridge(about, bridge, err) : r;
    r = r == 0 ? open_queues(about, name, queues, taps, &is_own, err) : r;
    r = r == 0 ? give_place(about, bridge, name, is_own, err) : r;
    r = r == 0 ? switch_on(about, name, err) : r;
    for (size_t i = 0; i < TAP_QUEUES_MAX; i++) {
        if (r == 0 && i < queues) {
            fds[i] = take_fd(&taps[i]);
        }
        cleanup_close(&taps[i]);
    }
    return r;
}
