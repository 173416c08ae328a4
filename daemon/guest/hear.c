/* What a guest's qvm says: it comes up, it asks, it runs, it is silent. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/guest/cable.h"
#include "daemon/guest/helper.h"
#include "daemon/guest/inside.h"
#include "daemon/worker/spare.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#define RESET_TELL_GAP_MS 100 /* resets that follow each other faster are counted, not told */

static void life_event(struct guest *guest, enum guest_event event)
{
    struct err err = {0};

    if (guest_life(guest, &(struct life_step){.event = event}, &err) < 0) {
        log_debug("guest: no move guest=%s why=\"%s\"", guest->name, err.msg);
    }
}

/* It cannot run: it was given nothing. */
static void refuse_to_believe(struct guest *guest)
{
    struct err why = {0};

    (void)err_set(&why, -ECHILD, "its qvm says that the guest runs, and was granted nothing");
    guest_doom(guest, REASON_vmm_crash, &why);
}

/* What became of it while nobody looked. */
static void find_state(struct guest *guest, const struct msg_hello *hello)
{
    if (guest->state == STATE_starting) {
        life_event(guest, EVENT_up);
    }
    if (hello->is_paused && guest->state != STATE_paused) {
        life_event(guest, EVENT_pause);
    } else if (!hello->is_paused && guest->state == STATE_paused) {
        life_event(guest, EVENT_resume);
    } else if (guest->state == STATE_unreachable) {
        life_event(guest, EVENT_find);
    }
}

#define HELLO_FDS 3 /* ring, counters, log; KVM's statistics follow, then cables */

static void on_up(void *context, const struct msg_hello *hello, int *fds, size_t fd_count)
{
    struct guest *guest = context;
    bool is_known = guest->state != STATE_starting;
    size_t cable_fds;
    struct err err = {0};

    guest->down_why[0] = '\0';
    guest->is_of_spare = false;
    guest_shmem_found(guest, is_known ? hello->shmem : 0);
    if (!is_known && hello->is_running && (!guest->was_granted || guest->ask != NULL)) {
        refuse_to_believe(guest);
        return;
    }
    if (fd_count > 2) {
        guest_logs_adopt(guest, &fds[2]);
    }
    guest_take_ring(guest, fd_count > 0 ? fds[0] : -1);
    guest_take_counters(guest, fd_count > 1 ? fds[1] : -1);
    cable_fds = 2 * hello->cables_count;
    if (fd_count >= HELLO_FDS + cable_fds) { /* they are the last */
        fd_count -= cable_fds;
        guest_cables_adopt(guest, hello, fds + fd_count, cable_fds);
    }
    guest_take_kvm_stats(guest, fds + HELLO_FDS, fd_count > HELLO_FDS ? fd_count - HELLO_FDS : 0);
    if (hello->reboots > guest->instance.reboots) {
        guest->instance.reboots = hello->reboots;
    }
    if (hello->last_reset != NULL) {
        (void)snprintf(guest->last_reset, sizeof(guest->last_reset), "%s", hello->last_reset);
    }
    if (guest->state == STATE_stopping || guest->state == STATE_stuck) {
        struct msg_none none;

        /* It was asked before, perhaps by an earlier qvmd; the guest may not have heard it. */
        memset(&none, 0, sizeof(none));
        (void)worker_send(guest->worker, CONTROL_power_button, &none, NULL, 0, NULL);
        return;
    }
    guest_no_deadline(guest);
    if (!is_known && !hello->is_running) {
        guest_await_ask(guest);
        return;
    }
    find_state(guest, hello);
    guest_acts_again(guest);
    guests_shmem_go_on(guest->all);
    if (guest_keep_identity(guest, &err) < 0) { /* of one that an older qvmd has started */
        log_warn("adopt: not kept beside the store guest=%s why=\"%s\"", guest->name, err.msg);
    }
    guest_tell(guest, WHAT_adopted, NULL, 0);
}

static void on_reset(struct guest *guest, const struct msg_reset *reset)
{
    struct store_instance *now = &guest->instance;
    uint64_t now_ms = uv_now(guest->all->env.loop);

    if (guest->state == STATE_starting || !guest->was_granted || reset->reboots <= now->reboots) {
        return; /* nothing runs that could reboot */
    }
    now->reboots = reset->reboots;
    (void)snprintf(guest->last_reset, sizeof(guest->last_reset), "%s", reset->cause);
    if (now_ms - guest->last_reset_ms < RESET_TELL_GAP_MS) {
        return;
    }
    guest->last_reset_ms = now_ms;
    /* a number for people: if it cannot be written, the next one is */
    (void)store_instance_set_reboots(guest->all->env.store, now->id, now->reboots, NULL);
    guest_tell(guest, WHAT_reboot, reset->cause, 0);
}

/* As an operator wanted, or (the power button was pressed, the host is in trouble) its qvm had to.
 * The sentence comes with a pause, and is told with it alone: a qvm that lies does not flood. */
static void on_pause(struct guest *guest, bool is_paused, const struct msg_paused *paused)
{
    struct life_step step = {.event = is_paused ? EVENT_pause : EVENT_resume,
                             .uid = guest_act_uid(guest, is_paused ? GUEST_PAUSE : GUEST_RESUME)};
    struct err err = {0};

    if (guest_life(guest, &step, &err) < 0) {
        log_debug("guest: no move guest=%s why=\"%s\"", guest->name, err.msg);
    } else if (paused != NULL && paused->why != NULL) {
        log_warn("guest: paused in trouble guest=%s why=\"%s\"", guest->name, paused->why);
        guest_tell(guest, WHAT_image_trouble, paused->why, 0);
    }
}

static void on_packet(void *context, enum msg_control control, const void *body, int *fds,
                      size_t fd_count)
{
    struct guest *guest = context;

    switch (control) {
    case CONTROL_ask:
        guest_on_ask(guest, body);
        break;
    case CONTROL_running:
        if (guest->was_granted && guest->ask == NULL && guest->state == STATE_starting) {
            guest_take_kvm_stats(guest, fds, fd_count);
            guest_no_deadline(guest);
            life_event(guest, EVENT_up);
            guest_stand_back(guest, guest->all->env.guest_nice);
            spares_make_soon(guest->all->spares, 0);
        }
        break;
    case CONTROL_reset:
        on_reset(guest, body);
        break;
    case CONTROL_state:
        guest_on_state(guest, body);
        break;
    case CONTROL_paused:
        on_pause(guest, true, body);
        break;
    case CONTROL_resumed:
        on_pause(guest, false, NULL);
        break;
    case CONTROL_dump_wanted:
        guest_on_dump_wanted(guest);
        break;
    case CONTROL_acted:
        guest_on_acted(guest, body);
        break;
    case CONTROL_shmem_wish:
        guest_on_shmem_wish(guest, body);
        break;
    case CONTROL_shmem_left:
        guest_on_shmem_left(guest, body);
        break;
    case CONTROL_shmem_held:
        guest_on_shmem_held(guest, body, fds, fd_count);
        break;
    case CONTROL_connect_wish:
        guest_on_connect_wish(guest, body);
        break;
    case CONTROL_helper_wish:
        guest_on_helper_wish(guest, body);
        break;
    case CONTROL_ending: /* its exit record says the same */
    default:
        break;
    }
}

static void on_silent(uv_timer_t *timer)
{
    struct guest *guest = timer->data;
    struct err why = {0};

    if (guest->state == STATE_starting) {
        (void)err_set(&why, -ECHILD, "its qvm broke the connection off before the guest ran: %s",
                      guest->down_why);
        guest_doom(guest, REASON_vmm_crash, &why);
        return;
    }
    if (guest->state != STATE_unreachable) {
        life_event(guest, EVENT_lose);
        guests_shmem_go_on(guest->all);
    }
    worker_connect(guest->worker); /* as often as it takes: it may only be held up */
}

static void on_down(void *context, const char *why)
{
    struct guest *guest = context;

    if (guest->state != STATE_unreachable || strcmp(guest->down_why, why) != 0) {
        log_info("guest: no connection guest=%s why=\"%s\"", guest->name, why);
    }
    (void)snprintf(guest->down_why, sizeof(guest->down_why), "%s", why);
    guest_queries_fail(guest);
    if (guest->state != STATE_starting && guest->state != STATE_running &&
        guest->state != STATE_paused && guest->state != STATE_unreachable) {
        return;
    }
    if (worker_is_connected(guest->worker)) { /* it lives and does not answer */
        if (guest->state == STATE_running || guest->state == STATE_paused) {
            life_event(guest, EVENT_lose);
            guests_shmem_go_on(guest->all);
        } /* else it has its time to build */
        return;
    }
    /* Most probably it is just ending; its pidfd will say so. */
    guest_deadline(guest, WORKER_HELLO_MS, on_silent);
}

const struct worker_hooks guest_worker_hooks = {.on_up = on_up,
                                                .on_packet = on_packet,
                                                .on_loaded = guest_on_loaded,
                                                .on_left = guest_on_left,
                                                .on_down = on_down,
                                                .on_ended = guest_on_ended};
