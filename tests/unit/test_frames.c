/* Frames over a stream, whose other end is a stranger. */
#include "qvm-worker/vdev/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "vdevs/include/qvm/vdev.h"

enum { PAYLOAD = 60, HEADER = VDEV_FRAME_HEADER };

static int ends[2];
static struct frames *frames;

static void set_up(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    frames = frames_create(ends[0]);
    ck_assert_ptr_nonnull(frames);
}

static void tear_down(void)
{
    frames_destroy(frames);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void say(const void *bytes, size_t size)
{
    ck_assert_int_eq(write(ends[1], bytes, size), (ssize_t)size);
}

static int send_bytes(uint8_t *bytes, size_t size)
{
    const struct vdev_piece pieces[] = {{bytes, 5}, {bytes + 5, size - 5}};

    return frames_send(frames, pieces, 2);
}

START_TEST(frame_goes_with_its_size_and_without_the_header)
{
    uint8_t frame[HEADER + PAYLOAD], got[2 * sizeof(frame)];

    memset(frame, 1, HEADER);
    memset(frame + HEADER, 7, PAYLOAD);
    ck_assert_int_eq(send_bytes(frame, sizeof(frame)), 0);
    ck_assert_int_eq(read(ends[1], got, sizeof(got)), 4 + PAYLOAD);
    ck_assert_mem_eq(got, "\0\0\0\x3c", 4);
    ck_assert_mem_eq(got + 4, frame + HEADER, PAYLOAD);
    ck_assert_int_eq(send_bytes(frame, HEADER + 13), -EMSGSIZE); /* that is no frame */
}
END_TEST

START_TEST(frame_comes_with_an_empty_header_in_however_many_pieces)
{
    uint8_t stream[4 + PAYLOAD] = {0, 0, 0, PAYLOAD}, got[HEADER + PAYLOAD];

    memset(stream + 4, 9, PAYLOAD);
    for (size_t i = 0; i < sizeof(stream); i++) {
        ck_assert_uint_eq(frames_receive(frames, got, sizeof(got)), 0);
        say(stream + i, 1);
    }
    say(stream, sizeof(stream));
    for (int i = 0; i < 2; i++) {
        memset(got, 1, sizeof(got));
        ck_assert_uint_eq(frames_receive(frames, got, sizeof(got)), sizeof(got));
        ck_assert_mem_eq(got, (uint8_t[HEADER]){0}, HEADER);
        ck_assert_mem_eq(got + HEADER, stream + 4, PAYLOAD);
    }
    say(stream, sizeof(stream)); /* what has no room is lost, and its size is told */
    ck_assert_uint_eq(frames_receive(frames, got, HEADER + 1), sizeof(got));
    ck_assert_uint_eq(frames_receive(frames, got, sizeof(got)), 0);
    ck_assert(!frames_are_over(frames));
}
END_TEST

START_TEST(frame_that_does_not_go_whole_goes_on_where_it_stopped)
{
    static uint8_t frame[HEADER + 60000];
    static uint8_t got[4 + 60000];
    unsigned sent = 0;

    while (send_bytes(frame, sizeof(frame)) == 0) {
        sent++;
        ck_assert_uint_lt(sent, 1000);
    }
    ck_assert_uint_gt(sent, 0);
    for (unsigned i = 0; i < sent; i++) {
        for (size_t size = 0; size < sizeof(got);) {
            ssize_t n = read(ends[1], got + size, sizeof(got) - size);

            if (n < 0) {
                ck_assert_int_eq(errno, EAGAIN);
                frames_flush(frames);
            }
            size += n > 0 ? (size_t)n : 0;
        }
        ck_assert_mem_eq(got, "\0\0\xea\x60", 4);
    }
    ck_assert_int_eq(send_bytes(frame, sizeof(frame)), 0);
}
END_TEST

START_TEST(size_that_no_frame_has_loses_the_other_end)
{
    static const char *const sizes[] = {"\0\0\0\0", "\0\0\0\xd", "\0\1\0\0", "\xff\xff\xff\xff"};
    uint8_t got[100];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        say(sizes[i], 4);
        ck_assert_uint_eq(frames_receive(frames, got, sizeof(got)), 0);
        ck_assert(frames_are_over(frames));
        ck_assert_int_eq(send_bytes(got, sizeof(got)), -EPIPE);
        tear_down();
        set_up();
    }
}
END_TEST

START_TEST(end_of_the_other_end_is_told)
{
    uint8_t got[100] = {0};

    ck_assert_int_eq(shutdown(ends[1], SHUT_RDWR), 0);
    ck_assert_uint_eq(frames_receive(frames, got, sizeof(got)), 0);
    ck_assert(frames_are_over(frames));
}
END_TEST

UNIT_MAIN_WITH("frames", set_up, tear_down, frame_goes_with_its_size_and_without_the_header,
               frame_comes_with_an_empty_header_in_however_many_pieces,
               frame_that_does_not_go_whole_goes_on_where_it_stopped,
               size_that_no_frame_has_loses_the_other_end, end_of_the_other_end_is_told)
