/* A qvm that lies: a stranger in place of the real one, to be started by qvmd. What it does wrong
 * is the guest's name up to the first dot. It links nothing of ours but the descriptors' numbers.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/lend.h"
#include "proto/spawn_fds.h"
#include "tests/fake/start.h"

#define LIFE_SECONDS 300 /* longer than any test */

#define PACKET_MAX 65536

static struct fake_start start; /* its text: a file to ask for, if that is a path */
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

static int version = 1;

static void hello(int peer, const char *with_nonce, bool is_running, int ring_fd)
{
    char text[256];

    (void)snprintf(text, sizeof(text),
                   "{\"hello\":{\"version\":%d,\"nonce\":\"%s\",\"instance\":%ld,"
                   "\"is_running\":%s}}",
                   version, with_nonce, start.instance, is_running ? "true" : "false");
    send_with(peer, text, strlen(text), ring_fd);
}

#define FDS_MANY 250 /* near the most that the kernel lets through in one packet */

/* A packet with many descriptors. */
static void send_many(int peer, const char *text, size_t count)
{
    struct iovec piece = {.iov_base = lend(text), .iov_len = strlen(text)};
    static union {
        char bytes[CMSG_SPACE(FDS_MANY * sizeof(int))];
        struct cmsghdr align;
    } space;
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = space.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = &space.align;
    int fds[FDS_MANY];

    for (size_t i = 0; i < count; i++) {
        fds[i] = SPAWN_FD_LOG;
    }
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    (void)!sendmsg(peer, &message, MSG_NOSIGNAL);
}

static void wait_for_packet(int peer)
{
    (void)!recv(peer, packet, sizeof(packet), 0);
}

/* The next packet's first descriptor; -1: it has none. */
static int receive_fd(int peer)
{
    struct iovec piece = {.iov_base = packet, .iov_len = sizeof(packet)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } space = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = space.bytes,
                             .msg_controllen = sizeof(space.bytes)};
    int fd = -1;

    if (recvmsg(peer, &message, 0) > 0 && CMSG_FIRSTHDR(&message) != NULL) {
        memcpy(&fd, CMSG_DATA(&space.align), sizeof(fd));
    }
    return fd;
}

static void sleep_for_ever(void)
{
    for (;;) {
        (void)pause();
    }
}

static void ask_for_file(int peer)
{
    char ask[2048] = "{\"ask\":{}}";

    if (start.text[0] == '/') {
        (void)snprintf(ask, sizeof(ask),
                       "{\"ask\":{\"items\":[{\"kind\":\"file\",\"id\":\"%s\",\"is_writable\":true,"
                       "\"where\":\"x:1\"}]}}",
                       start.text);
    }
    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    say(peer, ask);
}

static void run(int peer)
{
    ask_for_file(peer);
    wait_for_packet(peer); /* the grant of nothing */
    say(peer, "{\"running\":{}}");
}

#define TOO_MANY_LOADED 11 /* packets with descriptors */

/* It sends to qvmd what qvmd must not have, once where descriptors belong and then for ever. */
static _Noreturn void give_back(int peer)
{
    static const char running[] = "{\"running\":{}}",
                      reset[] = "{\"reset\":{\"reboots\":1,\"cause\":\"x\"}}";
    int fd;

    ask_for_file(peer);
    fd = receive_fd(peer);
    wait_for_packet(peer); /* the end of the grant */
    send_with(peer, running, sizeof(running) - 1, fd);
    for (;;) {
        peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
        wait_for_packet(peer);
        hello(peer, start.nonce, true, fd);
        for (int i = 0; i < TOO_MANY_LOADED; i++) {
            send_with(peer, reset, sizeof(reset) - 1, fd);
        }
    }
}

static void leave_record(const char *text)
{
    (void)!write(SPAWN_FD_EXIT, text, strlen(text));
}

/* To a new qvmd it says that it shares two regions, tells of one, without the descriptors that
 * belong to it, and of the other never; then it wishes for another, and ends when it is answered.
 */
static _Noreturn void promise_regions(int peer)
{
    char text[256];

    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    say(peer, "{\"ask\":{\"items\":[{\"kind\":\"memory\",\"id\":\"host\",\"amount\":8192,"
              "\"where\":\"x:1\"},{\"kind\":\"shmem\",\"id\":\"allow *\",\"where\":\"x:2\"}]}}");
    wait_for_packet(peer);
    say(peer, "{\"running\":{}}");
    peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
    wait_for_packet(peer);
    (void)snprintf(text, sizeof(text),
                   "{\"hello\":{\"version\":4,\"nonce\":\"%s\",\"instance\":%ld,"
                   "\"is_running\":true,\"shmem\":2}}",
                   start.nonce, start.instance);
    say(peer, text);
    say(peer, "{\"shmem-held\":{\"name\":\"a\",\"client\":1,\"size\":4096}}");
    say(peer, "{\"shmem-wish\":{\"serial\":1,\"name\":\"big\",\"size\":12288,\"most\":1048576}}");
    do {
        memset(packet, 0, 256);
        wait_for_packet(peer);
    } while (strstr(packet, "\"shmem-given\"") == NULL);
    leave_record(strstr(packet, "\"status\":2") != NULL
                     ? "{\"reason\":\"poweroff\",\"status\":0,\"message\":\"no memory\"}"
                     : "{\"reason\":\"poweroff\",\"status\":0,\"message\":\"got it\"}");
    _exit(0);
}

/* It wishes for connections beside a socket that it was never granted, more of them than qvmd cares
 * to try, and ends when each was answered. */
static _Noreturn void call_elsewhere(int peer)
{
    enum { CALLS = 300 };
    char text[1200];
    int fd = -1;

    for (int i = 1; i <= CALLS && fd < 0; i++) {
        (void)snprintf(text, sizeof(text),
                       "{\"connect-wish\":{\"serial\":%d,\"path\":\"%.1000s\",\"port\":7}}", i,
                       start.text);
        say(peer, text);
        do {
            memset(packet, 0, 256);
            fd = receive_fd(peer);
        } while (strstr(packet, "\"connected\"") == NULL);
    }
    leave_record(fd < 0 ? "{\"reason\":\"poweroff\",\"status\":0,\"message\":\"nothing\"}"
                        : "{\"reason\":\"poweroff\",\"status\":0,\"message\":\"got it\"}");
    _exit(0);
}

static int is(const char *name, const char *mode)
{
    size_t size = strcspn(name, ".");

    return strlen(mode) == size && strncmp(name, mode, size) == 0;
}

static bool hears_within(int peer, int ms)
{
    return poll(&(struct pollfd){.fd = peer, .events = POLLIN}, 1, ms) == 1;
}

#define IMAGE                                                                                      \
    "{\"kind\":\"helper\",\"id\":\"qcow2:%.900s/%s\",\"is_writable\":true,\"where\":\"x:1\"}"

/* It has two images, and wishes for another helper of the first before that serves (or, having met
 * another qvmd, later), or of what has none for ever. It ends with what it heard, or how much. */
static _Noreturn void wish_for_helpers(const char *name, int peer)
{
    enum { WISHES = 3000 };
    static const char running[] = "{\"running\":{}}", wish[] = "{\"helper-wish\":{\"item\":0}}";
    char text[2200];
    int heard = 0;

    (void)snprintf(text, sizeof(text), "{\"ask\":{\"items\":[" IMAGE "," IMAGE "]}}", start.text,
                   "a", start.text, "b");
    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    say(peer, text);
    while (is(name, "wishes-too-early") && !hears_within(peer, 2)) {
        say(peer, running);
        say(peer, wish);
    }
    wait_for_packet(peer);
    heard = strstr(packet, "\"grant\"") != NULL;
    say(peer, running);
    if (is(name, "wishes-later")) {
        peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
        wait_for_packet(peer);
        hello(peer, start.nonce, true, -1);
        say(peer, wish);
        heard = receive_fd(peer) >= 0;
    }
    for (int i = 0; is(name, "wishes-for-ever") && (i < WISHES || hears_within(peer, 1000)); i++) {
        if (i < WISHES) {
            say(peer, "{\"helper-wish\":{\"item\":9}}");
        }
        if (hears_within(peer, 0)) {
            wait_for_packet(peer);
            heard++;
        }
    }
    (void)snprintf(text, sizeof(text), "{\"reason\":\"poweroff\",\"status\":0,\"message\":\"%d\"}",
                   heard);
    leave_record(text);
    _exit(0);
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
    } else if (is(name, "is-never-ready")) {
        sleep_for_ever();
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
    } else if (is(name, "has-no-vcpus")) {
        say(peer, "{\"ask\":{\"items\":[{\"kind\":\"cpu\",\"id\":\"shared\",\"amount\":1,"
                  "\"first\":0,\"cpus\":\"0\",\"where\":\"x:3\"}]}}");
        sleep_for_ever();
    } else if (is(name, "asks-for-a-cpu-by-another-word")) {
        say(peer, "{\"ask\":{\"items\":[{\"kind\":\"shmem\",\"id\":\"cpu0\",\"where\":\"a:1\"}]}}");
    } else if (is(name, "asks-for-the-address-of-the-host")) {
        say(peer, "{\"ask\":{\"items\":[{\"kind\":\"network\",\"id\":\"cid:2\",\"where\":\"\"}]}}");
    } else if (is(name, "asks-for-many-queues")) {
        say(peer, "{\"ask\":{\"items\":[{\"kind\":\"network\",\"id\":\"tap:vm1\",\"amount\":9,"
                  "\"where\":\"a:1\"}]}}");
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
    } else if (is(name, "floods-with-descriptors")) {
        for (;;) {
            send_many(peer, "{\"reset\":{\"reboots\":1,\"cause\":\"x\"}}", 64);
        }
    } else if (is(name, "sends-too-many")) {
        send_many(peer, "{\"ask\":{}}", FDS_MANY);
        sleep_for_ever();
    } else if (is(name, "sends-too-much")) {
        memset(packet, ' ', PACKET_MAX + 1);
        send_with(peer, packet, PACKET_MAX + 1, -1);
        sleep_for_ever();
    } else if (is(name, "floods-with-nothing")) {
        for (;;) {
            send_with(peer, "", 0, -1);
        }
    } else if (is(name, "hangs-up")) {
        (void)shutdown(peer, SHUT_RDWR);
        sleep_for_ever();
    }
}

/* One that behaves: each qvmd is greeted, and the power button ends it. */
static void behave(int peer)
{
    for (;;) {
        ssize_t n = recv(peer, packet, sizeof(packet) - 1, 0);

        packet[n > 0 ? n : 0] = '\0';
        if (n <= 0) {
            (void)close(peer);
            peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
        } else if (strstr(packet, "\"hello\"") != NULL) {
            hello(peer, start.nonce, true, -1);
        } else if (strstr(packet, "\"power-button\"") != NULL) {
            leave_record("{\"reason\":\"poweroff\",\"status\":0}");
            _exit(0);
        }
    }
}

static void after_running(const char *name, int peer)
{
    if (is(name, "gives-its-file-back")) {
        give_back(peer);
    }
    if (is(name, "promises-regions")) {
        promise_regions(peer);
    }
    if (strncmp(name, "wishes-", 7) == 0) {
        wish_for_helpers(name, peer);
    }
    run(peer);
    if (is(name, "bystander") || is(name, "holds-a-file")) {
        behave(peer);
    }
    if (is(name, "calls-elsewhere")) {
        call_elsewhere(peer);
    }
    if (is(name, "leaves-what-it-never-had")) {
        for (int i = 0; i < 3; i++) {
            say(peer, "{\"shmem-left\":{\"name\":\"a\"}}");
            say(peer, "{\"shmem-wish\":{\"serial\":1,\"name\":\"a\",\"size\":4096,\"most\":4096}}");
            say(peer, "{\"shmem-held\":{\"name\":\"a\",\"client\":1,\"size\":4096}}");
        }
        sleep_for_ever();
    } else if (is(name, "reboots-for-ever")) {
        for (long n = 1;; n++) {
            char text[100];

            (void)snprintf(text, sizeof(text), "{\"reset\":{\"reboots\":%ld,\"cause\":\"x\"}}", n);
            say(peer, text);
        }
    } else if (is(name, "floods-the-log")) {
        memset(packet, 'x', sizeof(packet));
        packet[sizeof(packet) - 1] = '\n';
        for (;;) {
            (void)!write(STDERR_FILENO, packet, 4096); /* of one line without end */
            (void)poll(&(struct pollfd){.fd = STDERR_FILENO, .events = POLLOUT}, 1, -1);
        }
    } else if (is(name, "floods-its-record")) {
        memset(packet, ' ', sizeof(packet));
        for (int i = 0; i < 16; i++) {
            (void)!write(SPAWN_FD_EXIT, packet, sizeof(packet));
        }
    } else if (is(name, "floods-later")) {
        for (;;) {
            send_many(peer, "{\"state\":{\"serial\":1}}", 64);
        }
    } else if (is(name, "says-rubbish-later")) {
        say(peer, "}{");
    } else if (is(name, "later-speaks-9") || is(name, "later-speaks-0")) {
        version = name[strlen("later-speaks-")] - '0';
        for (;;) {
            peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
            wait_for_packet(peer);
            hello(peer, start.nonce, true, -1);
        }
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

/* It is the first of its pid namespace: only a signal with a handler reaches it from inside. */
static void on_late(int number)
{
    (void)number;
    _exit(1);
}

int main(int argc, char **argv)
{
    const char *name = argc > 2 ? argv[2] : "";
    int peer;

    (void)signal(SIGALRM, on_late);
    (void)alarm(LIFE_SECONDS); /* it heeds nobody's end, and must not stay after its test */
    fake_start_read(&start);
    before_listening(name);
    (void)listen(SPAWN_FD_CONTROL, 4);
    (void)close(SPAWN_FD_READY);
    peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
    wait_for_packet(peer);
    if (is(name, "says-nothing")) {
        sleep_for_ever();
    }
    if (is(name, "speaks-9") || is(name, "speaks-0")) {
        version = name[strlen("speaks-")] - '0';
    }
    if (is(name, "calls-elsewhere") || strncmp(name, "wishes-", 7) == 0) {
        version = 6;
    }
    hello(peer, is(name, "has-another-nonce") ? "0000" : start.nonce,
          is(name, "runs-from-the-start"), make_ring(name));
    after_hello(name, peer);
    after_running(name, peer);
}
