/* What operators want to be done to the VM. */
#include "qvm-worker/under_act.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/console/console.h"
#include "qvm-worker/control/control.h"
#include "qvm-worker/life.h"
#include "qvm-worker/run.h"
#include "qvm-worker/vdev/host.h"

/* What was left out comes also as nothing at all. */
static const char *given(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

void under_attach(const struct life *life, const struct msg_attach *attach, int *fds,
                  size_t fd_count)
{
    struct console *console = life->console;
    struct err err = {0};
    unsigned flags = (attach->read_only ? (unsigned)CONSOLE_READ_ONLY : 0) |
                     (attach->steal ? (unsigned)CONSOLE_STEAL : 0);
    uint64_t from = attach->no_scrollback ? CONSOLE_FROM_NOW : CONSOLE_FROM_OLDEST;

    if (fd_count != 1) {
        log_warn("control: packet ignored why=\"attach comes with one descriptor\"");
        return;
    }
    if ((given(attach->port) != NULL &&
         vdev_host_port_console(life->vdevs, attach->port, &console, &err) != 0) ||
        console_attach(console, fds[0], flags, from, &err) != 0) {
        log_warn("console: session refused why=\"%s\"", err.msg);
        console_refuse(fds[0], err.msg);
        return;
    }
    fds[0] = -1;
}

void under_type(struct console *console, const struct msg_input *input)
{
    (void)console_type(console, input->data, input->data_size); /* a full queue drops keys */
}

static void answer(struct control *control, int64_t serial, const struct err *err)
{
    char error[64], message[ERR_MSG_SIZE];
    struct msg_acted acted = {.serial = serial};

    if (err != NULL) {
        (void)snprintf(error, sizeof(error), "%s", error_by_code(err->code)->name);
        (void)snprintf(message, sizeof(message), "%s", err->msg);
        acted.error = error;
        acted.message = message;
    }
    (void)control_send(control, CONTROL_acted, &acted); /* nobody there: whoever asks again hears */
}

/* It is done, and something is to be said of it. */
static void answer_with(struct control *control, int64_t serial, const char *remark)
{
    char message[ERR_MSG_SIZE];
    struct msg_acted acted = {.serial = serial, .message = message};

    (void)snprintf(message, sizeof(message), "%s", remark);
    (void)control_send(control, CONTROL_acted, &acted);
}

static void refuse(struct control *control, int64_t serial, int code, const char *why)
{
    struct err err = {0};

    (void)err_set(&err, code, "%s", why);
    answer(control, serial, &err);
}

static void note_done(struct under_acts *acts, const char *key)
{
    if (key != NULL && *key != '\0') {
        (void)snprintf(acts->done[acts->done_count++ % UNDER_ACTS_MAX], UNDER_ACT_KEY_SIZE, "%s",
                       key);
    }
}

static bool is_done(const struct under_acts *acts, const char *key)
{
    for (size_t i = 0; key != NULL && *key != '\0' && i < UNDER_ACTS_MAX; i++) {
        if (strcmp(acts->done[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* Before the act: it may be done at once. */
static void wait_for_reset(struct under_acts *acts, const struct msg_act *act)
{
    if (acts->count == UNDER_ACTS_MAX) { /* qvmd has given it up by now */
        memmove(&acts->waiting[0], &acts->waiting[1],
                (UNDER_ACTS_MAX - 1) * sizeof(acts->waiting[0]));
        acts->count--;
    }
    acts->waiting[acts->count].serial = act->serial;
    (void)snprintf(acts->waiting[acts->count].key, UNDER_ACT_KEY_SIZE, "%s",
                   act->key != NULL ? act->key : "");
    acts->count++;
}

/* Keys of the keyboard, a place of the pointer, or a break on the serial line. */
static void send(struct under_acts *acts, struct control *control, struct run *run,
                 enum msg_control wish, const struct msg_act *act)
{
    struct err err = {0};
    int r = wish == CONTROL_sendbreak ? run_break(run, &err)
            : wish == CONTROL_point   ? run_point(run, (uint16_t)act->x, (uint16_t)act->y, &err)
                                      : run_press(run, act->keys != NULL ? act->keys : "", &err);

    if (r != 0) {
        answer(control, act->serial, &err);
        return;
    }
    note_done(acts, act->key);
    answer(control, act->serial, NULL);
}

static void resize_console(struct under_acts *acts, struct control *control, struct run *run,
                           const struct msg_act *act)
{
    bool is_heard = run_resize(run, given(act->vdev), (uint16_t)act->x, (uint16_t)act->y);

    note_done(acts, act->key);
    if (is_heard) {
        answer(control, act->serial, NULL);
    } else {
        answer_with(control, act->serial, "its console has no size: the guest was not told");
    }
}

static void resize_balloon(struct under_acts *acts, struct control *control, struct run *run,
                           const struct msg_act *act)
{
    struct err err = {0};
    int r = run_balloon(run, (uint64_t)act->size, &err);

    if (r < 0) {
        answer(control, act->serial, &err);
        return;
    }
    note_done(acts, act->key);
    if (r > 0) {
        answer_with(control, act->serial,
                    "the guest's driver is not there yet, and finds it when it is");
    } else {
        answer(control, act->serial, NULL);
    }
}

static void resize_disk(struct under_acts *acts, struct control *control, struct run *run,
                        const struct msg_act *act)
{
    char remark[ERR_MSG_SIZE];
    struct err err = {0};

    if (run_resize_disk(run, act->vdev != NULL ? act->vdev : "", remark, sizeof(remark), &err) !=
        0) {
        answer(control, act->serial, &err);
        return;
    }
    note_done(acts, act->key);
    answer_with(control, act->serial, remark);
}

static void pause(struct under_acts *acts, struct control *control, struct run *run,
                  const struct msg_act *act)
{
    struct err err = {0};

    if (run_pause(run, &err) != 0) {
        answer(control, act->serial, &err);
        return;
    }
    note_done(acts, act->key);
    answer(control, act->serial, NULL);
}

void under_act(struct under_acts *acts, struct control *control, struct run *run,
               enum msg_control wish, const struct msg_act *act)
{
    if (run == NULL) {
        refuse(control, act->serial, -EALREADY, "the guest does not run yet");
        return;
    }
    if (is_done(acts, act->key)) {
        answer(control, act->serial, NULL);
        return;
    }
    if (wish == CONTROL_sendkey || wish == CONTROL_sendbreak || wish == CONTROL_point) {
        send(acts, control, run, wish, act);
    } else if (wish == CONTROL_console_size) {
        resize_console(acts, control, run, act);
    } else if (wish == CONTROL_balloon) {
        resize_balloon(acts, control, run, act);
    } else if (wish == CONTROL_resize) {
        resize_disk(acts, control, run, act);
    } else if (wish == CONTROL_reset_button) {
        wait_for_reset(acts, act);
        run_reset(run);
    } else if (wish == CONTROL_reboot) {
        wait_for_reset(acts, act);
        run_reboot(run, (uint64_t)act->timeout_ms);
    } else if (wish == CONTROL_pause) {
        pause(acts, control, run, act);
    } else {
        run_resume(run);
        note_done(acts, act->key);
        answer(control, act->serial, NULL);
    }
}

void under_dump(struct under_acts *acts, struct control *control, struct run *run,
                const struct msg_act *act, int fd)
{
    struct err err = {0};

    if (run == NULL || fd < 0) {
        refuse(control, act->serial, -EALREADY, "there is nothing to dump, or no file for it");
    } else if (is_done(acts, act->key)) {
        answer(control, act->serial, NULL);
    } else if (run_dump(run, fd, &err) != 0) {
        log_warn("run: dump failed why=\"%s\"", err.msg);
        answer(control, act->serial, &err);
    } else {
        log_info("run: dump written");
        note_done(acts, act->key);
        answer(control, act->serial, NULL);
    }
    if (run != NULL) {
        run_dump_over(run);
    }
}

void under_acts_on_reset(struct under_acts *acts, struct control *control)
{
    for (size_t i = 0; i < acts->count; i++) {
        note_done(acts, acts->waiting[i].key);
        answer(control, acts->waiting[i].serial, NULL);
    }
    acts->count = 0;
}
