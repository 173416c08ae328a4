/* A qvm that lies: a stranger in place of the real one, to be started by qvmd. What it does wrong
 * is the guest's name up to the first dot. It links nothing of ours but the descriptors' numbers.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/lend.h"
#include "proto/spawn_fds.h"

#define PACKET_MAX 65536

static char nonce[65];
static long instance;
static char packet[PACKET_MAX * 4];

static void send_with(int peer, const char *text, size_t size, int fd)
{
    struct iovec piece = {.iov_base = lend(text), .iov_len = size};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } space = {0};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    if (fd >= 0) {
        struct cmsghdr *header;

        message.msg_control = space.bytes;
        message.msg_controllen = sizeof(space.bytes);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    (void)!sendmsg(peer, &message, MSG_NOSIGNAL);
}

static void say(int peer, const char *text)
{
    send_with(peer, text, strlen(text), -1);
}

static void hello(int peer, const char *with_nonce, bool is_running, int ring_fd)
{
    char text[256];

    (void)snprintf(text, sizeof(text),
                   "{\"hello\":{\"version\":1,\"nonce\":\"%s\",\"instance\":%ld,"
                   "\"is_running\":%s}}",
                   with_nonce, instance, is_running ? "true" : "false");
    send_with(peer, text, strlen(text), ring_fd);
}

/* Who we are, from the start descriptor, by plain search: this is no JSON reader. */
static void read_start(void)
{
    static char text[1 << 20];
    ssize_t n = pread(SPAWN_FD_START, text, sizeof(text) - 1, 0);
    const char *found;

    text[n > 0 ? n : 0] = '\0';
    found = strstr(text, "\"nonce\":\"");
    if (found != NULL) {
        (void)snprintf(nonce, sizeof(nonce), "%.64s", found + 9);
    }
    found = strstr(text, "\"instance\":");
    instance = found != NULL ? strtol(found + 11, NULL, 10) : 0;
}

static void wait_for_packet(int peer)
{
    (void)!recv(peer, packet, sizeof(packet), 0);
}

static void sleep_for_ever(void)
{
    for (;;) {
        (void)pause();
    }
}

static void run(int peer)
{
    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    say(peer, "{\"ask\":{}}");
    wait_for_packet(peer); /* the grant of nothing */
    say(peer, "{\"running\":{}}");
}

static void leave_record(const char *text)
{
    (void)!write(SPAWN_FD_EXIT, text, strlen(text));
}

static int is(const char *name, const char *mode)
{
    size_t size = strcspn(name, ".");

    return strlen(mode) == size && strncmp(name, mode, size) == 0;
}

/* Lies that come before anybody listens. */
static void before_listening(const char *name)
{
    if (is(name, "dies")) {
        (void)fprintf(stderr, "dies: with these last words\n");
        _exit(7);
    } else if (is(name, "leaves-rubbish")) {
        leave_record("{\"reason\":\"flew-away\"}");
        _exit(1);
    } else if (is(name, "leaves-much")) {
        memset(packet, ' ', sizeof(packet) - 1);
        leave_record(packet);
        _exit(1);
    } else if (is(name, "never-listens")) {
        (void)close(SPAWN_FD_READY);
        sleep_for_ever();
    } else if (is(name, "talks-in-the-pipe")) {
        (void)!write(SPAWN_FD_READY, "I would rather not", 18);
        _exit(64);
    }
}

static void after_hello(const char *name, int peer)
{
    if (is(name, "asks-for-ever")) {
        for (;;) {
            say(peer, "{\"ask\":{\"items\":[{\"kind\":\"cpu\",\"id\":\"shared\",\"amount\":1,"
                      "\"where\":\"x:1\"}],\"more\":true}}");
        }
    } else if (is(name, "ignores-deny")) {
        say(peer, "{\"ask\":{\"items\":[{\"kind\":\"memory\",\"id\":\"host\","
                  "\"amount\":1000000000000000,\"where\":\"x:3\"}]}}");
        sleep_for_ever();
    } else if (is(name, "asks-nothing")) {
        sleep_for_ever();
    } else if (is(name, "runs-unasked")) {
        say(peer, "{\"running\":{}}");
        sleep_for_ever();
    } else if (is(name, "sends-rubbish")) {
        say(peer, "this is no packet");
        sleep_for_ever();
    } else if (is(name, "sends-what-qvmd-sends")) {
        say(peer, "{\"grant\":{}}");
        sleep_for_ever();
    } else if (is(name, "hangs-up")) {
        (void)shutdown(peer, SHUT_RDWR);
        sleep_for_ever();
    }
}

static void after_running(const char *name, int peer)
{
    run(peer);
    if (is(name, "reboots-for-ever")) {
        for (long n = 1;; n++) {
            char text[100];

            (void)snprintf(text, sizeof(text), "{\"reset\":{\"reboots\":%ld,\"cause\":\"x\"}}", n);
            say(peer, text);
        }
    } else if (is(name, "floods-the-log")) {
        memset(packet, 'x', sizeof(packet));
        packet[sizeof(packet) - 1] = '\n';
        for (int i = 0; i < 64; i++) {
            (void)!write(STDERR_FILENO, packet, sizeof(packet));
        }
    } else if (is(name, "floods-its-record")) {
        memset(packet, ' ', sizeof(packet));
        for (int i = 0; i < 16; i++) {
            (void)!write(SPAWN_FD_EXIT, packet, sizeof(packet));
        }
    } else if (is(name, "says-rubbish-later")) {
        say(peer, "}{");
    } else if (is(name, "ends-in-the-same-moment")) {
        leave_record("{\"reason\":\"poweroff\",\"status\":0}");
        _exit(0);
    }
    sleep_for_ever();
}

/* A ring that is none: not sealed, or of another size. */
static int make_ring(const char *name)
{
    int fd = memfd_create("liar", MFD_ALLOW_SEALING);

    if (is(name, "ring-unsealed")) {
        (void)!ftruncate(fd, 4096 + 256 * 1024);
    } else if (is(name, "ring-short")) {
        (void)!ftruncate(fd, 4096);
        (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    } else {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

int main(int argc, char **argv)
{
    const char *name = argc > 2 ? argv[2] : "";
    int peer;

    read_start();
    before_listening(name);
    (void)listen(SPAWN_FD_CONTROL, 4);
    (void)close(SPAWN_FD_READY);
    peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
    wait_for_packet(peer);
    if (is(name, "says-nothing")) {
        sleep_for_ever();
    }
    hello(peer, is(name, "has-another-nonce") ? "0000" : nonce, false, make_ring(name));
    after_hello(name, peer);
    after_running(name, peer);
}
