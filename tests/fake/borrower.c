/* A qvm that has no guest: it asks for the devices that its definition names (`device:ID`, by
 * blanks), uses what it is granted as a qvm would before its guest runs, and then stays; with
 * `astray` its first device, an edu, writes to memory that is not its; with `throw` and `throw-log`
 * it sends its first device to qvmd, or with its log, and has none any more. What it finds stands
 * in its log. It links nothing of ours but the descriptors' numbers. */
#include <errno.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/spawn_fds.h"
#include "tests/fake/start.h"

#define LIFE_SECONDS 300 /* longer than any test */
#define PACKET_MAX   65536
#define FDS_MAX      64
#define RAM_SIZE     (16u << 20)
#define ASK_SIZE     4096

static struct fake_start start; /* its text: what to ask for */
static char packet[PACKET_MAX + 1];
static int fds[FDS_MAX];
static size_t fd_count;

static void say(int peer, const char *text)
{
    (void)!send(peer, text, strlen(text), MSG_NOSIGNAL);
}

static void hello(int peer, int is_running)
{
    char text[256];

    (void)snprintf(text, sizeof(text),
                   "{\"hello\":{\"version\":1,\"nonce\":\"%s\",\"instance\":%ld,"
                   "\"is_running\":%s}}",
                   start.nonce, start.instance, is_running ? "true" : "false");
    say(peer, text);
}

/* One packet, with its descriptors behind those that are there already. */
static ssize_t receive(int peer)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } space = {0};
    struct iovec piece = {.iov_base = packet, .iov_len = PACKET_MAX};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = space.bytes,
                             .msg_controllen = sizeof(space.bytes)};
    ssize_t n = recvmsg(peer, &message, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

    packet[n > 0 ? n : 0] = '\0';
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (fd_count + count <= FDS_MAX) {
            memcpy(&fds[fd_count], CMSG_DATA(header), count * sizeof(int));
            fd_count += count;
        }
    }
    return n;
}

static int is_to_fault;
static int throws_to_qvmd, throws_to_log; /* its first device */

static void ask(int peer)
{
    char text[ASK_SIZE];
    size_t used = (size_t)snprintf(text, sizeof(text),
                                   "{\"ask\":{\"items\":[{\"kind\":\"memory\",\"id\":\"host\","
                                   "\"amount\":%u,\"where\":\"x:1\"}",
                                   RAM_SIZE);
    int line = 2;

    for (char *word = strtok(start.text, " "); word != NULL; word = strtok(NULL, " ")) {
        is_to_fault = is_to_fault || strcmp(word, "astray") == 0;
        throws_to_qvmd = throws_to_qvmd || strcmp(word, "throw") == 0;
        throws_to_log = throws_to_log || strcmp(word, "throw-log") == 0;
        if (strncmp(word, "device:", 7) == 0 && used < sizeof(text)) {
            used += (size_t)snprintf(text + used, sizeof(text) - used,
                                     ",{\"kind\":\"device\",\"id\":\"%s\",\"where\":\"x:%d\"}",
                                     word + 7, line++);
        }
    }
    if (used < sizeof(text)) {
        (void)snprintf(text + used, sizeof(text) - used, "]}}");
        say(peer, text);
    }
}

static long map(int container, void *ram, size_t size, uint64_t iova)
{
    struct vfio_iommu_type1_dma_map order = {.argsz = sizeof(order),
                                             .flags =
                                                 VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                             .vaddr = (uintptr_t)ram,
                                             .iova = iova,
                                             .size = size};

    return ioctl(container, VFIO_IOMMU_MAP_DMA, &order) == 0 ? 0 : -errno;
}

/* All of our RAM may be reached by devices, and not much more. */
static void use(void)
{
    struct rlimit limit = {0};
    char *ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)fprintf(stderr, "borrower: %zu descriptors\n", fd_count);
    if (fd_count == 0 || ram == MAP_FAILED) {
        return;
    }
    (void)fprintf(stderr, "borrower: mapped %ld\n", map(fds[0], ram, RAM_SIZE, 0));
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    (void)fprintf(stderr, "borrower: may lock %lu\n", (unsigned long)limit.rlim_cur);
    for (size_t i = 0; i + 2 < fd_count; i += 3) {
        struct vfio_group_status status = {.argsz = sizeof(status)};
        struct vfio_device_info info = {.argsz = sizeof(info)};
        struct vfio_region_info config = {.argsz = sizeof(config),
                                          .index = VFIO_PCI_CONFIG_REGION_INDEX};
        uint16_t id[2] = {0};

        (void)ioctl(fds[i + 1], VFIO_GROUP_GET_STATUS, &status);
        (void)ioctl(fds[i + 2], VFIO_DEVICE_GET_INFO, &info);
        (void)ioctl(fds[i + 2], VFIO_DEVICE_GET_REGION_INFO, &config);
        (void)!pread(fds[i + 2], id, sizeof(id), (off_t)config.offset);
        (void)fprintf(stderr, "borrower: device %04x:%04x, its group %s\n", id[0], id[1],
                      (status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET) != 0 ? "in the container"
                                                                           : "alone");
    }
}

/* The first device, an edu, writes to where no memory is mapped for it (docs/specs/edu of QEMU). */
static void write_astray(void)
{
    static const uint64_t order[][2] = {
        {0x80, 0x40000}, {0x88, 0x40000000}, {0x90, 16}, {0x98, 3}}; /* from, to, bytes, go */
    struct vfio_region_info bar = {.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX};
    struct vfio_region_info config = {.argsz = sizeof(config),
                                      .index = VFIO_PCI_CONFIG_REGION_INDEX};
    uint16_t command = 6; /* memory, bus master */
    volatile uint8_t *at;

    (void)ioctl(fds[2], VFIO_DEVICE_GET_REGION_INFO, &bar);
    (void)ioctl(fds[2], VFIO_DEVICE_GET_REGION_INFO, &config);
    (void)!pwrite(fds[2], &command, sizeof(command), (off_t)config.offset + 4);
    at = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], (off_t)bar.offset);
    for (size_t i = 0; at != MAP_FAILED && i < sizeof(order) / sizeof(order[0]); i++) {
        *(volatile uint64_t *)(at + order[i][0]) = order[i][1];
    }
    (void)fprintf(stderr, "borrower: wrote astray\n");
}

/* Now who receives it, or drops it, is the last who has it. */
static void throw(int to)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } space = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    char text[] = "{\"running\":{}}";
    struct iovec piece = {.iov_base = text, .iov_len = sizeof(text) - 1};
    const struct msghdr message = {.msg_iov = &piece,
                                   .msg_iovlen = 1,
                                   .msg_control = space.bytes,
                                   .msg_controllen = sizeof(space.bytes)};

    memcpy(CMSG_DATA(&space.header), &fds[2], sizeof(int));
    (void)!sendmsg(to, &message, MSG_NOSIGNAL);
    for (size_t i = 0; i < fd_count; i++) {
        (void)close(fds[i]);
    }
}

/* Each qvmd is greeted, and the power button ends it. */
static void stay(int peer)
{
    static const char record[] = "{\"reason\":\"poweroff\",\"status\":0}";

    for (;;) {
        if (receive(peer) <= 0) {
            (void)close(peer);
            peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
        } else if (strstr(packet, "\"hello\"") != NULL) {
            hello(peer, 1);
        } else if (strstr(packet, "\"power-button\"") != NULL) {
            (void)!write(SPAWN_FD_EXIT, record, sizeof(record) - 1);
            _exit(0);
        }
    }
}

/* It is the first of its pid namespace: only a signal with a handler reaches it from inside. */
static void on_late(int number)
{
    (void)number;
    _exit(1);
}

int main(void)
{
    int peer;

    (void)signal(SIGALRM, on_late);
    (void)alarm(LIFE_SECONDS);
    fake_start_read(&start);
    (void)listen(SPAWN_FD_CONTROL, 4);
    (void)close(SPAWN_FD_READY);
    peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
    (void)receive(peer);
    hello(peer, 0);
    ask(peer);
    do {
        if (receive(peer) <= 0 || strstr(packet, "\"deny\"") != NULL) {
            _exit(1);
        }
    } while (strstr(packet, "\"more\":true") != NULL);
    use();
    if (is_to_fault) {
        write_astray();
    }
    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    if (throws_to_qvmd) {
        throw(peer);
    } else {
        say(peer, "{\"running\":{}}");
    }
    if (throws_to_log) {
        throw(SPAWN_FD_LOG);
    }
    stay(peer);
}
