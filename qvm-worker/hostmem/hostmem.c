/* Memory of the host that is no RAM, in a guest. */
#include "qvm-worker/hostmem/hostmem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"

struct hostmem {
    int fd;
    void *host;
    uint64_t size;
};

static int show(const struct hostmem_config *config, struct hostmem *hostmem, struct err *err)
{
    off_t at = lseek(hostmem->fd, 0, SEEK_CUR);
    int r;

    hostmem->size = config->size;
    hostmem->host =
        at < 0 ? MAP_FAILED
               : mmap(NULL, config->size, PROT_READ | PROT_WRITE, MAP_SHARED, hostmem->fd, at);
    if (hostmem->host == MAP_FAILED) {
        return err_sys(err, -errno, "it cannot be mapped");
    }
    /* All of it is a memory slot: what comes by the bus is none of ours. */
    r = bus_add(config->bus, BUS_MEMORY, config->guest, config->size, bus_nobody, hostmem, 0,
                config->name, err);
    if (r == 0) {
        r = config->slot(config->context, config->slot_number, config->guest, hostmem->host,
                         config->size);
        r = r == 0 ? 0 : err_sys(err, r, "KVM does not take it");
    }
    return r;
}

int hostmem_create(const struct hostmem_config *config, int fd, struct hostmem **hostmem,
                   struct err *err)
{
    struct hostmem *new = calloc(1, sizeof(*new));
    int r;

    if (new == NULL) {
        cleanup_close(&fd);
        return err_set(err, -ENOMEM, "out of memory");
    }
    new->fd = fd;
    new->host = MAP_FAILED;
    r = show(config, new, err);
    if (r != 0) {
        hostmem_destroy(new);
        return r;
    }
    *hostmem = new;
    return 0;
}

void hostmem_destroy(struct hostmem *hostmem)
{
    if (hostmem != NULL) {
        if (hostmem->host != MAP_FAILED) {
            (void)munmap(hostmem->host, hostmem->size); /* it is ours */
        }
        cleanup_close(&hostmem->fd);
        free(hostmem);
    }
}
