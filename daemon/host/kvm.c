/* /dev/kvm, or what is wrong with it. */
#include "daemon/host/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

static int fail_open(const char *path, int code, struct err *err)
{
    switch (code) {
    case ENOENT:
        return err_set(err, -EOPNOTSUPP,
                       "'%s' is missing: load the module kvm_intel or kvm_amd, and see that "
                       "virtualization is switched on in the firmware",
                       path);
    case ENODEV:
    case ENXIO:
        return err_set(err, -EOPNOTSUPP, "'%s' has no driver: load the module kvm_intel or kvm_amd",
                       path);
    case EACCES:
    case EPERM:
        return err_set(err, -EACCES,
                       "no permission to open '%s': run qvmd as root, or as a member of its group",
                       path);
    default:
        return err_sys(err, -code, "cannot open '%s'", path);
    }
}

int kvm_open(const char *path, int *fd, struct err *err)
{
    auto_close int device = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int version;

    if (device < 0) {
        return fail_open(path, errno, err);
    }
    version = ioctl(device, KVM_GET_API_VERSION, 0);
    if (version < 0) {
        return err_set(
            err, -EOPNOTSUPP,
            "'%s' is not KVM: another device has its name ('ls -l %s'; KVM's is 10, 232)", path,
            path);
    }
    if (version != KVM_API_VERSION) {
        return err_set(err, -EOPNOTSUPP, "'%s' speaks version %d of the KVM API, not %d", path,
                       version, KVM_API_VERSION);
    }
    *fd = take_fd(&device);
    return 0;
}
