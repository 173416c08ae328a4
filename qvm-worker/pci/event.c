/* Event descriptors that raise messages: see pci_event(). */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "qvm-worker/pci/pci_private.h"

void pci_init_messages(const struct pci *pci, struct pci_messages *messages, uint32_t count)
{
    pci_messages_init(messages, count, pci->config.ops, pci->config.context);
}

static struct pci_events *make_events(struct pci_function *function)
{
    struct pci_events *events = calloc(1, sizeof(*events));

    for (uint32_t i = 0; events != NULL && i < PCI_MESSAGES_MAX; i++) {
        events->fds[i] = -1;
    }
    function->events = events;
    function->msix.events = events;
    function->msi.events = events;
    return events;
}

void pci_fini_events(struct pci_function *function)
{
    for (uint32_t i = 0; function->events != NULL && i < PCI_MESSAGES_MAX; i++) {
        cleanup_close(&function->events->fds[i]);
    }
    free(function->events);
    function->events = NULL;
    cleanup_close(&function->line_event.fd);
    cleanup_close(&function->line_event.resample_fd);
}

int pci_event(struct pci_function *function, uint32_t vector)
{
    const struct pci_config *config = &function->pci->config;
    struct pci_events *events = function->events;
    int route = 0, fd;

    if (vector >= function->msix.count && vector >= function->msi.count) {
        return -EINVAL;
    }
    if (events != NULL && events->fds[vector] >= 0) {
        return events->fds[vector];
    }
    events = events != NULL ? events : make_events(function);
    if (events == NULL) {
        return -ENOMEM;
    }
    if (config->ops->add_route != NULL) {
        route = config->ops->add_route(config->context);
    }
    if (route < 0) {
        return route;
    }
    fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    events->routes[vector] = (uint32_t)route;
    events->fds[vector] = fd;
    return fd;
}

bool pci_hears_lines(const struct pci *pci)
{
    return !pci->config.has_own_chips;
}

int pci_intx_event(struct pci_function *function, int *resample_fd)
{
    if (!function->has_intx) {
        return -EINVAL;
    }
    if (function->line_event.fd < 0) {
        int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        int resample = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

        if (fd < 0 || resample < 0) {
            int r = -errno;

            cleanup_close(&fd);
            cleanup_close(&resample);
            return r;
        }
        function->line_event.fd = fd;
        function->line_event.resample_fd = resample;
    }
    *resample_fd = function->line_event.resample_fd;
    return function->line_event.fd;
}
