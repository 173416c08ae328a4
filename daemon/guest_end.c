/* The end of a process: why, and what is left to be put away. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/guest_inside.h"
#include "daemon/instance_dir.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#define LAST_WORDS_MAX 512 /* bytes of the log in which the last line is looked for */

struct cause {
    enum guest_reason reason;
    int exit_status;
    char message[STORE_MESSAGE_SIZE];
};

static void say(struct cause *cause, enum guest_reason reason, const char *message)
{
    cause->reason = reason;
    (void)snprintf(cause->message, sizeof(cause->message), "%s", message);
}

/* The last line of the log, for ends that explain themselves in no other way. */
static void add_last_words(const struct guest *guest, struct cause *cause)
{
    auto_free char *text = NULL;
    size_t size = 0, used = strlen(cause->message);
    char *line;

    if (instance_log_tail(guest->all->env.log_fd, guest->name, LAST_WORDS_MAX, &text, &size, NULL) <
        0) {
        return;
    }
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\0')) {
        text[--size] = '\0';
    }
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] >= 0x80 || ((unsigned char)text[i] < ' ' && text[i] != '\n')) {
            text[i] = '?'; /* the sentence goes into JSON and to terminals */
        }
    }
    line = strrchr(text, '\n');
    line = line != NULL ? line + 1 : text;
    if (line[0] != '\0') {
        (void)snprintf(cause->message + used, sizeof(cause->message) - used,
                       "; the end of its log: %s", line);
    }
}

/* From waitid(2), when there is no record. */
static void read_status(const struct guest *guest, const struct worker_end *end,
                        struct cause *cause)
{
    char text[128];

    if (!end->is_child) {
        say(cause, REASON_unknown, "it ended without a record while no qvmd was its parent");
        return;
    }
    if (end->code == CLD_EXITED) {
        (void)snprintf(text, sizeof(text), "its qvm ended with status %d and left no record",
                       end->status);
    } else {
        (void)snprintf(text, sizeof(text), "its qvm was ended by signal %d (%s)", end->status,
                       strsignal(end->status));
    }
    say(cause, REASON_vmm_crash, text);
    add_last_words(guest, cause);
}

static void find_cause(const struct guest *guest, const struct worker_end *end, struct cause *cause)
{
    struct msg_ending record = {0};
    struct err err = {0};
    int r = -ENOENT;

    cause->exit_status = end != NULL && end->is_child && end->code == CLD_EXITED ? end->status : -1;
    if (guest->dir_fd >= 0) {
        r = instance_dir_read_exit(guest->dir_fd, &record, &err);
        if (r < 0 && r != -ENOENT) {
            log_warn("guest: exit record not read guest=%s why=\"%s\"", guest->name, err.msg);
        }
    }
    if (guest->doom.code != 0) {
        say(cause, guest->doom_reason, guest->doom.msg);
    } else if (r == 0) {
        say(cause, (enum guest_reason)record.reason, record.message != NULL ? record.message : "");
        if (cause->exit_status < 0) {
            cause->exit_status = (int)record.status;
        }
    } else if (guest->is_shot) {
        say(cause, REASON_killed, "an operator ended it");
    } else if (end == NULL) {
        say(cause, REASON_unknown, "it was gone when qvmd looked for it");
    } else if (end->spawn_error != NULL) {
        say(cause, REASON_vmm_crash, "its qvm could not be run: ");
        (void)snprintf(cause->message + strlen(cause->message),
                       sizeof(cause->message) - strlen(cause->message), "%s", end->spawn_error);
    } else {
        read_status(guest, end, cause);
    }
    msg_fini(MSG_ending, &record);
}

void guest_bury(struct guest *guest, const struct worker_end *end)
{
    struct guests *guests = guest->all;
    int64_t instance = guest->instance.id;
    struct cause cause = {0};
    struct life_step step;
    struct err err = {0};

    find_cause(guest, end, &cause);
    guest_no_deadline(guest);
    guest_ask_drop(guest);
    guest_queries_fail(guest);
    worker_destroy(take_ptr(guest->worker));
    cleanup_close(&guest->dir_fd);
    if (instance_dir_remove(guests->env.run_fd, guest->name, instance, &err) < 0) {
        log_warn("guest: left behind guest=%s why=\"%s\"", guest->name, err.msg);
    }
    step = (struct life_step){
        .event = reason_is_failure(cause.reason) ? EVENT_died : EVENT_ended,
        .reason = cause.reason,
        .message = cause.message,
        .exit_status = cause.exit_status,
        .frees_all = !guest_holds_locks(guests, instance),
    };
    if (!step.frees_all) {
        guest_release(guests, guest->name, guest->owner, instance);
    }
    if (guest_life(guest, &step, &err) < 0) {
        log_error("guest: its end has no place in its life guest=%s why=\"%s\"", guest->name,
                  err.msg);
    }
    if (step.frees_all && store_degraded(guests->env.store) != NULL) {
        guest_release(guests, guest->name, guest->owner, instance); /* tried again until it can */
    }
}

void guest_on_ended(void *context, const struct worker_end *end)
{
    guest_bury(context, end);
}
