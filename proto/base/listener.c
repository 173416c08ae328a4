/* Unix stream sockets at paths. */
#include "proto/base/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define WAITING_MAX 64 /* connections that nobody has taken yet */
#define TYPE        (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

/* By the directory that is open, whatever its own path is by now, and however long. */
static int name_place(int directory, const char *name, struct sockaddr_un *address)
{
    int size;

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", directory,
                    name);
    return size < (int)sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

static bool is_socket(int directory, const char *name)
{
    struct stat st;

    return fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode);
}

/* What nobody listens at is what somebody has left behind. */
static bool is_left(int directory, const char *name)
{
    auto_close int fd = socket(AF_UNIX, TYPE, 0);
    struct sockaddr_un address;

    return fd >= 0 && is_socket(directory, name) && name_place(directory, name, &address) == 0 &&
           connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 &&
           errno == ECONNREFUSED;
}

/* Only this user's programs may connect. */
static int bind_to(int fd, const struct sockaddr_un *address)
{
    mode_t mask = umask(S_IRWXG | S_IRWXO);
    int r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;

    (void)umask(mask);
    return r;
}

static int fail(int r, int directory, const char *name, const char *path, struct err *err)
{
    if (r != -EADDRINUSE) {
        return err_sys(err, r, "cannot make the socket '%s'", path);
    }
    return is_socket(directory, name)
               ? err_set(err, -EBUSY, "somebody listens at '%s' already: give another path", path)
               : err_set(err, -EEXIST, "'%s' is there already, and is no socket: give another path",
                         path);
}

int listener_open(int directory, const char *name, const char *path, int *fd, struct err *err)
{
    auto_close int new = socket(AF_UNIX, TYPE, 0);
    struct sockaddr_un address;
    int r = new < 0 ? -errno : name_place(directory, name, &address);

    r = r == 0 ? bind_to(new, &address) : r;
    if (r == -EADDRINUSE && is_left(directory, name)) {
        listener_remove(directory, name);
        r = bind_to(new, &address);
    }
    if (r == 0 && listen(new, WAITING_MAX) != 0) {
        r = -errno;
    }
    if (r != 0) {
        return fail(r, directory, name, path, err);
    }
    *fd = take_fd(&new);
    return 0;
}

void listener_remove(int directory, const char *name)
{
    if (is_left(directory, name)) {
        (void)unlinkat(directory, name, 0); /* somebody else has removed it: as good */
    }
}
