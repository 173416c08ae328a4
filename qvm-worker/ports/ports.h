/* Ports of the host in a guest: `pass loc io:`.
 *
 * A descriptor of /dev/port would give its holder every port, and the right to use ports
 * (ioperm(2)) belongs to a thread and not to a descriptor. So a process of its own has exactly
 * these ports and can do nothing else than read requests from a socket, use the ports, and answer:
 * neither the qvm nor its guest can make it touch another one. */
#ifndef QVM_WORKER_PORTS_H
#define QVM_WORKER_PORTS_H

#include <stdint.h>

struct bus;
struct err;
struct ports;

/* What is sent to the process, and comes back with the value that was read: a packet each. */
struct ports_request {
    uint16_t port;
    uint8_t size; /* 1, 2, 4 */
    uint8_t is_write;
    uint32_t value;
};

/* Make the process; *fd is the socket to it, with which it ends. Needs root. Words begin without
 * place. -EBUSY: the host uses one of them; -EOPNOTSUPP: the kernel cannot limit ports so. */
int ports_open(uint16_t start, uint32_t size, int *fd, struct err *err);

/* Who of the host, as /proc/ioports tells in `text`, has a port from `start` on: its name in
 * `holder`, of `holder_size` bytes; 0: nobody. Windows of bridges have none themselves. */
int ports_find_holder(const char *text, uint16_t start, uint32_t size, char *holder,
                      uint32_t holder_size);

/* Put them on the guest's bus at the same numbers; takes `fd` over (also on failure; -1: nothing is
 * behind them). `name` is borrowed. Accesses come on vCPUs' threads, one after the other. */
int ports_create(struct bus *bus, uint16_t start, uint32_t size, int fd, const char *name,
                 struct ports **ports, struct err *err);

/* The bus is gone, or not used any more. NULL is fine. */
void ports_destroy(struct ports *ports);

#endif
