/* What a qvm asks for: taken over from its packets, and dropped. */
#include "daemon/guest/ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "daemon/guest/listener.h"
#include "daemon/hand/hand.h"
#include "proto/base/cleanup.h"
#include "proto/shmem.h"
#include "proto/words.h"

/* As one writes it, and an address that a guest may have: the same is not to have two names. */
static bool is_address(const char *text)
{
    unsigned long number = strtoul(text, NULL, 10);
    char again[24];

    (void)snprintf(again, sizeof(again), "%lu", number);
    return strcmp(again, text) == 0 && number > VMADDR_CID_HOST && number < VMADDR_CID_ANY;
}

/* Names of one kind are not to look like those of another: claims are compared by them. */
static int check_name(const struct wanted *item, struct err *err)
{
    static const struct {
        enum resource_kind kind;
        const char *start;
    } names[] = {
        {RESOURCE_directory, "/"},         {RESOURCE_network, "peer:"},
        {RESOURCE_listen, LISTEN "/"},     {RESOURCE_network, "tap:"},
        {RESOURCE_shmem, SHMEM_CREATE},    {RESOURCE_shmem, SHMEM_ALLOW},
        {RESOURCE_shmem, SHMEM_DENY},      {RESOURCE_helper, "qcow2:/"},
        {RESOURCE_helper, "vhdx:/"},       {RESOURCE_helper, "vhd-dynamic:/"},
        {RESOURCE_helper, ASK_FOLDER "/"}, {RESOURCE_helper, ASK_USER},
        {RESOURCE_network, ASK_CID},
    };
    bool is_checked = false;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].kind == item->kind) {
            is_checked = true;
            if (strncmp(item->id, names[i].start, strlen(names[i].start)) == 0 &&
                (!ask_is_cid(item) || is_address(item->id + sizeof(ASK_CID) - 1))) {
                return 0;
            }
        }
    }
    return !is_checked ? 0
                       : err_set(err, -EINVAL, "its qvm asks for '%.100s', which is no %s",
                                 item->id, words_name(&words_resource_kind, (int)item->kind));
}

int guest_ask_copy(struct guest_ask *ask, const struct msg_ask *packet, struct err *err)
{
    if (packet->items_count > GUEST_ASK_MAX - ask->count) {
        return err_set(err, -EMSGSIZE, "its qvm asks for more than %d things", GUEST_ASK_MAX);
    }
    for (size_t i = 0; i < packet->items_count; i++) {
        const struct msg_resource *from = &packet->items[i];
        struct wanted *to = &ask->items[ask->count];

        *to = (struct wanted){.kind = (enum resource_kind)from->kind,
                              .id = strdup(from->id),
                              .where = strdup(from->where),
                              .vdev = from->vdev != NULL ? strdup(from->vdev) : NULL,
                              .amount = from->amount,
                              .is_writable = from->is_writable,
                              .is_readable = from->is_readable,
                              .fd = -1,
                              .other_fd = -1};
        to->vhost = from->vhost == NULL              ? HAND_VHOST_OFF
                    : strcmp(from->vhost, "on") == 0 ? HAND_VHOST_ON
                                                     : HAND_VHOST_AUTO;
        ask->count++;
        if (to->id == NULL || to->where == NULL) {
            return err_set(err, -ENOMEM, "out of memory");
        }
        if (check_name(to, err) < 0) {
            return -EINVAL;
        }
        if (to->kind == RESOURCE_hostcpu ||
            (to->kind == RESOURCE_cpu && place_read(from, &to->wish, err) < 0)) {
            return to->kind == RESOURCE_cpu
                       ? -EINVAL
                       : err_set(err, -EINVAL, "its qvm asks for a CPU instead of vCPUs");
        }
    }
    return 0;
}

void guest_ask_drop(struct guest *guest)
{
    struct guest_ask *ask = take_ptr(guest->ask);

    if (ask == NULL) {
        return;
    }
    if (ask->hand != NULL) {
        hand_cancel(ask->hand);
    }
    for (size_t i = 0; i < ask->count; i++) {
        free(ask->items[i].id);
        free(ask->items[i].where);
        free(ask->items[i].vdev);
        cleanup_close(&ask->items[i].fd);
        cleanup_close(&ask->items[i].other_fd);
    }
    free(ask->taking);
    free(ask);
}
