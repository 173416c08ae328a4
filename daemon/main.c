/* qvmd: supervises the guests of this host. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "daemon/config.h"
#include "daemon/options.h"
#include "daemon/rooms.h"
#include "daemon/service.h"
#include "daemon/urgency.h"
#include "daemon/worker/spawn.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define EXIT_USAGE 2

static const int end_signals[] = {SIGTERM, SIGINT};

struct daemon {
    uv_loop_t loop;
    uv_signal_t signals[ARRAY_LEN(end_signals)], reload;
    struct service *service;
    struct urgency *urgency;
    struct rooms *rooms;
};

static void stop(struct daemon *daemon)
{
    for (size_t i = 0; i < ARRAY_LEN(end_signals); i++) {
        uv_close((uv_handle_t *)&daemon->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&daemon->reload, NULL);
    if (daemon->rooms != NULL) {
        rooms_close(daemon->rooms);
    }
    service_destroy(take_ptr(daemon->service));
    urgency_destroy(take_ptr(daemon->urgency));
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;

    if (uv_is_closing((uv_handle_t *)handle)) {
        return;
    }
    log_info("qvmd: ends signal=%d; guests go on", number);
    service_stopping(daemon->service);
    stop(daemon);
}

static void on_reload(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;
    char note[ROOMS_NOTE_SIZE];
    struct err err = {0};

    (void)number;
    if (!uv_is_closing((uv_handle_t *)handle) && daemon->rooms != NULL) {
        (void)rooms_reload(daemon->rooms, note, &err); /* the log says how it went */
    }
}

/* The configuration, as the command line leads to it. */
static int read_config(void *context, struct config *config, struct err *err)
{
    int r = config_init(config, err);

    return r == 0 ? options_read_config(context, config, err) : r;
}

/* It works without, too, and not as quickly. */
static void be_urgent(struct daemon *daemon, const struct config *config)
{
    struct err err = {0};

    if (urgency_create(&daemon->loop, &config->partitions, &daemon->urgency, &err) < 0) {
        log_info("qvmd: waits for its turn as others do why=\"%s\"", err.msg);
    }
}

static void announce(int ready_fd)
{
    static const char line[] = "ready\n";

    if (ready_fd >= 0) {
        (void)!write(ready_fd, line, sizeof(line) - 1); /* who does not listen need not know */
        cleanup_close(&ready_fd);
    }
}

static int run(struct config *config, struct options *options, struct err *err)
{
    const struct rooms_source source = {.read = read_config, .context = options};
    struct daemon daemon = {0};
    int listen_fd = -1;
    int r;

    if (uv_loop_init(&daemon.loop) != 0) {
        return err_set(err, -ENOMEM, "cannot make the loop");
    }
    for (size_t i = 0; i < ARRAY_LEN(end_signals); i++) {
        (void)uv_signal_init(&daemon.loop, &daemon.signals[i]); /* cannot fail here */
        daemon.signals[i].data = &daemon;
        (void)uv_signal_start(&daemon.signals[i], on_signal, end_signals[i]);
    }
    (void)uv_signal_init(&daemon.loop, &daemon.reload); /* cannot fail here */
    daemon.reload.data = &daemon;
    (void)uv_signal_start(&daemon.reload, on_reload, SIGHUP);
    r = service_create(&daemon.loop, &daemon.service, err);
    if (r == 0) {
        r = service_take_socket(daemon.service, &listen_fd, err);
    }
    if (r == 0) {
        r = rooms_open(&daemon.loop, config, listen_fd, &source, &daemon.rooms, err);
    }
    if (r < 0) {
        stop(&daemon);
    } else {
        if (config->real_time) {
            be_urgent(&daemon, config);
        }
        service_ready(daemon.service);
        announce(options->ready_fd);
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
    int status;
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
    r = read_config(&options, &config, &err);
    if (r < 0) {
        status = EXIT_USAGE; /* which does not become better by trying again */
    } else if (options.wants_check) {
        status = EXIT_SUCCESS;
    } else {
        r = run(&config, &options, &err);
        status = r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    config_fini(&config);
    if (r < 0) {
        (void)fprintf(stderr, "qvmd: %s\n", err.msg);
    }
    return status;
}
