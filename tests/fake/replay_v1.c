/* Plays the qvm of a recorded conversation (tests/data/qvm-v1/control.jsonl) towards the qvmd that
 * starts it: sends what was sent, and ends with status 70 and a word in its log when qvmd sends
 * anything else than was sent then. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/spawn_fds.h"

#define TEXT_MAX  65536
#define WORD_MAX  80
#define RING_SIZE (4096 + 256 * 1024)
#define DIFFERENT 70

__asm__(".section .rodata\n"
        "transcript:\n"
        ".incbin \"" REPLAY_FILE "\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char transcript[];

static char nonce[WORD_MAX], instance[WORD_MAX], serial[WORD_MAX] = "0";

/* What stands between `before` and the next of `,"}`. */
static void find_word(const char *text, const char *before, char word[WORD_MAX])
{
    const char *found = strstr(text, before);

    if (found != NULL) {
        found += strlen(before);
        (void)snprintf(word, WORD_MAX, "%.*s", (int)strcspn(found, ",\"}"), found);
    }
}

static void read_start(void)
{
    static char text[1 << 20];
    ssize_t n = pread(SPAWN_FD_START, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    find_word(text, "\"nonce\":\"", nonce);
    find_word(text, "\"instance\":", instance);
}

/* The packet of a line, with today's words in the places of those of then. */
static size_t make_packet(const char *line, size_t size, char packet[TEXT_MAX])
{
    static const struct {
        const char *mark;
        const char *word;
    } marks[] = {{"@NONCE@", nonce}, {"@INSTANCE@", instance}, {"@SERIAL@", serial}};
    const char *from = strstr(line, "\"packet\":") + strlen("\"packet\":");
    const char *end = line + size - 1; /* the line's own brace */
    size_t used = 0;

    while (from < end) {
        size_t i = 0;

        while (i < 3 && strncmp(from, marks[i].mark, strlen(marks[i].mark)) != 0) {
            i++;
        }
        if (i < 3) {
            used += (size_t)snprintf(packet + used, TEXT_MAX - used, "%s", marks[i].word);
            from += strlen(marks[i].mark);
        } else {
            packet[used++] = *from++;
        }
    }
    packet[used] = '\0';
    return used;
}

static int make_ring(void)
{
    int fd = memfd_create("replay", MFD_ALLOW_SEALING);

    (void)!ftruncate(fd, RING_SIZE);
    (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    return fd;
}

static void send_packet(int peer, const char *packet, size_t size, bool with_ring)
{
    static char copy[TEXT_MAX];
    struct iovec piece = {.iov_base = memcpy(copy, packet, size), .iov_len = size};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } space = {0};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    if (with_ring) {
        int fd = make_ring();
        struct cmsghdr *header = &space.align;

        message.msg_control = space.bytes;
        message.msg_controllen = sizeof(space.bytes);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    (void)!sendmsg(peer, &message, MSG_NOSIGNAL);
}

/* `{"NAME":` of both must be the same: what else is in it may be more than then. */
static void expect_packet(int peer, const char *expected)
{
    static char came[TEXT_MAX];
    size_t size = strcspn(expected, ":");
    ssize_t n = recv(peer, came, sizeof(came) - 1, 0);

    came[n > 0 ? n : 0] = '\0';
    if (strncmp(came, expected, size + 1) != 0) {
        (void)fprintf(stderr, "replay: '%s' came instead of '%s'\n", came, expected);
        _exit(DIFFERENT);
    }
    find_word(came, "\"serial\":", serial);
}

static void play(const char *line, size_t size, int *peer)
{
    static char packet[TEXT_MAX];
    size_t packet_size;

    if (strncmp(line, "{\"connection\"", 13) == 0) {
        *peer = accept(SPAWN_FD_CONTROL, NULL, NULL);
        return;
    }
    packet_size = make_packet(line, size, packet);
    if (strncmp(line, "{\"from\":\"qvmd\"", 14) == 0) {
        expect_packet(*peer, packet);
        return;
    }
    if (strncmp(packet, "{\"running\"", 10) == 0) {
        (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    } else if (strncmp(packet, "{\"ending\":", 10) == 0) {
        (void)!write(SPAWN_FD_EXIT, packet + 10, packet_size - 11);
    }
    send_packet(*peer, packet, packet_size, strncmp(packet, "{\"hello\"", 8) == 0);
}

int main(void)
{
    int peer = -1;

    read_start();
    (void)listen(SPAWN_FD_CONTROL, 4);
    (void)close(SPAWN_FD_READY);
    for (const char *line = transcript; *line != '\0'; line += strcspn(line, "\n") + 1) {
        play(line, strcspn(line, "\n"), &peer);
    }
    return 0;
}
