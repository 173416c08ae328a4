/* What is wrong with guests: rows against processes, directories, control groups, claims. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/guest/doctor.h"
#include "daemon/guest/inside.h"
#include "daemon/host/text.h"
#include "daemon/host/usage.h"
#include "daemon/worker/instance_dir.h"
#include "proto/base/cleanup.h"

#define PATH_SIZE      64
#define TEXT_SIZE      256
#define ADVICE_RESTART "stop and start the guest when that suits its users"

struct checkup {
    struct guests *guests;
    struct doctor *doctor;
};

/* ---- one guest's process ---- */

/* Where a thread that waits uninterruptibly hangs in the kernel; empty: it does not. */
static void find_hanging(const struct guest *guest, const struct usage *usage,
                         char where[TEXT_SIZE])
{
    where[0] = '\0';
    for (size_t i = 0; i < usage->thread_count; i++) {
        const struct usage_thread *thread = &usage->threads[i];
        char path[PATH_SIZE], place[TEXT_SIZE / 2] = "unknown";

        if (thread->state[0] == 'D') {
            (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", guest->instance.pid,
                           thread->tid);
            (void)text_read(path, place, sizeof(place), NULL); /* unknown, then */
            (void)snprintf(where, TEXT_SIZE, "; its thread %s hangs in the kernel at %s",
                           thread->name, place);
            return;
        }
    }
}

static bool is_stopped(const struct usage *usage)
{
    for (size_t i = 0; i < usage->thread_count; i++) {
        if (usage->threads[i].state[0] != 'T' && usage->threads[i].state[0] != 't') {
            return false;
        }
    }
    return usage->thread_count > 0;
}

static void look_at_state(struct checkup *checkup, const struct guest *guest,
                          const struct usage *usage)
{
    char hanging[TEXT_SIZE];
    pid_t pid = guest->instance.pid;

    find_hanging(guest, usage, hanging);
    if (guest->state == STATE_stuck) {
        doctor_find(checkup->doctor, DOCTOR_PROBLEM, "guest-stuck", guest->name,
                    "it goes when what it waits for answers; until then it keeps what it holds. "
                    "If that never happens, only a restart of the host helps",
                    "its process %d was killed and does not go%s", pid, hanging);
    } else if (is_stopped(usage)) {
        doctor_find(checkup->doctor, DOCTOR_PROBLEM, "guest-stopped", guest->name,
                    "find out who stopped it (a debugger?), and let it go on: kill -CONT PID",
                    "all threads of its process %d are stopped by a signal", pid);
    } else if (guest->state == STATE_unreachable) {
        doctor_find(checkup->doctor, DOCTOR_PROBLEM, "guest-unreachable", guest->name,
                    "its log may say why (qvmctl log); qvmd asks it again each minute. `qvmctl "
                    "kill` ends it",
                    "its process %d lives and does not answer qvmd%s", pid, hanging);
    } else if (hanging[0] != '\0') {
        doctor_find(checkup->doctor, DOCTOR_WARNING, "guest-hangs", guest->name,
                    "look at the device or file system that it waits for",
                    "its process %d waits and cannot be interrupted%s", pid, hanging);
    }
}

/* Whether the program that `pid` runs is another one than that at `program`. Unknown is no. */
static bool runs_another_program(pid_t pid, const char *program)
{
    char path[PATH_SIZE];
    struct stat runs, is_there;

    (void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    return stat(path, &runs) == 0 &&
           (stat(program, &is_there) < 0 || runs.st_ino != is_there.st_ino ||
            runs.st_dev != is_there.st_dev);
}

static void look_at_process(struct checkup *checkup, const struct guest *guest)
{
    struct usage usage;

    if (usage_read(guest->instance.pid, guest->instance.start_ticks, &usage, NULL) < 0) {
        doctor_find(checkup->doctor, DOCTOR_PROBLEM, "guest-without-process", guest->name,
                    "qvmd sees the end of a process at once; if this is still so a minute later, "
                    "restart qvmd, which looks anew, and report it",
                    "it is %s, and its process %d is gone",
                    words_name(&words_state, (int)guest->state), guest->instance.pid);
        return;
    }
    look_at_state(checkup, guest, &usage);
    usage_fini(&usage);
    if (runs_another_program(guest->instance.pid, checkup->guests->env.qvm_path)) {
        doctor_find(checkup->doctor, DOCTOR_HINT, "old-qvm", guest->name, ADVICE_RESTART,
                    "it runs another qvm than the one that is installed now");
    }
}

static void look_at_guest(struct checkup *checkup, const struct guest *guest)
{
    if (state_has_process(guest->state) && guest->instance.pid > 0) {
        look_at_process(checkup, guest);
    } else if (guest->settings.enabled && guest->state == STATE_failed) {
        doctor_find(checkup->doctor, DOCTOR_WARNING, "enabled-failed", guest->name,
                    "see `qvmctl log` and `qvmctl show`; then `qvmctl start`, or `qvmctl disable`",
                    "it is to run with the host, and has failed: %s", guest->instance.message);
    }
}

/* ---- what is left behind ---- */

static bool is_live_instance(const struct guests *guests, const char *name)
{
    const struct guest *guest;
    char own[INSTANCE_DIR_NAME_SIZE];

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        if (state_has_process(guest->state) &&
            strcmp(instance_dir_name(guest->name, guest->instance.id, own), name) == 0) {
            return true;
        }
    }
    return false;
}

static int on_directory(void *context, const char *name)
{
    struct checkup *checkup = context;
    const char *dot = strrchr(name, '.');
    char guest[GUEST_NAME_MAX + 1], who[TEXT_SIZE] = "a process";
    pid_t pid = 0;

    if (is_live_instance(checkup->guests, name)) {
        return 1;
    }
    if (instance_dir_is_alive(checkup->guests->env.run_fd, name, &pid)) {
        (void)snprintf(guest, sizeof(guest), "%.*s",
                       dot != NULL ? (int)(dot - name) : (int)strlen(name), name);
        if (pid > 0) {
            (void)snprintf(who, sizeof(who), "process %d", pid);
        }
        doctor_find(checkup->doctor, DOCTOR_PROBLEM, "process-unknown", guest,
                    "it may have images open: end it (kill -9 PID) before you start the guest",
                    "%s is a qvm of this guest, and the store does not know it", who);
    } else {
        doctor_find(checkup->doctor, DOCTOR_WARNING, "directory-left", name,
                    "qvmd removes it when it starts: restart it, guests go on",
                    "a directory of an instance that does not live is left in guests/");
    }
    return 1; /* nothing is removed */
}

static int on_group(void *context, const char *name)
{
    struct checkup *checkup = context;

    if (!guests_cgroup_is_needed(checkup->guests, name)) {
        doctor_find(checkup->doctor, DOCTOR_WARNING, "cgroup-left", name,
                    "qvmd removes it within a minute of its last process's end; see who is in its "
                    "cgroup.procs",
                    "a control group of an instance that does not live is left");
    }
    return 1; /* nothing is removed */
}

static void look_at_claims(struct checkup *checkup)
{
    struct store_instance *instances = NULL;
    size_t count = 0;

    if (store_instances_holding(checkup->guests->env.store, &instances, &count, NULL) < 0) {
        return; /* what is wrong with the store is found elsewhere */
    }
    for (size_t i = 0; i < count; i++) {
        doctor_find(checkup->doctor, DOCTOR_WARNING, "claims-of-the-dead", instances[i].guest,
                    "see who has the file open (fuser -v FILE, qemu-nbd, a backup), and end that",
                    "its instance %" PRId64
                    " has ended, and somebody still has a lock on a file of it: that file "
                    "cannot be written by a guest",
                    instances[i].id);
    }
    free(instances);
}

void guests_checkup(struct guests *guests, struct doctor *doctor)
{
    struct checkup checkup = {.guests = guests, .doctor = doctor};
    const struct guest *guest;

    TAILQ_FOREACH(guest, &guests->list, link)
    {
        look_at_guest(&checkup, guest);
    }
    instance_dir_sweep(guests->env.run_fd, on_directory, &checkup);
    if (guests->env.cgroups != NULL) {
        (void)cgroup_sweep(guests->env.cgroups, on_group, &checkup);
    }
    look_at_claims(&checkup);
}
