/* Helpers of a guest: started before its grant, watched, adopted, and ended with it. */
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
#include "proto/base/cleanup.h"
#include "proto/base/file_lock.h"
#include "proto/base/log.h"

#define START_MS  10000 /* until it serves; its image may lie on a slow disk */
#define TALK_SIZE 4096
#define LOST_MS   2000  /* from its end to what is said of it */
#define END_MS    10000 /* to write what it has; then it is killed */

size_t guest_helpers_asked(const struct guest *guest)
{
    size_t count = 0;

    for (size_t i = 0; guest->ask != NULL && i < guest->ask->count; i++) {
        count += guest->ask->items[i].kind == RESOURCE_helper;
    }
    return count;
}

int guest_helpers_check(const struct guest *guest, size_t *bad, struct err *err)
{
    for (size_t i = 0; i < guest->ask->count; i++) {
        const struct wanted *item = &guest->ask->items[i];

        if (item->kind != RESOURCE_helper || ask_is_user(item)) {
            continue;
        }
        *bad = i;
        if (item->is_kept) {
            return err_set(err, -EINVAL,
                           "'%s' lies on a file system that another program or host serves: %s",
                           ask_path(item),
                           ask_is_folder(item) ? "such folders cannot be shared"
                                               : "only 'format raw' and 'format vhd' can be there");
        }
        if (!ask_is_folder(item) && strncmp(item->identity, "file:", 5) != 0) {
            return err_set(err, -EINVAL, "'%s' is not a regular file", ask_path(item));
        }
    }
    return 0;
}

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
    } else if (info.si_code == CLD_EXITED) {
        (void)snprintf(text, size, "it ended with status %d", info.si_status);
    } else {
        (void)snprintf(text, size, "it was ended by signal %d (%s)", info.si_status,
                       strsignal(info.si_status));
    }
}

/* The one that we wait for, or all of them. */
static void tell_asker(struct guest *guest, size_t bad, const struct err *why)
{
    const struct helper *helper;

    if (guest->ask == NULL || guest->ask->on_helpers == NULL) {
        return; /* somebody has refused it meanwhile */
    }
    LIST_FOREACH(helper, &guest->helpers, link)
    {
        if (why->code == 0 && helper->is_starting) {
            return;
        }
    }
    take_ptr(guest->ask->on_helpers)(guest, bad, why);
}

static void fail_start(struct helper *helper, const char *what)
{
    struct guest *guest = helper->guest;
    size_t item = helper->item;
    struct err err = {0};

    if (helper->is_late) {
        (void)err_set(&err, -ETIMEDOUT, "'%s': its helper does not serve it within %d s",
                      helper->path, START_MS / 1000);
    } else {
        (void)err_set(&err, -EINVAL, "'%s': %s", helper->path, what);
    }
    forget(helper);
    tell_asker(guest, item, &err);
}

void helper_tell_lost(struct helper *helper, const char *what)
{
    static const char *const effects[] = {[HELPER_IMAGE] = "disk fails",
                                          [HELPER_FOLDER] = "folder is out of reach",
                                          [HELPER_NETWORK] = "link is down"};
    struct guest *guest = helper->guest;
    char text[STORE_MESSAGE_SIZE];

    (void)snprintf(
        text, sizeof(text),
        "the helper (pid %d) of '%s' is gone: %s; its %s from now on, until the guest is "
        "started anew",
        helper->pid, helper->path, what, effects[helper->kind]);
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
    (void)store_helper_end(helper->guests->env.store, helper->instance, helper->pid, NULL);
    crash_point("end of a helper written"); /* who finds the row again finds no such process */
    if (helper->guest == NULL) {
        forget(helper);
    } else if (helper->is_starting) {
        fail_start(helper, what);
    } else if (helper->kind != HELPER_IMAGE) {
        (void)snprintf(helper->said, sizeof(helper->said), "%s", what);
        helper->is_over = true;
        (void)uv_poll_stop(&helper->life);
        (void)uv_timer_start(&helper->timer, on_lost, LOST_MS, 0); /* cannot fail */
    } else {
        helper_tell_lost(helper, what);
        forget(helper);
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
    helper->pidfd = helper->talk_fd = helper->words_fd = -1;
    return helper;
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
        tell_asker(helper->guest, 0, &none);
    } else if (is_over) {
        (void)uv_poll_stop(&helper->talk);
    }
}

/* What was born is written down, and then let go. One that is watched already is ended otherwise.
 */
static int begin(struct helper *helper, struct helper_born *born, struct err *err)
{
    struct process_id id = {0};
    struct store_helper row = {.pid = born->pid, .path = helper->name};
    int r;

    helper->pid = born->pid;
    helper->pidfd = born->pidfd;
    helper->words_fd = born->words_fd;
    r = process_identify(born->pid, &id, err);
    row.start_ticks = id.start_ticks;
    helper->is_starting = true;
    r = r == 0 ? helper_watch(helper, err) : r;
    r = r == 0 ? store_helper_put(helper->guests->env.store, helper->instance, &row, err) : r;
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

static int start_one(struct guest *guest, size_t index, struct err *err)
{
    struct wanted *item = &guest->ask->items[index];
    bool is_image = !ask_is_folder(item) && !ask_is_user(item);
    const char *name = is_image ? ask_path(item) : item->id;
    struct helper *helper = helper_make(guest->all, guest, guest->instance.id, name);
    struct helper_request request = {.is_writable = item->is_writable,
                                     .reaches_host = guest->all->env.user_network_host,
                                     .owner = guest->owner,
                                     .source_fd = item->fd,
                                     .dir_fd = guest->dir_fd,
                                     .cgroup_fd = guest->cgroup_fd};
    struct helper_born born = {.pidfd = -1, .talk_fd = -1, .words_fd = -1, .socket_fd = -1};
    char format[16];
    int r;

    if (helper == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    helper->item = index;
    request.kind = helper->kind;
    r = 0;
    if (helper->kind == HELPER_IMAGE) {
        (void)snprintf(format, sizeof(format), "%.*s", (int)(strchr(item->id, ':') - item->id),
                       item->id);
        request.format = format;
        /* It locks the image itself, and would meet our lock. Whoever is between is told. */
        r = file_unlock(item->fd) == 0 ? 0
                                       : err_sys(err, -errno, "cannot unlock '%s'", helper->path);
    }
    r = r == 0 ? helper_spawn(&request, &born, err) : r;
    if (r != 0) {
        free(helper->name);
        free(helper);
        return r;
    }
    crash_point("helper made");
    cleanup_close(&item->fd);
    item->fd = born.socket_fd;
    r = begin(helper, &born, err);
    if (r != 0 && helper->open_handles == 0) {
        cleanup_close(&helper->pidfd);
        cleanup_close(&helper->words_fd);
        free(helper->name);
        free(helper);
    } else if (r != 0) {
        helper_end(helper);
    }
    return r;
}

int guest_helpers_start(struct guest *guest, size_t *bad,
                        void (*done)(struct guest *guest, size_t bad, const struct err *why),
                        struct err *err)
{
    struct guest_ask *ask = guest->ask;
    int r = guest_helpers_asked(guest) == 0 ? 1 : 0;

    if (r == 0) {
        ask->on_helpers = done;
    }
    for (size_t i = 0; r == 0 && i < ask->count; i++) {
        *bad = i;
        r = ask->items[i].kind == RESOURCE_helper ? start_one(guest, i, err) : 0;
        if (r != 0) {
            ask->on_helpers = NULL;
        }
    }
    return r;
}

/* ---- all of a guest ---- */

void guest_helpers_end(struct guest *guest)
{
    struct helper *helper;

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
