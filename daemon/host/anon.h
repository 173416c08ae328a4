/* What the kernel says a descriptor is that has no file. */
#ifndef QVM_DAEMON_HOST_ANON_H
#define QVM_DAEMON_HOST_ANON_H

#include <stdbool.h>

/* Whether `fd` is an anonymous inode whose name begins so: "[eventfd]", "kvm-vcpu-stats". Asks the
 * file itself nothing. */
bool anon_is(int fd, const char *name);

#endif
