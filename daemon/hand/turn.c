/* Whose turn it is among the hands that wait. */
#include "daemon/hand/inside.h"

bool hand_closes(const struct hand *hand)
{
    return hand->order.step == HAND_CLOSE;
}

size_t *hand_counter(const struct hand *hand)
{
    return hand->is_stuck      ? &hand->hands->stuck
           : hand_closes(hand) ? &hand->hands->closers
                               : &hand->hands->running;
}

/* One owner's files may hang: half of the hands are left to the others. */
bool hand_has_turn(const struct hand *hand)
{
    const struct hands *hands = hand->hands;
    size_t most = hands->most > 1 ? hands->most / 2 : 1;
    size_t count = 0;

    if (hand_closes(hand)) {
        return hands->closers < hands->most;
    }
    for (const struct hand *other = hands->first; other != NULL; other = other->next) {
        count += other->is_started && !other->is_stuck && !other->is_closing &&
                 !hand_closes(other) && other->order.owner == hand->order.owner;
    }
    return hands->running < hands->most && count < most;
}

struct hand *hand_first_queued(const struct hands *hands)
{
    struct hand *hand = hands->queued > 0 ? hands->first : NULL;

    while (hand != NULL && (hand->is_started || !hand_has_turn(hand))) {
        hand = hand->next;
    }
    return hand;
}

size_t hand_stuck_of(const struct hands *hands, uid_t owner)
{
    size_t count = 0;

    for (const struct hand *hand = hands->first; hand != NULL; hand = hand->next) {
        count += hand->is_stuck && !hand_closes(hand) && hand->order.owner == owner;
    }
    return count;
}
