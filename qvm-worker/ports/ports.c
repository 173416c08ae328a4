/* Ports of the host in a guest. */
#include "qvm-worker/ports/ports.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"

struct ports {
    uint16_t start;
    int fd;
    pthread_mutex_t lock; /* of the socket: one question at a time */
};

/* A vCPU is kicked at any moment: an answer that it did not wait for would be taken for the next.
 */
static bool send_whole(int fd, const struct ports_request *request)
{
    ssize_t n;

    do {
        n = write(fd, request, sizeof(*request));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(*request);
}

static bool receive_whole(int fd, uint32_t *value)
{
    ssize_t n;

    do {
        n = read(fd, value, sizeof(*value));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(*value);
}

/* A process that is gone leaves ports that nobody answers at. */
static uint32_t ask(const struct ports *ports, const struct ports_request *request)
{
    uint32_t value;

    return ports->fd >= 0 && send_whole(ports->fd, request) && receive_whole(ports->fd, &value)
               ? value
               : UINT32_MAX;
}

static void on_access(void *device, uint32_t region, uint64_t offset, uint32_t size,
                      uint64_t *value, bool is_write)
{
    struct ports *ports = device;
    struct ports_request request = {.port = (uint16_t)(ports->start + offset),
                                    .size = (uint8_t)size,
                                    .is_write = is_write,
                                    .value = is_write ? (uint32_t)*value : 0};
    uint32_t got;

    (void)region;
    (void)pthread_mutex_lock(&ports->lock);
    got = ask(ports, &request);
    (void)pthread_mutex_unlock(&ports->lock);
    *value = is_write ? *value : got;
}

int ports_create(struct bus *bus, uint16_t start, uint32_t size, int fd, const char *name,
                 struct ports **ports, struct err *err)
{
    struct ports *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        cleanup_close(&fd);
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->start = start;
    new->fd = fd;
    (void)pthread_mutex_init(&new->lock, NULL); /* cannot fail for a plain one */
    r = bus_add(bus, BUS_IO, start, size, on_access, new, 0, name, err);
    if (r != 0) {
        ports_destroy(new);
        return r;
    }
    *ports = new;
    return 0;
}

void ports_destroy(struct ports *ports)
{
    if (ports != NULL) {
        cleanup_close(&ports->fd);
        (void)pthread_mutex_destroy(&ports->lock); /* nobody holds it */
        free(ports);
    }
}
