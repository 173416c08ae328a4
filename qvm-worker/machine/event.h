/* What happened in a machine and waits for the control thread: one slot a kind, one eventfd. */
#ifndef QVM_WORKER_MACHINE_EVENT_H
#define QVM_WORKER_MACHINE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "qvm-worker/machine/machine.h"

struct err;
struct machine_events;

int machine_events_create(struct machine_events **events, struct err *err);
void machine_events_destroy(struct machine_events *events);

/* Readable when one waits. */
int machine_events_fd(const struct machine_events *events);

/* Have it be readable when `fd` (borrowed) is, too. Once, before anybody asks for it. */
int machine_events_watch(struct machine_events *events, int fd, struct err *err);

/* Any thread; never blocks on anything but a moment's lock, never allocates. While one of this
 * kind waits, another is dropped: the first says why. */
void machine_events_post(struct machine_events *events, enum machine_event_kind kind, uint32_t vcpu,
                         uint32_t value, const char *text);

/* Take the next one, in the order of the kinds; false: none waits. Control thread. */
bool machine_events_take(struct machine_events *events, struct machine_event *event);

void machine_events_forget(struct machine_events *events);

#endif
