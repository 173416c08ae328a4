/* Shared by the tests of the vdev host: one host, its bus, its console, its loop. */
#ifndef QVM_TESTS_VDEV_HOST_UNIT_H
#define QVM_TESTS_VDEV_HOST_UNIT_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/vdev/host.h"
#include "tests/unit/unit.h"

static uv_loop_t loop;
static struct vdev_host *host;
static struct bus *bus;
static struct console *console;
static struct err err;
static int directory;

static unsigned rises[VDEV_HOST_GSI_COUNT], falls[VDEV_HOST_GSI_COUNT];
static unsigned request_count;
static enum vdev_request last_request;

static void on_intr(void *context UNUSED, uint32_t gsi, bool is_high)
{
    if (is_high) {
        rises[gsi]++;
    } else {
        falls[gsi]++;
    }
}

static void on_request(void *context UNUSED, enum vdev_request request, uint32_t value UNUSED)
{
    request_count++;
    last_request = request;
}

static void set_up(const char *path)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(directory, 0);
    ck_assert_int_eq(vdev_host_create(directory, &host, &err), 0);
    bus = bus_create();
    ck_assert_int_eq(console_create(&loop, &console, &err), 0);
}

static void tear_down(void)
{
    vdev_host_destroy(host);
    console_destroy(console);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    bus_destroy(bus);
    close(directory);
}

UNUSED static int build(void)
{
    struct vdev_host_env env = {
        .loop = &loop,
        .bus = bus,
        .console = console,
        .cpu_count = 1,
        .ram_below_4g = 64 << 20,
        .intr = on_intr,
        .request = on_request,
    };

    return vdev_host_build(host, &env, &err);
}

/* Words of a context, NULL at the end: WORD ARGUMENT [SECOND], as vdev_host_option_arguments says;
 * the first is on line 10. */
static int add(const char *module, ...)
{
    struct vdev_host_option options[VDEV_HOST_OPTIONS_MAX + 2];
    static char where[VDEV_HOST_OPTIONS_MAX + 2][16];
    size_t count = 0;
    const char *word;
    va_list words;

    if (vdev_host_load(host, module, "g:9", &err) != 0) {
        return err.code;
    }
    va_start(words, module);
    while ((word = va_arg(words, const char *)) != NULL) {
        int arguments = vdev_host_option_arguments(host, module, word);
        struct vdev_host_option *option = &options[count];

        (void)snprintf(where[count], sizeof(where[count]), "g:%zu", 10 + count);
        *option = (struct vdev_host_option){.word = word, .where = where[count]};
        option->argument = arguments != 0 ? va_arg(words, const char *) : NULL;
        option->second = arguments == 2 ? va_arg(words, const char *) : NULL;
        count++;
    }
    va_end(words);
    return vdev_host_add(host, module, "g:9", options, count, &err);
}

UNUSED static uint8_t in(uint64_t port)
{
    uint8_t value = 0;

    ck_assert(bus_access(bus, BUS_IO, port, &value, 1, false));
    return value;
}

UNUSED static void out(uint64_t port, unsigned value)
{
    uint8_t byte = (uint8_t)value;

    ck_assert(bus_access(bus, BUS_IO, port, &byte, 1, true));
}

UNUSED static void turn(void)
{
    for (int i = 0; i < 20; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
}

#define expect_words(words) ck_assert_str_eq(err.msg, words)

#endif
