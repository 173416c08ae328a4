#include "daemon/server/socket.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/server/server.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

/* Does somebody answer there? Children of a dead qvmd may hold its socket for a moment. */
static int check_vacant(const struct sockaddr_un *address, struct err *err)
{
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct ucred owner;
    socklen_t size = sizeof(owner);

    if (fd < 0) {
        return err_sys(err, -errno, "cannot make a socket");
    }
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        return errno != EAGAIN ? 0
                               : err_set(err, -EBUSY, "another qvmd answers at '%s', and is busy",
                                         address->sun_path);
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size) == 0 && kill(owner.pid, 0) < 0 &&
        errno == ESRCH) {
        return 0;
    }
    return err_set(err, -EBUSY, "another qvmd (pid %d) answers at '%s'", (int)owner.pid,
                   address->sun_path);
}

int server_listen(const char *path, mode_t mode, int *result, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old_mask;
    int r;

    if (fd < 0) {
        return err_sys(err, -errno, "cannot make a socket");
    }
    if (strlen(path) >= sizeof(address.sun_path)) {
        return err_set(err, -ENAMETOOLONG, "the socket's path '%s' is longer than %zu bytes", path,
                       sizeof(address.sun_path) - 1);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    r = check_vacant(&address, err);
    if (r < 0) {
        return r;
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        return err_sys(err, -errno, "cannot remove the old socket '%s'", path);
    }
    old_mask = umask(0777 & ~mode);
    r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    (void)umask(old_mask);
    if (r == 0 && listen(fd, SERVER_BACKLOG) < 0) {
        r = -errno;
    }
    if (r < 0) {
        return err_sys(err, r, "cannot listen at '%s'", path);
    }
    *result = take_fd(&fd);
    return 0;
}

int server_take_over(int given_fd, mode_t mode, int *result, struct err *err)
{
    auto_close int fd = given_fd;
    struct sockaddr_un address = {0};
    socklen_t size = sizeof(address) - 1; /* so that it ends with a NUL in any case */

    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        return err_sys(err, -errno, "cannot tell where qvmd is to listen");
    }
    if (address.sun_path[0] != '\0' && chmod(address.sun_path, mode) < 0) {
        return err_sys(err, -errno, "cannot set the mode of the socket '%s'", address.sun_path);
    }
    *result = take_fd(&fd);
    return 0;
}
