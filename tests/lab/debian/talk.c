/* Sockets of the kernel's own, for a guest whose shell knows no AF_VSOCK: what comes is sent to
 * standard output, what standard input has is sent.
 *
 *   talk listen PORT    take one connection, and end with it
 *   talk call PORT      connect to the host, which is CID 2
 *
 * Standard input is sent first, then the end of it is told, then the other end is heard. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static int fail(const char *what)
{
    fprintf(stderr, "talk: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

/* Everything from one to the other, until there is no more. */
static bool copy(int from, int to)
{
    static char bytes[65536];
    ssize_t n;

    while ((n = read(from, bytes, sizeof(bytes))) > 0) {
        for (ssize_t done = 0; done < n;) {
            ssize_t m = write(to, bytes + done, (size_t)(n - done));

            if (m < 0) {
                return false;
            }
            done += m;
        }
    }
    return n == 0;
}

static int take_one(int fd)
{
    if (listen(fd, 1) != 0) {
        return -1;
    }
    fprintf(stderr, "talk: listens\n");
    return accept(fd, NULL, NULL);
}

int main(int argc, char **argv)
{
    bool listens = argc == 3 && strcmp(argv[1], "listen") == 0;
    struct sockaddr_vm address = {.svm_family = AF_VSOCK,
                                  .svm_cid = listens ? VMADDR_CID_ANY : VMADDR_CID_HOST};
    const struct sockaddr *place = (const struct sockaddr *)&address;
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

    if (argc != 3 || (!listens && strcmp(argv[1], "call") != 0)) {
        fprintf(stderr, "usage: talk listen|call PORT\n");
        return EXIT_FAILURE;
    }
    address.svm_port = (unsigned)strtoul(argv[2], NULL, 10);
    if (fd < 0) {
        return fail("socket");
    }
    if (listens) {
        fd = bind(fd, place, sizeof(address)) == 0 ? take_one(fd) : -1;
    } else if (connect(fd, place, sizeof(address)) != 0) {
        fd = -1;
    }
    if (fd < 0) {
        return fail(argv[1]);
    }
    if (!copy(STDIN_FILENO, fd) || shutdown(fd, SHUT_WR) != 0 || !copy(fd, STDOUT_FILENO)) {
        return fail("talk");
    }
    return EXIT_SUCCESS;
}
