/* Core dumps: a hand makes the file as the guest's owner, its qvm writes it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/crash_point.h"
#include "daemon/guest/inside.h"
#include "daemon/hand/hand.h"
#include "proto/base/log.h"

#define PATH_SIZE 4352
#define ID_SIZE   128
#define OPEN_MS   10000

struct dumping {
    LIST_ENTRY(dumping) link;
    struct guest *guest;
    struct guest_caller caller;
    char request_id[ID_SIZE];
    char path[PATH_SIZE];
    struct hand *hand;
    guest_done_fn done;
    void *data;
};

static void finish(struct dumping *dumping, const struct err *err)
{
    LIST_REMOVE(dumping, link);
    dumping->done(dumping->data, dumping->guest, NULL, err);
    free(dumping);
}

static void on_made(void *data, struct hand_result *result)
{
    struct dumping *dumping = data;

    dumping->hand = NULL;
    crash_point("dump made");
    if (result->err.code != 0) {
        guest_file_code(&result->err);
        finish(dumping, &result->err);
        return;
    }
    LIST_REMOVE(dumping, link);
    guest_act(dumping->guest, &dumping->caller,
              &(struct guest_act_spec){.kind = GUEST_DUMP,
                                       .request_id = dumping->request_id,
                                       .fd = result->files[0].fd,
                                       .note = dumping->path},
              dumping->done, dumping->data);
    free(dumping);
}

/* The directory that its configuration named before it ran. */
static int find_directory(const struct guest *guest, char directory[PATH_SIZE], struct err *err)
{
    struct reserve_held *held = NULL;
    size_t count = 0;
    int r = reserve_list(guest->all->env.store, guest->instance.id, &held, &count, err);

    if (r < 0) {
        return r;
    }
    r = -ENOENT;
    for (size_t i = 0; i < count && r != 0; i++) {
        if (held[i].kind == RESOURCE_directory) {
            (void)snprintf(directory, PATH_SIZE, "%s", held[i].id);
            r = 0;
        }
    }
    reserve_held_free(held, count);
    return r == 0 ? 0
                  : err_set(err, -EOPNOTSUPP,
                            "the configuration of guest '%s' names no directory for dumps: put "
                            "`dump DIRECTORY` into it, and start it anew",
                            guest->name);
}

/* NAME-YYYYMMDD-hhmmss.gcore; more of one second have a number. */
static int make_path(const struct guest *guest, char path[PATH_SIZE], struct err *err)
{
    struct guests *guests = guest->all;
    char directory[PATH_SIZE], stamp[32], number[16] = "";
    time_t now = time(NULL);
    struct tm tm;
    int r = find_directory(guest, directory, err);

    if (r < 0) {
        return r;
    }
    guests->dumps_of_second = guests->last_dump_s == (int64_t)now ? guests->dumps_of_second + 1 : 0;
    guests->last_dump_s = (int64_t)now;
    if (guests->dumps_of_second > 0) {
        (void)snprintf(number, sizeof(number), "-%u", guests->dumps_of_second);
    }
    (void)localtime_r(&now, &tm);
    (void)strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
    (void)snprintf(path, PATH_SIZE, "%.4095s/%s-%s%s.gcore", directory, guest->name, stamp, number);
    return 0;
}

static int check(const struct guest *guest, struct err *err)
{
    if (guest->state != STATE_running && guest->state != STATE_paused) {
        return err_set(err, -EALREADY, "guest '%s' is %s", guest->name,
                       words_name(&words_state, (int)guest->state));
    }
    return 0;
}

void guest_dump(struct guest *guest, const struct guest_caller *caller, const char *request_id,
                guest_done_fn done, void *data)
{
    struct dumping *dumping = calloc(1, sizeof(*dumping));
    struct err err = {0};
    int r = dumping == NULL ? err_set(&err, -ENOMEM, "out of memory") : check(guest, &err);

    if (r == 0) {
        r = make_path(guest, dumping->path, &err);
    }
    if (r == 0 && dumping != NULL) {
        struct hand_file file = {.path = dumping->path, .is_new = true, .is_writable = true};

        guest_tell(guest, WHAT_asked, "dump", caller->uid); /* written first: see request.c */
        dumping->guest = guest;
        dumping->caller = *caller;
        (void)snprintf(dumping->request_id, sizeof(dumping->request_id), "%s",
                       request_id != NULL ? request_id : "");
        dumping->done = done;
        dumping->data = data;
        r = hand_open_files(guest->all->env.hands, guest->owner, &file, 1, OPEN_MS, on_made,
                            dumping, &dumping->hand, &err);
    }
    if (r < 0) {
        free(dumping);
        done(data, guest, NULL, &err);
        return;
    }
    LIST_INSERT_HEAD(&guest->dumpings, dumping, link);
}

void guest_dumps_fail(struct guest *guest, int code, const char *why)
{
    struct dumping *dumping;
    struct err err = {0};

    (void)err_set(&err, code, "%s", why);
    while ((dumping = LIST_FIRST(&guest->dumpings)) != NULL) {
        if (dumping->hand != NULL) {
            hand_cancel(dumping->hand);
        }
        finish(dumping, &err);
    }
}

/* ---- what its qvm wants ---- */

/* It waits for a file, or to hear that there will be none. */
static void on_own_done(void *data, const struct guest *guest, const char *note,
                        const struct err *err)
{
    const struct msg_act none = {.serial = 1};

    (void)data;
    if (err == NULL) {
        log_info("guest: dump guest=%s file=\"%s\"", guest->name, note != NULL ? note : "");
        return;
    }
    log_warn("guest: no dump guest=%s why=\"%s\"", guest->name, err->msg);
    if (guest->worker != NULL) {
        (void)worker_send(guest->worker, CONTROL_dump, &none, NULL, 0, NULL);
    }
}

void guest_on_dump_wanted(struct guest *guest)
{
    const struct guest_caller itself = {.uid = 0, .is_admin = true};
    struct err err = {0};

    if (guest->dump_instance != guest->instance.id) {
        guest->dump_instance = guest->instance.id;
        guest->own_dumps = 0;
    }
    if (guest->own_dumps >= GUEST_DUMPS_MAX) {
        (void)err_set(&err, -EAGAIN, "it has made %d dumps by itself already", GUEST_DUMPS_MAX);
        on_own_done(NULL, guest, NULL, &err);
        return;
    }
    guest->own_dumps++;
    guest_dump(guest, &itself, NULL, on_own_done, NULL);
}
