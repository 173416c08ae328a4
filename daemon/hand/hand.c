/* Hands, seen from qvmd: they are started, watched, ended, and their results handed over. */
#include "daemon/hand/hand.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <uv.h>

#include "daemon/hand/inside.h"
#include "proto/base/cleanup.h"

static void start_next(struct hands *hands);

/* ---- memory ---- */

static void drop_files(struct hand_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        cleanup_close(&result->files[i].fd);
    }
    free(result->files);
    result->files = NULL;
    result->count = 0;
}

static void append(struct hands *hands, struct hand *hand)
{
    hand->hands = hands;
    hand->previous = hands->last;
    if (hands->last != NULL) {
        hands->last->next = hand;
    } else {
        hands->first = hand;
    }
    hands->last = hand;
}

void hand_free(struct hand *hand)
{
    struct hands *hands = hand->hands;

    if (hand->previous != NULL) {
        hand->previous->next = hand->next;
    } else {
        hands->first = hand->next;
    }
    if (hand->next != NULL) {
        hand->next->previous = hand->previous;
    } else {
        hands->last = hand->previous;
    }
    drop_files(&hand->result);
    hand_order_fini(&hand->order);
    free(hand);
}

/* The last one closes the door. */
static void close_if_empty(struct hands *hands)
{
    if (hands->is_closing && hands->first == NULL) {
        if (hands->on_closed != NULL) {
            hands->on_closed(hands->data);
        }
        free(hands);
    }
}

/* ---- the end of a hand ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct hand *hand = handle->data;

    hand->open_handles--;
    if (hand->open_handles == 0) {
        struct hands *hands = hand->hands;

        cleanup_close(&hand->child.socket);
        cleanup_close(&hand->child.pidfd);
        hand_free(hand);
        close_if_empty(hands);
    }
}

static void close_handles(struct hand *hand)
{
    if (!hand->is_closing) {
        hand->is_closing = true;
        uv_close((uv_handle_t *)&hand->answer, on_handle_closed);
        uv_close((uv_handle_t *)&hand->death, on_handle_closed);
        uv_close((uv_handle_t *)&hand->timer, on_handle_closed);
    }
}

/* Hand the result over, once. What is kept and was not passed on is let go: the hand ends. */
static void report(struct hand *hand)
{
    if (!hand->is_reported) {
        hand->is_reported = true;
        if (hand->result.err.code != 0 && hand->order.step != HAND_LOOK_AT_DEVICES) {
            drop_files(&hand->result);
        }
        hand->result.keeper = hand->is_keeper && hand->result.err.code == 0 ? hand : NULL;
        hand->on_done(hand->data, &hand->result);
    }
    drop_files(&hand->result);
    if (hand->is_keeper && hand->is_reported) {
        hand->is_keeper = false;
        (void)shutdown(hand->child.socket, SHUT_RDWR); /* it may have gone already */
    }
}

static void report_failure(struct hand *hand, int status)
{
    struct err *err = &hand->result.err;

    if (hand->is_timed_out) {
        hand_order_late(&hand->order, hand->is_stuck, err);
    } else if (err->code == 0) {
        (void)err_set(err, -EIO, "a hand ended without an answer (status %d)", status);
    }
    hand->result.is_stuck = hand->is_stuck;
    report(hand);
}

/* ---- what the loop tells ---- */

static int take_file(struct hand *hand, const struct hand_packet *packet, int *fd)
{
    struct hand_result *result = &hand->result;
    struct hand_opened *opened;

    if (hand->is_opened || result->count >= hand->order.count) {
        return -EPROTO;
    }
    hand->is_keeper = hand->is_keeper || (packet->is_kept && hand->order.step != HAND_RECEIVE &&
                                          hand->order.step != HAND_LOOK_AT_DEVICES);
    opened = &result->files[result->count++];
    opened->is_kept = packet->is_kept;
    memcpy(opened->id, packet->id, sizeof(opened->id));
    opened->size = packet->size;
    opened->is_exclusive = packet->is_exclusive;
    opened->config = packet->config;
    opened->fd = take_fd(fd);
    return 0;
}

/* Whether all that it was told of has to come back. */
static bool opens(const struct hand_order *order)
{
    return order->step == HAND_OPEN_FILES || order->step == HAND_TAKE_DEVICES ||
           order->step == HAND_OPEN_TAPS || order->step == HAND_LOOK_AT_DEVICES;
}

/* What the end packet says; a success without all files is none. */
static void take_end(struct hand *hand, const struct hand_packet *packet)
{
    struct hand_result *result = &hand->result;

    hand->is_answered = true;
    result->err = packet->err;
    result->bad = packet->bad;
    result->failed = packet->failed;
    result->is_untouched = packet->is_untouched;
    memcpy(result->override, packet->override, sizeof(result->override));
    if (hand->is_opened) {
        return;
    }
    hand->is_opened = true;
    if (result->err.code == 0 && opens(&hand->order) && result->count != hand->order.count) {
        (void)err_set(&result->err, -EIO, "a hand opened %zu files of %zu", result->count,
                      hand->order.count);
    }
}

/* Read what is there; false: nothing more will come. */
static bool read_answer(struct hand *hand)
{
    struct hand_packet packet;
    int r = 1;

    while (r == 1 && !hand->is_answered) {
        auto_close int fd = -1;

        r = hand_child_receive(hand->child.socket, &packet, &fd);
        if (r == 1 && packet.is_end) {
            take_end(hand, &packet);
        } else if (r == 1) {
            r = take_file(hand, &packet, &fd) == 0 ? 1 : -EPROTO;
        }
        if (r < 0 && r != -EAGAIN) {
            hand->is_answered = true;
            (void)err_sys(&hand->result.err, r, "cannot read what a hand sent");
        }
    }
    return r == -EAGAIN;
}

static void on_answer(uv_poll_t *handle, int status, int events)
{
    struct hand *hand = handle->data;

    (void)status; /* an error shows when reading */
    (void)events;
    if (!read_answer(hand)) {
        (void)uv_poll_stop(handle);
    }
    if (hand->is_answered) {
        report(hand);
    }
}

void hand_listen(struct hand *hand)
{
    (void)uv_poll_start(&hand->answer, UV_READABLE,
                        on_answer); /* fails for closing handles alone */
}

static void on_death(uv_poll_t *handle, int status, int events)
{
    struct hand *hand = handle->data;
    struct hands *hands = hand->hands;
    siginfo_t info = {0};

    (void)status;
    (void)events;
    (void)waitid(P_PIDFD, (id_t)hand->child.pidfd, &info, WEXITED | WNOHANG); /* reap it */
    (void)uv_poll_stop(handle);
    (void)read_answer(hand);
    *hand_counter(hand) -= 1;
    close_handles(hand);
    if (hand->is_answered) {
        report(hand);
    } else {
        report_failure(hand, info.si_status);
    }
    start_next(hands);
}

static void kill_child(const struct hand *hand)
{
    /* fails only when it is gone, which its pidfd tells */
    (void)syscall(SYS_pidfd_send_signal, hand->child.pidfd, SIGKILL, NULL, 0);
}

static void on_timer(uv_timer_t *timer);

/* Its time is over, or nobody wants it any more. */
static void end(struct hand *hand)
{
    if (!hand->is_timed_out && !hand->is_closing) {
        hand->is_timed_out = true;
        kill_child(hand);
        uv_update_time(hand->hands->loop);
        (void)uv_timer_start(&hand->timer, on_timer, HAND_KILL_MS, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct hand *hand = timer->data;
    struct hands *hands = hand->hands;

    if (!hand->is_timed_out) {
        end(hand);
        return;
    }
    *hand_counter(hand) -= 1;
    hand->is_stuck = true;
    *hand_counter(hand) += 1;
    report_failure(hand, 0);
    if (hands->is_closing) {
        close_handles(hand);
    }
    start_next(hands);
}

/* ---- starting ---- */

static void init_handles(struct hand *hand)
{
    uv_loop_t *loop = hand->hands->loop;

    hand->answer.data = hand;
    hand->death.data = hand;
    hand->timer.data = hand;
    /* these fail for descriptors that epoll refuses, which sockets and pidfds are not */
    (void)uv_poll_init(loop, &hand->answer, hand->child.socket);
    (void)uv_poll_init(loop, &hand->death, hand->child.pidfd);
    (void)uv_timer_init(loop, &hand->timer);
    hand->open_handles = 3;
    hand_listen(hand);
    (void)uv_poll_start(&hand->death, UV_READABLE, on_death);
    uv_update_time(loop); /* the time until now is not the hand's */
    (void)uv_timer_start(&hand->timer, on_timer, hand->order.deadline_ms, 0);
}

static int start(struct hand *hand, struct err *err)
{
    int r = hand_child_start(&hand->order, &hand->child, err);

    if (r == 0) {
        hand->is_started = true;
        *hand_counter(hand) += 1;
        if (hand->order.closing_count > 0) {
            hand_close_ours(&hand->order);
            (void)shutdown(hand->child.socket, SHUT_WR); /* now it is the hand's turn */
        }
        init_handles(hand);
    }
    return r;
}

static void start_next(struct hands *hands)
{
    while (!hands->is_closing) {
        struct hand *hand = hand_first_queued(hands);

        if (hand == NULL) {
            return;
        }
        hands->queued--;
        if (start(hand, &hand->result.err) != 0) {
            report(hand);
            hand_free(hand);
        }
    }
}

/* Why it can neither start nor wait; 0: it can. One that closes is never refused: then qvmd would
 * have to close, and might wait. */
static int refuse(const struct hand *made, struct err *err)
{
    const struct hands *hands = made->hands;

    if (hand_closes(made)) {
        return 0;
    }
    if (hand_stuck_of(hands, made->order.owner) >= HAND_STUCK_MAX) {
        return err_set(err, -EAGAIN,
                       "%d processes that opened files as uid %u hang in file systems that do not "
                       "answer, and cannot be ended",
                       HAND_STUCK_MAX, made->order.owner);
    }
    if (hands->queued >= HAND_QUEUE_MAX && !hand_has_turn(made)) {
        return err_set(err, -EAGAIN, "%d hands wait for their turn already", HAND_QUEUE_MAX);
    }
    return 0;
}

int hand_submit(struct hand *made, struct hand **hand, struct err *err)
{
    int r = refuse(made, err);

    if (r == 0 && hand_has_turn(made)) {
        r = start(made, err);
    } else if (r == 0) {
        made->hands->queued++;
    }
    if (r != 0) {
        hand_free(made);
        return r;
    }
    if (hand != NULL) {
        *hand = made;
    }
    return 0;
}

struct hand *hand_make(struct hands *hands, uid_t owner, const struct hand_file *files,
                       size_t count, unsigned deadline_ms, hand_fn on_done, void *data)
{
    struct hand *hand = calloc(1, sizeof(*hand));

    if (hand == NULL) {
        return NULL;
    }
    hand->order.owner = owner;
    hand->order.socket = -1;
    hand->order.deadline_ms = deadline_ms;
    hand->on_done = on_done;
    hand->data = data;
    hand->result.files = calloc(count + 1, sizeof(*hand->result.files));
    append(hands, hand);
    if (hand->result.files == NULL || hand_order_copy(&hand->order, files, count) != 0) {
        hand_free(hand);
        return NULL;
    }
    return hand;
}

void hand_cancel(struct hand *hand)
{
    assert(!hand->is_reported);
    hand->is_reported = true;
    if (hand->is_started) {
        end(hand);
    } else {
        hand->hands->queued--;
        hand_free(hand);
    }
}

/* ---- all of them ---- */

int hands_create(struct uv_loop_s *loop, size_t most, struct hands **hands, struct err *err)
{
    struct hands *made = calloc(1, sizeof(*made));

    if (made == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    made->loop = loop;
    made->most = most;
    *hands = made;
    return 0;
}

size_t hands_stuck(const struct hands *hands)
{
    return hands->stuck;
}

void hands_destroy(struct hands *hands, void (*on_closed)(void *data), void *data)
{
    struct hand *hand;
    struct hand *next;

    if (hands == NULL) {
        return;
    }
    hands->on_closed = on_closed;
    hands->data = data;
    for (hand = hands->first; hand != NULL; hand = next) {
        next = hand->next;
        hand->is_reported = true;
        if (!hand->is_started) {
            hands->queued--;
            hand_free(hand);
        } else if (hand->is_stuck) {
            close_handles(hand);
        } else {
            end(hand);
        }
    }
    hands->is_closing = true;
    close_if_empty(hands);
}
