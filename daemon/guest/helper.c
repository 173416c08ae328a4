/* Helpers of a guest: processes that are started, watched, and ended with it. */
#include "daemon/guest/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/crash_point.h"
#include "daemon/guest/ask.h"
#include "daemon/guest/helper_inside.h"
#include "daemon/worker/spawn.h"
#include "proto/base/cleanup.h"
#include "proto/base/file_lock.h"
#include "proto/base/log.h"

#define START_MS  10000 /* until it serves; its image may lie on a slow disk */
#define TALK_SIZE 4096
#define LOST_MS   2000  /* from its end to what is said of it */
#define END_MS    10000 /* to write what it has; then it is killed */

/* ---- its handles ---- */

static void on_closed(uv_handle_t *handle)
{
    struct helper *helper = handle->data;

    helper->open_handles--;
    if (helper->open_handles == 0) {
        cleanup_close(&helper->pidfd);
        cleanup_close(&helper->talk_fd);
        cleanup_close(&helper->words_fd);
        free(helper->name);
        free(helper);
    }
}

static void stop_talk(struct helper *helper)
{
    (void)uv_timer_stop(&helper->timer);
    if (helper->talk_fd >= 0 && uv_is_closing((uv_handle_t *)&helper->talk) == 0) {
        uv_close((uv_handle_t *)&helper->talk, on_closed);
    }
}

static void leave_list(struct helper *helper)
{
    if (helper->is_listed) {
        LIST_REMOVE(helper, link);
        helper->is_listed = false;
    }
    helper->guest = NULL;
}

static void forget(struct helper *helper)
{
    leave_list(helper);
    stop_talk(helper);
    if (uv_is_closing((uv_handle_t *)&helper->life) == 0) {
        uv_close((uv_handle_t *)&helper->life, on_closed);
        uv_close((uv_handle_t *)&helper->timer, on_closed);
    }
}

/* ---- its end ---- */

/* Whether it says that it serves; if not, it may complain. `*is_over`: it will not say more. */
static bool hear(struct helper *helper, bool *is_over)
{
    char text[TALK_SIZE];
    ssize_t n = recv(helper->talk_fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    *is_over = n == 0 || (n < 0 && errno != EAGAIN);
    text[n > 0 ? n : 0] = '\0';
    return n > 0 && helper_serves(helper->kind, text, helper->said, sizeof(helper->said));
}

/* The program's own words of an image say what is wrong with it, and not what to do. */
static void add_advice(const struct helper *helper, const siginfo_t *info, char *text, size_t size)
{
    size_t used = strlen(text);
    bool is_vhd = strcmp(helper->format, "vhd-dynamic") == 0;

    if (helper->kind == HELPER_IMAGE && helper->is_starting && info->si_code == CLD_EXITED &&
        info->si_status != SPAWN_EXIT_FAILED) {
        used -= used > 0 && text[used - 1] == '.';
        (void)snprintf(text + used, size - used, "; `qemu-img %s -f %s` tells more",
                       is_vhd ? "info" : "check", is_vhd ? "vpc" : helper->format);
    }
}

static void describe_end(struct helper *helper, char *text, size_t size)
{
    siginfo_t info = {0};
    char words[512];
    bool is_over;

    if (helper->is_starting && helper->talk_fd >= 0) {
        (void)hear(helper, &is_over);
    }
    helper_read_words(helper->words_fd, words, sizeof(words));
    if (words[0] == '\0') {
        (void)snprintf(words, sizeof(words), "%s", helper->said);
    }
    if (waitid(P_PIDFD, (id_t)helper->pidfd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) {
        (void)snprintf(text, size, "it has ended");
    } else if (words[0] != '\0') {
        (void)snprintf(text, size, "%s", words);
        add_advice(helper, &info, text, size);
    } else if (info.si_code == CLD_EXITED) {
        (void)snprintf(text, size, "it ended with status %d", info.si_status);
    } else {
        (void)snprintf(text, size, "it was ended by signal %d (%s)", info.si_status,
                       strsignal(info.si_status));
    }
}

static void fail_start(struct helper *helper, const char *what)
{
    struct guest *guest = helper->guest;
    size_t item = (size_t)helper->item;
    struct err err = {0};

    if (helper->is_late) {
        (void)err_set(&err, -ETIMEDOUT, "'%s': its helper does not serve it within %d s",
                      helper->path, START_MS / 1000);
    } else {
        (void)err_set(&err, -EINVAL, "'%s': %s", helper->path, what);
    }
    if (helper->again != NULL) {
        helper_again_failed(helper, &err);
        forget(helper);
        return;
    }
    forget(helper);
    helper_asked(guest, item, &err);
}

void helper_tell_lost(const struct helper *helper, const char *what)
{
    static const char *const effects[] = {[HELPER_IMAGE] = "disk fails from now on",
                                          [HELPER_FOLDER] = "folder is out of reach from now on",
                                          [HELPER_NETWORK] = "link is down from now on"};
    static const char *const waits[] = {[HELPER_IMAGE] = "disk waits for another one",
                                        [HELPER_FOLDER] = "folder waits for another one",
                                        [HELPER_NETWORK] = "link is down until there is another"};
    bool is_followed = helper->item >= 0;
    struct guest *guest = helper->guest;
    char text[STORE_MESSAGE_SIZE];

    (void)snprintf(text, sizeof(text), "the helper (pid %d) of '%s' is gone: %s; its %s%s",
                   helper->pid, helper->path, what,
                   is_followed ? waits[helper->kind] : effects[helper->kind],
                   is_followed ? "" : ", until the guest is started anew");
    log_warn("guest: helper lost guest=%s why=\"%s\"", guest->name, text);
    guest_tell(guest, WHAT_helper_lost, text, 0);
}

/* One that ends when its qvm closes its connection may be heard of before that qvm's end. */
static void on_lost(uv_timer_t *timer)
{
    struct helper *helper = timer->data;

    helper_tell_lost(helper, helper->said);
    forget(helper);
}

void helper_tell_now(struct helper *helper)
{
    on_lost(&helper->timer);
}

/* Its guest lives, as far as is known. */
static void lose(struct helper *helper, const char *what)
{
    struct guest *guest = helper->guest;
    int64_t item = helper->item;

    if (helper->kind != HELPER_IMAGE && !helper_again_is_wished(guest, item)) {
        (void)snprintf(helper->said, sizeof(helper->said), "%s", what);
        helper->is_over = true;
        (void)uv_poll_stop(&helper->life);
        (void)uv_timer_start(&helper->timer, on_lost, LOST_MS, 0); /* cannot fail */
        return;
    }
    helper_tell_lost(helper, what);
    forget(helper);
    helper_again_gone(guest, item);
}

static void on_gone(uv_poll_t *poll_handle, int status, int events)
{
    struct helper *helper = poll_handle->data;
    struct pollfd ended = {.fd = helper->pidfd, .events = POLLIN};
    char what[STORE_MESSAGE_SIZE / 2];

    (void)events;
    if (poll(&ended, 1, 0) != 1 || (ended.revents & POLLIN) == 0) {
        log_error("guest: told of an end that was none pid=%d status=%d", helper->pid, status);
        return;
    }
    describe_end(helper, what, sizeof(what));
    if (helper->guest != NULL && helper->item >= 0) {
        (void)store_helper_lose(helper->guests->env.store, helper->instance, helper->pid, NULL);
    } else {
        (void)store_helper_end(helper->guests->env.store, helper->instance, helper->pid, NULL);
    }
    crash_point("end of a helper written"); /* who finds the row again finds no such process */
    if (helper->guest == NULL) {
        forget(helper);
    } else if (helper->is_starting) {
        fail_start(helper, what);
    } else {
        lose(helper, what);
    }
}

static void on_late(uv_timer_t *timer)
{
    struct helper *helper = timer->data;

    helper->is_late = true;
    (void)process_signal(helper->pidfd, SIGKILL, NULL); /* gone already: its end comes */
}

/* It writes what it has not written yet: tables of the image, which a killed one would lose, and
 * with them data that a guest wrote and did not flush. One that does not serve has nothing. */
void helper_end(struct helper *helper)
{
    int how = helper->is_starting ? SIGKILL : SIGTERM;

    if (helper->is_over) {
        forget(helper);
        return;
    }
    leave_list(helper);
    helper->again = NULL;
    LIST_INSERT_HEAD(&helper->guests->ending, helper, link);
    helper->is_listed = true;
    stop_talk(helper);
    (void)process_signal(helper->pidfd, how, NULL);           /* gone already: its end comes */
    (void)uv_timer_start(&helper->timer, on_late, END_MS, 0); /* cannot fail */
}

/* ---- its beginning ---- */

struct helper *helper_make(struct guests *guests, struct guest *guest, int64_t instance,
                           const char *name)
{
    static const struct {
        const char *start;
        enum helper_kind kind;
    } names[] = {{ASK_FOLDER, HELPER_FOLDER},
                 {ASK_USER, HELPER_NETWORK}}; /* else an image's path */
    struct helper *helper = calloc(1, sizeof(*helper));

    if (helper == NULL || (helper->name = strdup(name)) == NULL) {
        free(helper);
        return NULL;
    }
    helper->path = helper->name;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strncmp(name, names[i].start, strlen(names[i].start)) == 0) {
            helper->kind = names[i].kind;
            helper->path = helper->name + strlen(names[i].start);
        }
    }
    helper->guests = guests;
    helper->guest = guest;
    helper->instance = instance;
    helper->item = -1;
    helper->pidfd = helper->talk_fd = helper->words_fd = -1;
    return helper;
}

void helper_unmake(struct helper *helper)
{
    if (helper != NULL) {
        cleanup_close(&helper->pidfd);
        cleanup_close(&helper->words_fd);
        free(helper->name);
        free(helper);
    }
}

int helper_watch(struct helper *helper, struct err *err)
{
    uv_loop_t *loop = helper->guests->env.loop;

    if (uv_poll_init(loop, &helper->life, helper->pidfd) != 0) {
        return err_set(err, -ENOMEM, "cannot watch a helper");
    }
    (void)uv_timer_init(loop, &helper->timer); /* cannot fail */
    helper->life.data = helper->timer.data = helper->talk.data = helper;
    helper->open_handles = 2;
    (void)uv_poll_start(&helper->life, UV_READABLE, on_gone); /* cannot fail */
    if (helper->guest != NULL) {
        LIST_INSERT_HEAD(&helper->guest->helpers, helper, link);
        helper->is_listed = true;
    }
    return 0;
}

/* It says when it serves; if it ends, its end is what counts. */
static void on_talk(uv_poll_t *poll_handle, int status, int events)
{
    struct helper *helper = poll_handle->data;
    struct err none = {0};
    bool is_over = status != 0, serves = !is_over && hear(helper, &is_over);

    (void)events;
    if (serves) {
        crash_point("helper serves");
        helper->is_starting = false;
        helper->said[0] = '\0';
        stop_talk(helper);
        if (helper->again != NULL) {
            helper_again_serves(helper);
        } else {
            helper_asked(helper->guest, 0, &none);
        }
    } else if (is_over) {
        (void)uv_poll_stop(&helper->talk);
    }
}

/* What was born is written down, and then let go. One that is watched already is ended otherwise.
 */
static int let_run(struct helper *helper, struct helper_born *born, struct err *err)
{
    struct process_id id = {0};
    struct store_helper row = {.item = helper->item,
                               .pid = born->pid,
                               .path = helper->name,
                               .is_writable = helper->is_writable};
    int r;

    (void)snprintf(row.format, sizeof(row.format), "%s", helper->format);
    (void)snprintf(row.vdev, sizeof(row.vdev), "%s", helper->vdev);
    helper->pid = born->pid;
    helper->pidfd = born->pidfd;
    helper->words_fd = born->words_fd;
    r = process_identify(born->pid, &id, err);
    row.start_ticks = id.start_ticks;
    helper->is_starting = true;
    r = r == 0 ? helper_watch(helper, err) : r;
    r = r == 0 ? store_helper_put(helper->guests->env.store, helper->instance, &row, err) : r;
    r = r == 0 && helper->guest != NULL ? guest_keep_identity_anew(helper->guest, err) : r;
    if (r != 0) {
        cleanup_close(&born->talk_fd); /* which ends it, too */
        return r;
    }
    crash_point("helper written");
    if (uv_poll_init(helper->guests->env.loop, &helper->talk, born->talk_fd) == 0) {
        helper->talk_fd = born->talk_fd;
        helper->open_handles++;
        (void)uv_poll_start(&helper->talk, UV_READABLE, on_talk); /* cannot fail */
    }
    (void)uv_timer_start(&helper->timer, on_late, START_MS, 0); /* cannot fail */
    r = helper->talk_fd >= 0 ? helper_let_go(born, err) : err_set(err, -ENOMEM, "out of memory");
    crash_point("helper let go");
    return r;
}

int helper_begin(struct helper *helper, int *source_fd, int *socket_fd, struct err *err)
{
    const struct guest *guest = helper->guest;
    struct helper_request request = {.kind = helper->kind,
                                     .format = helper->kind == HELPER_IMAGE ? helper->format : NULL,
                                     .is_writable = helper->is_writable,
                                     .reaches_host = guest->all->env.user_network_host,
                                     .owner = guest->owner,
                                     .source_fd = *source_fd,
                                     .dir_fd = guest->dir_fd,
                                     .cgroup_fd = guest->cgroup_fd};
    struct helper_born born = {.pidfd = -1, .talk_fd = -1, .words_fd = -1, .socket_fd = -1};
    int r = 0;

    /* It locks the image itself, and would meet our lock. Whoever is between is told. */
    if (helper->kind == HELPER_IMAGE && file_unlock(*source_fd) != 0) {
        r = err_sys(err, -errno, "cannot unlock '%s'", helper->path);
    }
    r = r == 0 ? helper_spawn(&request, &born, err) : r;
    if (r != 0) {
        helper_unmake(helper);
        return r;
    }
    crash_point("helper made");
    cleanup_close(source_fd);
    *socket_fd = born.socket_fd;
    r = let_run(helper, &born, err);
    if (r != 0 && helper->open_handles == 0) {
        helper_unmake(helper);
    } else if (r != 0) {
        if (helper->again != NULL) { /* the next one is to know what it would have served */
            (void)store_helper_lose(helper->guests->env.store, helper->instance, helper->pid, NULL);
        }
        helper_end(helper);
    }
    return r;
}

/* ---- all of a guest ---- */

void guest_helpers_end(struct guest *guest)
{
    struct helper *helper;

    guest_helpers_again_drop(guest);
    (void)store_helper_end(guest->all->env.store, guest->instance.id, 0, NULL); /* swept later */

    while ((helper = LIST_FIRST(&guest->helpers)) != NULL) {
        helper_end(helper);
    }
}

bool guest_helpers_are_ending(const struct guest *guest)
{
    const struct helper *helper;

    LIST_FOREACH(helper, &guest->all->ending, link)
    {
        if (helper->instance == guest->instance.id) {
            return true;
        }
    }
    return false;
}

void guest_helpers_drop(struct guest *guest)
{
    struct helper *helper;

    guest_helpers_again_drop(guest);

    while ((helper = LIST_FIRST(&guest->helpers)) != NULL) {
        forget(helper);
    }
}

void guests_helpers_drop(struct guests *guests)
{
    struct helper *helper;

    while ((helper = LIST_FIRST(&guests->ending)) != NULL) {
        forget(helper);
    }
}
