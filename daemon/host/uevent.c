/* What the kernel tells of devices. */
#include "daemon/host/uevent.h"

#include <endian.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define KERNEL_GROUP 1 /* the messages themselves; udev's are in another */

/* What stands behind `name` in `word`, or `otherwise`. */
static const char *value_of(const char *word, const char *name, const char *otherwise)
{
    size_t length = strlen(name);

    return strncmp(word, name, length) == 0 ? word + length : otherwise;
}

/* "ACTION@PATH", then words NAME=VALUE, each ended by a zero. */
bool uevent_parse(char *text, size_t size, struct uevent *event)
{
    struct uevent found = {.action = "", .subsystem = "", .slot = ""};

    text[size] = '\0';
    if (strchr(text, '@') == NULL) {
        return false;
    }
    for (const char *word = text + strlen(text) + 1; word < text + size; word += strlen(word) + 1) {
        found.action = value_of(word, "ACTION=", found.action);
        found.subsystem = value_of(word, "SUBSYSTEM=", found.subsystem);
        found.slot = value_of(word, "PCI_SLOT_NAME=", found.slot);
    }
    *event = found;
    return found.action[0] != '\0';
}

/* Begins each message about a VM: words of four bytes, as the filter compares them. */
static const char of_vms[] = "change@/devices/virtual/misc/kvm";
#define WORDS ((sizeof(of_vms) - 1) / sizeof(uint32_t))

int uevent_ignore_vms(int fd)
{
    struct sock_filter code[2 * WORDS + 2];
    const struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};

    for (uint32_t i = 0; i < WORDS; i++) {
        uint32_t word;

        memcpy(&word, of_vms + i * sizeof(word), sizeof(word));
        code[2 * i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, i * sizeof(word));
        code[2 * i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, be32toh(word), 0,
                                                       (uint8_t)(2 * (WORDS - i) - 1));
    }
    code[2 * WORDS] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
    code[2 * WORDS + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0 ? 0
                                                                                        : -errno;
}

int uevent_open(int *result, struct err *err)
{
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
    auto_close int fd =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

    if (fd >= 0) {
        (void)uevent_ignore_vms(fd); /* without it qvmd wakes up more often, and that is all */
    }
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        return err_sys(err, -errno,
                       "the kernel's messages about devices cannot be heard (netlink)");
    }
    *result = take_fd(&fd);
    return 0;
}

int uevent_next(int fd, char *text)
{
    for (;;) {
        struct sockaddr_nl from = {0};
        socklen_t from_size = sizeof(from);
        ssize_t n = recvfrom(fd, text, UEVENT_SIZE, 0, (struct sockaddr *)&from, &from_size);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? 0 : -errno;
        }
        if (n > 0 && from_size == sizeof(from) && from.nl_pid == 0) { /* 0 is the kernel */
            return (int)n;
        }
    }
}
