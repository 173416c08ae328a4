/* What a hand is to do, with copies of all texts. */
#include "daemon/hand_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void hand_order_fini(struct hand_order *order)
{
    for (size_t i = 0; i < order->text_count; i++) {
        free(order->texts[i]);
    }
    free(order->texts);
    free(order->files);
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
