/* Sending with a descriptor, in tests. */
#ifndef QVM_TESTS_RIGHTS_UNIT_H
#define QVM_TESTS_RIGHTS_UNIT_H

#include <string.h>
#include <sys/socket.h>

#include "proto/base/lend.h"
#include "tests/unit/unit.h"

/* The text as one packet, with `fd`; without one if that is negative. */
static inline void send_with(int socket, const char *text, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } space = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct iovec piece = {.iov_base = lend(text), .iov_len = strlen(text)};
    const struct msghdr message = {.msg_iov = &piece,
                                   .msg_iovlen = 1,
                                   .msg_control = fd >= 0 ? space.bytes : NULL,
                                   .msg_controllen = fd >= 0 ? sizeof(space.bytes) : 0};

    memcpy(CMSG_DATA(&space.header), &fd, sizeof(int));
    ck_assert_int_eq(sendmsg(socket, &message, 0), (ssize_t)strlen(text));
}

#endif
