#include "daemon/guest/order.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define UNSEEN SIZE_MAX

/* Its index, or `count`. */
static size_t find(const struct order_guest *guests, size_t count, const char *name)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int way = strcmp(guests[middle].name, name);

        if (way == 0) {
            return middle;
        }
        if (way < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return count;
}

/* `from` tells of each over whom it was come to; `last` comes after `start`. */
static int fail_cycle(const struct order_guest *guests, const size_t *from, size_t start,
                      size_t last, struct err *err)
{
    char way[512] = "";
    size_t used = 0;

    for (size_t at = last; at != start && used < sizeof(way); at = from[at]) {
        int n =
            snprintf(way + used, sizeof(way) - used,
                     used == 0 ? ": '%s' comes after it" : ", '%s' after that", guests[at].name);

        used += n > 0 ? (size_t)n : 0;
    }
    return err_set(err, -EINVAL, "guest '%s' would come after itself%s", guests[start].name, way);
}

int order_check(const struct order_guest *guests, size_t count, size_t start, struct err *err)
{
    auto_free size_t *from = calloc(count + 1, sizeof(*from));
    auto_free size_t *queue = calloc(count + 1, sizeof(*queue));
    size_t head = 0, tail = 0;

    if (from == NULL || queue == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        from[i] = UNSEEN;
    }
    queue[tail++] = start;
    while (head < tail) {
        const struct order_guest *guest = &guests[queue[head++]];

        for (size_t i = 0; i < guest->after_count; i++) {
            size_t next = find(guests, count, guest->after[i]);

            if (next == start) {
                return fail_cycle(guests, from, start, (size_t)(guest - guests), err);
            }
            if (next == count && guest == &guests[start]) {
                return err_set(err, -EINVAL, "there is no guest '%s' to come after",
                               guest->after[i]);
            }
            if (next < count && from[next] == UNSEEN) {
                from[next] = (size_t)(guest - guests);
                queue[tail++] = next;
            }
        }
    }
    return 0;
}
