/* /dev/kvm, or what is wrong with it. */
#ifndef QVM_DAEMON_HOST_KVM_H
#define QVM_DAEMON_HOST_KVM_H

struct err;

#define KVM_DEVICE "/dev/kvm"

/* Open the device at `path` (KVM_DEVICE) for a grant; `*fd` is O_CLOEXEC and the caller's.
 * -ENOENT missing, -EACCES no permission, -EOPNOTSUPP no KVM or another API version: `err` says
 * which and what to do. */
int kvm_open(const char *path, int *fd, struct err *err);

#endif
