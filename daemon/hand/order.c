/* What a hand is to do: orders, with copies of all texts. */
#include "daemon/hand/inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void hand_order_fini(struct hand_order *order)
{
    for (size_t i = 0; i < order->text_count; i++) {
        free(order->texts[i]);
    }
    free(order->texts);
    free(order->files);
    free(order->devices);
    hand_close_ours(order);
    free(order->closing);
}

/* A copy of `text` that lives as long as the order. */
static const char *keep_text(struct hand_order *order, const char *text)
{
    char *copy = strdup(text);

    if (copy != NULL) {
        order->texts[order->text_count++] = copy;
    }
    return copy;
}

int hand_order_copy(struct hand_order *order, const struct hand_file *files, size_t count)
{
    order->files = calloc(count + 1, sizeof(*order->files));
    order->texts = calloc(2 * count + 1, sizeof(*order->texts));
    if (order->files == NULL || order->texts == NULL) {
        return -ENOMEM;
    }
    for (order->count = 0; order->count < count; order->count++) {
        const struct hand_file *from = &files[order->count];
        struct hand_file *to = &order->files[order->count];

        *to = *from;
        to->path = keep_text(order, from->path);
        to->where = from->where != NULL ? keep_text(order, from->where) : NULL;
        if (to->path == NULL || (to->where == NULL && from->where != NULL)) {
            return -ENOMEM;
        }
    }
    return 0;
}

void hand_order_late(const struct hand_order *order, bool is_stuck, struct err *err)
{
    const char *end = is_stuck ? ", and cannot be ended" : "";

    if (order->step == HAND_AWAIT_UNLOCKED) {
        (void)err_set(err, -ETIMEDOUT, "'%s' is still locked after %u ms", order->files[0].path,
                      order->deadline_ms);
    } else if (order->step == HAND_RECEIVE) {
        (void)err_set(err, -ETIMEDOUT, "a packet could not be received");
    } else if (order->device_count > 0) {
        (void)err_set(err, -ETIMEDOUT, "%s '%s'%s took longer than %u ms%s",
                      order->step == HAND_TAKE_DEVICES   ? "taking"
                      : order->step == HAND_GIVE_DEVICES ? "giving back"
                                                         : "looking at",
                      order->devices[0].bdf,
                      order->device_count == 1              ? ""
                      : order->step == HAND_LOOK_AT_DEVICES ? " and others"
                                                            : " and what goes with it",
                      order->deadline_ms, end);
    } else if (order->step == HAND_OPEN_TAPS) {
        (void)err_set(err, -ETIMEDOUT, "making taps took longer than %u ms", order->deadline_ms);
    } else {
        (void)err_set(err, -ETIMEDOUT, "opening files as uid %u took longer than %u ms%s",
                      order->owner, order->deadline_ms, end);
    }
}

int hand_open_files(struct hands *hands, uid_t owner, const struct hand_file *files, size_t count,
                    unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                    struct err *err)
{
    struct hand *made;

    if (count > HAND_FILES_MAX) {
        return err_set(err, -EMSGSIZE, "%zu files at once are more than %d", count, HAND_FILES_MAX);
    }
    made = hand_make(hands, owner, files, count, deadline_ms, on_done, data);
    if (made == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    made->order.step = HAND_OPEN_FILES;
    return hand_submit(made, hand, err);
}

int hand_await_unlocked(struct hands *hands, uid_t owner, const char *path, const char *id,
                        unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                        struct err *err)
{
    const struct hand_file file = {.path = path};
    struct hand *made;

    if (strlen(id) >= HAND_ID_SIZE) {
        return err_set(err, -EINVAL, "'%s' is no identity of a file", id);
    }
    made = hand_make(hands, owner, &file, 1, deadline_ms, on_done, data);
    if (made == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    made->order.step = HAND_AWAIT_UNLOCKED;
    memcpy(made->order.id, id, strlen(id) + 1);
    return hand_submit(made, hand, err);
}

int hand_remove_listener(struct hands *hands, uid_t owner, const char *path, unsigned deadline_ms,
                         hand_fn on_done, void *data, struct hand **hand, struct err *err)
{
    const struct hand_file file = {.path = path, .is_listener = true};
    struct hand *made = hand_make(hands, owner, &file, 1, deadline_ms, on_done, data);

    if (made == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    made->order.step = HAND_REMOVE_LISTENER;
    return hand_submit(made, hand, err);
}

int hand_open_taps(struct hands *hands, const struct hand_tap *taps, size_t count,
                   unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                   struct err *err)
{
    struct hand_file files[HAND_FILES_MAX];
    struct hand *made = NULL;
    size_t file_count = 0;

    for (size_t i = 0; i < count; i++) {
        size_t places = taps[i].queues * (taps[i].vhost != HAND_VHOST_OFF ? 2 : 1);

        for (size_t j = 0; j < places; j++) {
            if (file_count == HAND_FILES_MAX) {
                return err_set(err, -EMSGSIZE, "a hand opens at most %d queues of taps",
                               HAND_FILES_MAX);
            }
            files[file_count++] =
                (struct hand_file){.path = taps[i].words,
                                   .queues = j == 0 ? taps[i].queues : 0,
                                   .vhost = j == 0 ? taps[i].vhost : HAND_VHOST_OFF};
        }
    }
    made = hand_make(hands, geteuid(), files, file_count, deadline_ms, on_done, data);
    if (made == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    made->order.step = HAND_OPEN_TAPS;
    return hand_submit(made, hand, err);
}

/* ---- devices ---- */

static int order_devices(struct hand *made, const struct hand_device *devices, size_t count,
                         struct hand **hand, struct err *err)
{
    if (made == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    memcpy(made->order.devices, devices, count * sizeof(*devices));
    made->order.device_count = count;
    return hand_submit(made, hand, err);
}

/* A hand with room for that many devices and answers; NULL: no memory. */
static struct hand *make_for_devices(struct hands *hands, size_t count, size_t answers,
                                     unsigned deadline_ms, hand_fn on_done, void *data)
{
    struct hand_file places[2 * HAND_DEVICES_MAX + 1];
    struct hand_device *room = calloc(count, sizeof(*room));
    struct hand *made = NULL;

    for (size_t i = 0; i < answers; i++) {
        places[i] = (struct hand_file){.path = ""};
    }
    if (room != NULL) {
        made = hand_make(hands, 0, places, answers, deadline_ms, on_done, data);
    }
    if (made == NULL) {
        free(room);
        return NULL;
    }
    made->order.devices = room;
    return made;
}

static int check_count(size_t count, struct err *err)
{
    return count > 0 && count <= HAND_DEVICES_MAX
               ? 0
               : err_set(err, -EMSGSIZE, "%zu devices at once are none, or more than %d", count,
                         HAND_DEVICES_MAX);
}

int hand_take_devices(struct hands *hands, const struct hand_device *devices, size_t count,
                      unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                      struct err *err)
{
    size_t answers = 1;
    struct hand *made;
    int r = check_count(count, err);

    if (r != 0) {
        return r;
    }
    for (size_t i = 0; i < count; i++) {
        answers += devices[i].is_wanted ? 2 : 0;
    }
    made = make_for_devices(hands, count, answers, deadline_ms, on_done, data);
    if (made != NULL) {
        made->order.step = HAND_TAKE_DEVICES;
    }
    return order_devices(made, devices, count, hand, err);
}

int hand_give_devices(struct hands *hands, const struct hand_device *devices, size_t count,
                      unsigned deadline_ms, hand_fn on_done, void *data, struct hand **hand,
                      struct err *err)
{
    struct hand *made;
    int r = check_count(count, err);

    if (r != 0) {
        return r;
    }
    made = make_for_devices(hands, count, 0, deadline_ms, on_done, data);
    if (made != NULL) {
        made->order.step = HAND_GIVE_DEVICES;
    }
    return order_devices(made, devices, count, hand, err);
}

int hand_look_at_devices(struct hands *hands, const char *root, const char (*bdfs)[PCI_BDF_SIZE],
                         size_t count, unsigned deadline_ms, hand_fn on_done, void *data,
                         struct hand **hand, struct err *err)
{
    struct hand_device devices[HAND_DEVICES_MAX];
    struct hand *made;
    int r = check_count(count, err);

    if (r != 0) {
        return r;
    }
    for (size_t i = 0; i < count; i++) {
        devices[i] = (struct hand_device){0};
        memcpy(devices[i].bdf, bdfs[i], sizeof(devices[i].bdf));
    }
    made = make_for_devices(hands, count, count, deadline_ms, on_done, data);
    if (made != NULL) {
        made->order.step = HAND_LOOK_AT_DEVICES;
        made->order.root = root;
    }
    return order_devices(made, devices, count, hand, err);
}
