/* qvmd: supervises the guests of this host. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "daemon/config.h"
#include "daemon/options.h"
#include "daemon/rooms.h"
#include "daemon/spawn.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define EXIT_USAGE 2

static const int end_signals[] = {SIGTERM, SIGINT, SIGHUP};

struct daemon {
    uv_loop_t loop;
    uv_signal_t signals[ARRAY_LEN(end_signals)];
    struct rooms *rooms;
};

static void stop(struct daemon *daemon)
{
    for (size_t i = 0; i < ARRAY_LEN(end_signals); i++) {
        uv_close((uv_handle_t *)&daemon->signals[i], NULL);
    }
    if (daemon->rooms != NULL) {
        rooms_close(daemon->rooms);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;

    if (uv_is_closing((uv_handle_t *)handle)) {
        return;
    }
    log_info("qvmd: ends signal=%d; guests go on", number);
    stop(daemon);
}

static void announce(int ready_fd)
{
    static const char line[] = "ready\n";

    if (ready_fd >= 0) {
        (void)!write(ready_fd, line, sizeof(line) - 1); /* who does not listen need not know */
        cleanup_close(&ready_fd);
    }
}

static int run(const struct config *config, int ready_fd, struct err *err)
{
    struct daemon daemon = {0};
    int r;

    if (uv_loop_init(&daemon.loop) != 0) {
        return err_set(err, -ENOMEM, "cannot make the loop");
    }
    for (size_t i = 0; i < ARRAY_LEN(end_signals); i++) {
        (void)uv_signal_init(&daemon.loop, &daemon.signals[i]); /* cannot fail here */
        daemon.signals[i].data = &daemon;
        (void)uv_signal_start(&daemon.signals[i], on_signal, end_signals[i]);
    }
    r = rooms_open(&daemon.loop, config, &daemon.rooms, err);
    if (r < 0) {
        stop(&daemon);
    } else {
        announce(ready_fd);
    }
    (void)uv_run(&daemon.loop, UV_RUN_DEFAULT); /* to its end: nothing is left in it */
    if (daemon.rooms != NULL) {
        rooms_free(daemon.rooms);
    }
    (void)uv_loop_close(&daemon.loop); /* the process ends now */
    return r;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct config config;
    struct err err = {0};
    int r = options_parse(argc, argv, &options, &err);

    if (r < 0) {
        (void)fprintf(stderr, "qvmd: %s\n%s", err.msg, options_usage);
        return EXIT_USAGE;
    }
    if (options.wants_help || options.wants_version) {
        (void)fputs(options.wants_help ? options_usage : "qvmd " QVM_VERSION "\n", stdout);
        return EXIT_SUCCESS;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail for this one */
    log_to(STDERR_FILENO, LOG_DEFAULT_SET, getenv("JOURNAL_STREAM") != NULL);
    spawn_init();
    r = config_init(&config, &err);
    if (r == 0) {
        r = options_read_config(&options, &config, &err);
    }
    if (r == 0) {
        r = run(&config, options.ready_fd, &err);
    }
    config_fini(&config);
    if (r < 0) {
        (void)fprintf(stderr, "qvmd: %s\n", err.msg);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
