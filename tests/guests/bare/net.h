/* A network card (virtio 1.2, 5.1), and what it takes to get an address and speak UDP. */
#ifndef QVM_TESTS_GUESTS_BARE_NET_H
#define QVM_TESTS_GUESTS_BARE_NET_H

void net_command(const char *arguments);

#endif
