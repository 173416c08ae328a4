/* What happened in a machine. */
#include "qvm-worker/machine/event.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

struct machine_events {
    int fd;
    int poll_fd;           /* readable when `fd` is, or another; -1: there is no other */
    pthread_mutex_t mutex; /* a leaf: see bus.c */
    bool waits[MACHINE_EVENT_COUNT];
    struct machine_event list[MACHINE_EVENT_COUNT];
};

int machine_events_create(struct machine_events **events, struct err *err)
{
    struct machine_events *new = malloc(sizeof(*new));

    if (new == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    memset(new, 0, offsetof(struct machine_events, list)); /* what waits has been written */
    new->poll_fd = -1;
    new->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (new->fd < 0) {
        int code = -errno;

        free(new);
        return err_sys(err, code, "cannot make an eventfd");
    }
    (void)pthread_mutex_init(&new->mutex, NULL); /* cannot fail on Linux */
    *events = new;
    return 0;
}

void machine_events_destroy(struct machine_events *events)
{
    if (events != NULL) {
        cleanup_close(&events->fd);
        cleanup_close(&events->poll_fd);
        (void)pthread_mutex_destroy(&events->mutex);
        free(events);
    }
}

int machine_events_fd(const struct machine_events *events)
{
    return events->poll_fd >= 0 ? events->poll_fd : events->fd;
}

int machine_events_watch(struct machine_events *events, int fd, struct err *err)
{
    struct epoll_event readable = {.events = EPOLLIN};

    if (events->poll_fd < 0) {
        events->poll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (events->poll_fd < 0 ||
            epoll_ctl(events->poll_fd, EPOLL_CTL_ADD, events->fd, &readable) != 0) {
            return err_sys(err, -errno, "cannot watch events");
        }
    }
    return epoll_ctl(events->poll_fd, EPOLL_CTL_ADD, fd, &readable) == 0
               ? 0
               : err_sys(err, -errno, "cannot watch a descriptor");
}

void machine_events_post(struct machine_events *events, enum machine_event_kind kind, uint32_t vcpu,
                         uint32_t value, const char *text)
{
    struct machine_event *event = &events->list[kind];
    const uint64_t one = 1;

    (void)pthread_mutex_lock(&events->mutex);
    if (!events->waits[kind]) {
        events->waits[kind] = true;
        event->kind = kind;
        event->vcpu = vcpu;
        event->value = value;
        (void)snprintf(event->text, sizeof(event->text), "%s", text);
    }
    (void)pthread_mutex_unlock(&events->mutex);
    if (write(events->fd, &one, sizeof(one)) < 0) {
        return; /* its counter is full: then it is readable, which is all that matters */
    }
}

bool machine_events_take(struct machine_events *events, struct machine_event *event)
{
    bool is_taken = false;
    uint64_t count;

    if (read(events->fd, &count, sizeof(count)) < 0) {
        count = 0; /* nothing was written since: a slot may still be full */
    }
    (void)pthread_mutex_lock(&events->mutex);
    for (uint32_t i = 0; i < MACHINE_EVENT_COUNT && !is_taken; i++) {
        if (events->waits[i]) {
            *event = events->list[i];
            events->waits[i] = false;
            is_taken = true;
        }
    }
    (void)pthread_mutex_unlock(&events->mutex);
    return is_taken;
}

void machine_events_forget(struct machine_events *events)
{
    struct machine_event event;

    while (machine_events_take(events, &event)) {
    }
}
