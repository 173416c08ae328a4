/* A VM without a daemon. */
#include "qvm-worker/alone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/console/terminal.h"
#include "qvm-worker/control/grant.h"
#include "qvm-worker/dryrun.h"
#include "qvm-worker/dump_opener.h"
#include "qvm-worker/exit_status.h"
#include "qvm-worker/life.h"
#include "qvm-worker/lockdown/confine.h"
#include "qvm-worker/vdev/host.h"
#include "qvm-worker/vm/vm_ahead.h"

#define IOMEM "/proc/iomem"

#define DUMP_NAME_SIZE 512 /* of it, in the log */

struct alone {
    struct life life;
    struct terminal *terminal;
    struct dump_opener *opener; /* NULL: no `dump` */
};

static void on_keys(void *context, const uint8_t *keys, size_t count)
{
    struct alone *alone = context;

    (void)console_type(alone->life.console, keys, count); /* a full queue drops keys, as a PC */
}

static void on_escape(void *context)
{
    struct alone *alone = context;

    run_finish(alone->life.run, REASON_killed, EXIT_STATUS_POWER_CUT, "left by ctrl-]");
}

/* Give the console a session at a copy of our own output (and input, if that is no terminal). */
static int attach(struct alone *alone, bool with_input, struct err *err)
{
    auto_close int in = with_input ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : -1;
    auto_close int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    unsigned flags = CONSOLE_PLAIN | (in < 0 ? (unsigned)CONSOLE_READ_ONLY : 0);
    int r = 0;

    if (in >= 0 || out >= 0) {
        r = console_attach_pair(alone->life.console, in, out, flags, CONSOLE_FROM_OLDEST, err);
    }
    if (r == 0) {
        (void)take_fd(&in);
        (void)take_fd(&out);
    }
    return r;
}

static int take_terminal(struct alone *alone, struct err *err)
{
    static const struct terminal_events events = {on_keys, on_escape};
    int r;

    if (!vdev_host_uses_console(alone->life.plan.vdevs)) {
        return 0;
    }
    if (isatty(STDIN_FILENO) != 1) {
        return attach(alone, true, err);
    }
    r = attach(alone, false, err);
    if (r == 0 && terminal_is_there()) {
        r = terminal_create(alone->life.loop, &events, alone, &alone->terminal, err);
    }
    return r;
}

static int open_vdevs(const char *const *env, struct err *err)
{
    static const char name[] = "QVM_VDEVS=";
    const char *path = QVM_VDEVDIR;
    int fd;

    for (; *env != NULL; env++) {
        if (strncmp(*env, name, sizeof(name) - 1) == 0) {
            path = *env + sizeof(name) - 1;
        }
    }
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0
               ? fd
               : err_sys(err, -errno,
                         "cannot open the folder of vdevs '%s' (QVM_VDEVS names another)", path);
}

/* Whether these words may want a VM: the others only say something. */
static bool may_run(const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], "dryrun") == 0 || strcmp(words[i], "?") == 0) {
            return false;
        }
    }
    return true;
}

/* The host's memory by name, if the words speak of it. */
static int read_regions(struct life *life, struct err *err)
{
    auto_free char *text = NULL;
    size_t size = 0;
    FILE *file;
    int r;

    if (!conf_parts_want_regions(life->sources.parts, life->sources.count)) {
        return 0;
    }
    file = fopen(IOMEM, "re");
    if (file == NULL) {
        return err_sys(err, -errno, "cannot read %s", IOMEM);
    }
    r = getdelim(&text, &size, '\0', file) > 0 ? conf_regions_add_iomem(&life->regions, text) : 0;
    (void)fclose(file); /* it was only read */
    return r == 0 ? 0 : err_sys(err, r, "cannot take in %s", IOMEM);
}

/* Read the configuration. Failures are the configuration's, but for the host's own. */
static int prepare(struct alone *alone, const char *const *words, size_t count,
                   const char *const *env, struct err *err)
{
    auto_close int vdevs = open_vdevs(env, err);
    int r = vdevs < 0 ? vdevs : life_begin(&alone->life, vdevs, err);

    if (r != 0) {
        life_set_end(&alone->life, REASON_vmm_crash, EXIT_STATUS_BEFORE, err->msg);
        return r;
    }
    r = sources_from_command_line(&alone->life.sources, words, count, env, err);
    r = r == 0 ? read_regions(&alone->life, err) : r;
    r = r == 0 ? life_plan(&alone->life, err) : r;
    if (r != 0) {
        life_set_end(&alone->life, REASON_config_error, EXIT_STATUS_CONFIG, err->msg);
    }
    return r;
}

static bool on_want_dump(void *context)
{
    struct alone *alone = context;
    auto_close int fd = -1;
    char name[DUMP_NAME_SIZE];
    struct err err = {0};

    if (dump_opener_open(alone->opener, &fd, name, sizeof(name), &err) == 0 &&
        run_dump(alone->life.run, fd, &err) == 0) {
        log_info("run: dump written to=\"%s\"", name);
    } else {
        log_warn("run: dump failed why=\"%s\"", err.msg);
    }
    return false;
}

static int make_opener(struct alone *alone, struct err *err)
{
    const struct plan *plan = &alone->life.plan;

    return plan->dump.where != NULL
               ? dump_opener_create(&plan->dump, plan->name, &alone->opener, err)
               : 0;
}

/* Nothing is opened by name from here on. */
static int take_host(struct alone *alone, int *fds, struct err *err)
{
    int r = grant_self(&alone->life.plan, fds, err);

    if (r == 0) {
        r = make_opener(alone, err);
        r = r == 0 ? confine_from_host(err) : r;
        for (uint32_t i = 0; r != 0 && i < PLAN_FDS_MAX; i++) {
            cleanup_close(&fds[i]);
        }
    }
    return r;
}

/* The machine is begun before the terminal is: its first vCPU is made beside what follows. */
static int run(struct alone *alone, struct err *err)
{
    int fds[PLAN_FDS_MAX];
    const struct run_spec spec = {.want_dump = on_want_dump, .context = alone};
    int r = take_host(alone, fds, err);

    if (r != 0) {
        life_set_end(&alone->life, REASON_denied, EXIT_STATUS_BEFORE, err->msg);
        return r;
    }
    r = life_prepare(&alone->life, &spec, err);
    if (r == 0) {
        r = take_terminal(alone, err);
        if (r != 0) {
            life_set_end(&alone->life, REASON_denied, EXIT_STATUS_BEFORE, err->msg);
        }
    }
    r = r == 0 ? life_run(&alone->life, &spec, fds, err) : r;
    if (r == 0 && life_end(&alone->life)->reason == REASON_none) {
        (void)uv_run(alone->life.loop, UV_RUN_DEFAULT);
    }
    return r;
}

static int act(struct alone *alone, const char *const *words, size_t count, const char *const *env,
               struct err *err)
{
    int r = prepare(alone, words, count, env, err);

    if (r != 0) {
        return r;
    }
    if (alone->life.plan.wants_settings) {
        plan_list_settings(stdout);
    } else if (alone->life.plan.is_dryrun) {
        r = dryrun(&alone->life.plan, alone->life.vdevs, alone->life.loop, stdout, err);
        if (r != 0) {
            life_set_end(&alone->life, REASON_config_error, EXIT_STATUS_CONFIG, err->msg);
        }
    } else {
        r = run(alone, err);
    }
    return r;
}

/* A sentence for people: FILE:LINE comes first. Who started it is told, whatever `logger` says of
 * the VM's lines. */
static void tell_why(const struct life *life, const struct err *err)
{
    const struct plan_log *log = &life->plan.log;
    bool is_told = !life->has_loggers || ((log->to[PLAN_LOG_STDERR] | log->to[PLAN_LOG_STDOUT]) &
                                          LOG_BIT(LOG_fatal)) != 0;

    log_line(LOG_fatal, "%s", err->msg);
    if (!is_told) {
        (void)fprintf(stderr, "%s\n", err->msg);
    }
}

int alone_main(const char *const *words, size_t count, const char *const *env)
{
    static struct alone alone; /* large: clearing it on the stack would touch all its pages */
    struct err err = {0};
    struct exit_record end;
    int r;

    if (may_run(words, count)) {
        /* Without it grant_self says why. */
        alone.life.ahead = vm_ahead_start(open(PLAN_KVM_PATH, O_RDWR | O_CLOEXEC));
    }
    r = act(&alone, words, count, env, &err);
    life_quiesce(&alone.life);
    terminal_destroy(alone.terminal);
    end = *life_end(&alone.life);
    if (r != 0) {
        tell_why(&alone.life, &err);
    } else if (end.reason != REASON_none) {
        log_info("run: ended reason=%s status=%d message=\"%s\"",
                 words_name(&words_reason, (int)end.reason), end.status, end.message);
    }
    life_fini(&alone.life);
    dump_opener_destroy(alone.opener);
    return end.status;
}
