/* Sockets through which no descriptors are to come. */
#ifndef QVM_DAEMON_HOST_RIGHTS_H
#define QVM_DAEMON_HOST_RIGHTS_H

#include <sys/socket.h>

/* Linux 6.16; its headers may be older. */
#define RIGHTS_SO_PASSRIGHTS 83

/* Who sends a descriptor to this end gets EPERM. An older kernel takes it along, and what lies in a
 * socket that a qvm shares may then be anything. */
static inline void rights_refuse(int socket)
{
    const int no = 0;

    (void)setsockopt(socket, SOL_SOCKET, RIGHTS_SO_PASSRIGHTS, &no, sizeof(no));
}

#endif
