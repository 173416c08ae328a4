/* What a network can do between two ends, of which one or both are guests:
 *
 *   guest_net serve               answer whoever connects, until one says that it was the last
 *   guest_net ask HOST [SECONDS]  measure, each for SECONDS (2), and say so
 *
 * TCP at port PORT: bytes in one direction, in the other, and one byte there and back. What is
 * sent is a pattern, and is compared. One line each: `guest_net: NAME VALUE`, MiB or round trips a
 * second. Linked statically, so that it runs in an initramfs. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT         7000
#define CHUNK        (256u << 10)
#define PERIOD       251u /* of the pattern: a prime, so that what is out of place is seen */
#define CONNECT_TIME 60.0 /* seconds in which the other end has to be there */

enum {
    SENDS = 's',
    RECEIVES = 'r',
    ECHOES = 'e',
    ENDS = 'q'
}; /* first byte: what the asker does */

static uint8_t pattern[CHUNK + PERIOD], chunk[CHUNK];

static void fail(const char *what)
{
    printf("guest_net: FAILED: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* All that comes until the other end has said all. */
static uint64_t take_all(int fd)
{
    uint64_t size = 0;
    ssize_t n;

    while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0) {
        if (memcmp(chunk, pattern + size % PERIOD, (size_t)n) != 0) {
            errno = EBADMSG;
            fail("wrong data");
        }
        size += (uint64_t)n;
    }
    if (n < 0) {
        fail("recv");
    }
    return size;
}

static void give_for(int fd, double seconds)
{
    double end = now() + seconds;
    uint64_t size = 0;

    while (now() < end) {
        ssize_t n = send(fd, pattern + size % PERIOD, CHUNK, MSG_NOSIGNAL);

        if (n < 0) {
            fail("send");
        }
        size += (uint64_t)n;
    }
    (void)shutdown(fd, SHUT_WR);
}

static void echo(int fd)
{
    uint8_t byte;

    while (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1) {
    }
}

static void set_up(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* False: it was the last. */
static bool answer(int fd)
{
    uint8_t what = ENDS, seconds = 0;
    uint64_t size;

    set_up(fd);
    if (recv(fd, &what, 1, 0) != 1 || recv(fd, &seconds, 1, 0) != 1) {
        return true; /* somebody who looked whether we are there */
    }
    switch (what) {
    case SENDS:
        size = take_all(fd);
        (void)send(fd, &size, sizeof(size), MSG_NOSIGNAL);
        break;
    case RECEIVES:
        give_for(fd, seconds);
        (void)recv(fd, &what, 1, 0); /* until it has all */
        break;
    case ECHOES:
        echo(fd);
        break;
    default:
        return false;
    }
    return true;
}

static void serve(void)
{
    const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    bool is_last = false;

    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (const struct sockaddr *)&any, sizeof(any)) != 0 ||
        listen(listener, 8) != 0) {
        fail("listen");
    }
    while (!is_last) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0) {
            fail("accept");
        }
        is_last = !answer(fd);
        (void)close(fd);
    }
}

static int reach(const char *host, uint8_t what, uint8_t seconds)
{
    const uint8_t words[] = {what, seconds};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    double end = now() + CONNECT_TIME;
    int fd, tries = 1;

    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) {
        errno = EINVAL;
        fail(host);
    }
    for (;;) {
        fd = socket(AF_INET, SOCK_STREAM, 0);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &tries, sizeof(tries));
        if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0) {
            break;
        }
        if (now() > end) {
            fail("connect");
        }
        (void)close(fd);
        (void)usleep(100000);
    }
    set_up(fd);
    if (send(fd, words, sizeof(words), MSG_NOSIGNAL) != sizeof(words)) {
        fail("send");
    }
    return fd;
}

static void tell(const char *name, double value)
{
    printf("guest_net: %s %.1f\n", name, value);
    (void)fflush(stdout);
}

static void measure_bytes(const char *host, uint8_t seconds)
{
    const double mib = 1 << 20;
    uint64_t size = 0;
    int fd = reach(host, SENDS, seconds);
    double begin = now();

    give_for(fd, seconds);
    if (recv(fd, &size, sizeof(size), MSG_WAITALL) != sizeof(size)) {
        fail("recv");
    }
    tell("sent", (double)size / mib / (now() - begin));
    (void)close(fd);
    fd = reach(host, RECEIVES, seconds);
    begin = now();
    size = take_all(fd);
    tell("received", (double)size / mib / (now() - begin));
    (void)close(fd);
}

static void measure_rounds(const char *host, uint8_t seconds)
{
    int fd = reach(host, ECHOES, seconds);
    double begin = now();
    uint8_t byte = 1;
    uint64_t count = 0;

    while (now() < begin + seconds) {
        if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1) {
            fail("echo");
        }
        count++;
    }
    tell("rounds", (double)count / (now() - begin));
    (void)close(fd);
}

int main(int argc, char **argv)
{
    uint8_t seconds = argc > 3 ? (uint8_t)atoi(argv[3]) : 2;

    for (uint32_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)(i % PERIOD);
    }
    if (argc == 2 && strcmp(argv[1], "serve") == 0) {
        serve();
    } else if (argc >= 3 && strcmp(argv[1], "ask") == 0) {
        measure_bytes(argv[2], seconds);
        measure_rounds(argv[2], seconds);
        (void)close(reach(argv[2], ENDS, 0));
        printf("guest_net: all data as sent\n");
    } else {
        fprintf(stderr, "guest_net serve | guest_net ask HOST [SECONDS]\n");
        return 64;
    }
    return 0;
}
