/* What tests of a console share: one on a real loop, with real socket pairs. */
#ifndef QVM_TESTS_CONSOLE_UNIT_H
#define QVM_TESTS_CONSOLE_UNIT_H

#include "qvm-worker/console/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/console.h"
#include "tests/unit/unit.h"

static uv_loop_t loop;
static struct console *console;

/* A device that has `room` for typed bytes. */
static uint8_t typed[2 * CONSOLE_INPUT_MAX];
static size_t typed_count, room;

static size_t on_input(void *context UNUSED, const uint8_t *data, size_t count)
{
    size_t n = count < room ? count : room;

    memcpy(typed + typed_count, data, n);
    typed_count += n;
    room -= n;
    return n;
}

static inline void set_up(void)
{
    struct err err = {0};

    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(console_create(&loop, &console, &err), 0);
    typed_count = 0;
    room = SIZE_MAX;
    console_set_input(console, on_input, NULL);
}

static inline void tear_down(void)
{
    console_destroy(console);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0); /* nothing is left open */
}

static inline void turn(void)
{
    for (int i = 0; i < 20; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
}

static inline void say(const char *text)
{
    console_write(console, (const uint8_t *)text, strlen(text));
}

/* Attach one end of a socket pair, return the other. */
static inline int attach(unsigned flags, uint64_t from)
{
    struct err err = {0};
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(console_attach(console, fds[0], flags, from, &err), 0);
    return fds[1];
}

static inline void expect(int fd, const char *text)
{
    char buffer[256] = "";
    ssize_t n;

    turn();
    n = read(fd, buffer, sizeof(buffer) - 1);
    ck_assert_str_eq(n > 0 ? buffer : "", text);
}

#define LINE(text_) "\r\n-- qvm: " text_ " --\r\n"

static inline void type(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    turn();
}

#endif
