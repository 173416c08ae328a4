/* The end of a process: why, and what is left to be put away. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/guest/cable.h"
#include "daemon/guest/helper.h"
#include "daemon/guest/inside.h"
#include "daemon/worker/instance_dir.h"
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

/* The line as the qvm wrote it: qvmd put a time and a blank before it. */
static char *skip_time(char *line)
{
    char *blank = strchr(line, ' ');

    return blank != NULL && strncmp(line, "20", 2) == 0 ? blank + 1 : line;
}

/* The last line of the log, for ends that explain themselves in no other way. */
static void add_last_words(struct guest *guest, struct cause *cause)
{
    auto_free char *text = NULL;
    size_t size = 0, used = strlen(cause->message);
    char *line;

    if (log_file_tail(&guest->log, LAST_WORDS_MAX, &text, &size, NULL) < 0) {
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
    line = strncmp(line, "-- qvm: ", 8) != 0 ? skip_time(line) : line + strlen(line);
    if (line[0] != '\0') {
        (void)snprintf(cause->message + used, sizeof(cause->message) - used,
                       "; the end of its log: %s", line);
    }
}

/* From waitid(2), when there is no record. */
static void read_status(struct guest *guest, const struct worker_end *end, struct cause *cause)
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

/* The kernel tells the control group of whom it killed for want of memory. */
static bool was_oom(const struct guest *guest, const struct worker_end *end, bool *by_limit)
{
    bool may_be =
        end == NULL || !end->is_child || (end->code != CLD_EXITED && end->status == SIGKILL);

    return may_be && cgroup_was_oom(guest->cgroup_fd, by_limit);
}

static void find_cause(struct guest *guest, const struct worker_end *end, struct cause *cause)
{
    struct msg_ending record = {0};
    struct err err = {0};
    bool by_limit = false;
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
        say(cause, REASON_killed, "it was ended by force");
    } else if (was_oom(guest, end, &by_limit)) {
        say(cause, REASON_oom,
            by_limit ? "the kernel ended its qvm, which needed more than its memory limit"
                     : "the kernel ended its qvm, for the host's memory ran out");
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

static bool is_end_unwritten(const struct guest *guest, int64_t instance)
{
    return guest->is_state_unwritten && guest->instance.id == instance;
}

void guest_remove_dir(struct guests *guests, const char *name, int64_t instance)
{
    struct err err = {0};

    if (instance_dir_remove(guests->env.run_fd, name, instance, &err) < 0) {
        log_warn("guest: left behind guest=%s why=\"%s\"", name, err.msg);
    }
}

void guest_bury(struct guest *guest, const struct worker_end *end)
{
    struct guests *guests = guest->all;
    struct guest_figures *figures = take_ptr(guest->figures);
    int64_t instance = guest->instance.id;
    char name[GUEST_NAME_MAX + 1];
    struct guest_leaving leaving = {
        .guest = name, .instance = instance, .uid = guest->instance.uid, .is_wary = guest->is_wary};
    struct cause cause = {0};
    char words[STORE_MESSAGE_SIZE];
    struct life_step step;
    struct err err = {0};

    memcpy(name, guest->name, sizeof(name));
    guest_logs_drain(guest);
    find_cause(guest, end, &cause);
    guest_logs_end(guest, words_name(&words_reason, (int)cause.reason));
    guest_no_deadline(guest);
    guest_ask_drop(guest);
    guest_cables_drop(guest);
    guest_queries_fail(guest);
    guest_connect_drop(guest);
    worker_destroy(take_ptr(guest->worker));
    guest_shmem_end(guest);
    cleanup_close(&guest->dir_fd);
    guest_helpers_end(guest);
    guest_cgroup_end(guest); /* and whoever else belonged to the instance */
    step = (struct life_step){
        .reason = cause.reason,
        .message = cause.message,
        .exit_status = cause.exit_status,
        .frees_all = !guest_holds_locks(guests, instance),
    };
    guest_judge(guest, &step, words);
    if (!step.frees_all) {
        guest_release(guests, guest->name, guest->owner, instance);
    }
    if (guest_life(guest, &step, &err) < 0) {
        log_error("guest: its end has no place in its life guest=%s why=\"%s\"", guest->name,
                  err.msg);
    }
    guest_acts_end(guest);
    guest_dumps_fail(guest, -ECANCELED, "the guest has ended");
    if (step.frees_all && store_degraded(guests->env.store) != NULL) {
        guest_release(guests, guest->name, guest->owner, instance); /* tried again until it can */
    }
    /* Last: as long as its end is not written, the record must be there. */
    if (!is_end_unwritten(guest, instance)) {
        guest_remove_dir(guests, name, instance);
    }
    leaving.fd_count = guest_figures_take(figures, leaving.fds);
    guest_figures_destroy(guests, figures, leaving.is_wary);
    guests_leave(guests, &leaving);
}

/* A spare can be ended by somebody, or by the kernel for want of memory, after it was found to live
 * and before it has become the guest's qvm: that is no failure of the guest's. */
static bool was_spare_lost(const struct guest *guest, const struct worker_end *end)
{
    return guest->is_of_spare && guest->state == STATE_starting && guest->doom.code == 0 &&
           !guest->is_shot && end->is_child && end->code != CLD_EXITED && end->spawn_error == NULL;
}

void guest_on_ended(void *context, const struct worker_end *end)
{
    struct guest *guest = context;

    if (was_spare_lost(guest, end)) {
        guest_launch_again(guest);
    } else {
        guest_bury(guest, end);
    }
}
