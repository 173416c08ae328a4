#include "daemon/service.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define FIRST_SOCKET  3 /* where sockets that were passed begin */
#define USEC_PER_MS   1000
#define PINGS_IN_TIME 2 /* so many in each period, so that one may be late */

struct service {
    uv_timer_t watchdog;
    struct sockaddr_un manager;
    socklen_t manager_size; /* 0: nobody wants to hear anything */
    int64_t ping_ms;        /* 0: nobody wants to know */
    int socket_count;       /* < 0: what was said is no number */
};

/* A variable of the environment as a number from 0 up; 0 if it is missing, -1 if it is none. */
static int64_t read_number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    int64_t number;

    if (text == NULL) {
        return 0;
    }
    errno = 0;
    number = strtoimax(text, &end, 10);
    return *text == '\0' || *end != '\0' || errno != 0 || number < 0 ? -1 : number;
}

/* Whether a message is for us, and not for whoever started us: `name` holds a pid. */
static bool is_for_us(const char *name)
{
    return getenv(name) == NULL || read_number(name) == (int64_t)getpid();
}

static void read_manager(struct service *service)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t size = path != NULL ? strlen(path) : 0;

    if (size < 2 || size >= sizeof(service->manager.sun_path) ||
        (path[0] != '/' && path[0] != '@')) {
        return;
    }
    service->manager.sun_family = AF_UNIX;
    memcpy(service->manager.sun_path, path, size);
    service->manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
    if (path[0] == '@') { /* a name without a file: not ended by a NUL, but begun with one */
        service->manager.sun_path[0] = '\0';
        service->manager_size--;
    }
}

static void read_environment(struct service *service)
{
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                        "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};
    int64_t sockets = is_for_us("LISTEN_PID") ? read_number("LISTEN_FDS") : 0;
    int64_t usec = is_for_us("WATCHDOG_PID") ? read_number("WATCHDOG_USEC") : 0;

    read_manager(service);
    service->socket_count = sockets > INT_MAX ? -1 : (int)sockets;
    if (usec > 0) {
        service->ping_ms = usec / USEC_PER_MS / PINGS_IN_TIME;
        service->ping_ms = service->ping_ms > 0 ? service->ping_ms : 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unsetenv(names[i]); /* fails for wrong names alone */
    }
}

int service_create(struct uv_loop_s *loop, struct service **result, struct err *err)
{
    struct service *service = calloc(1, sizeof(*service));

    if (service == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    read_environment(service);
    (void)uv_timer_init(loop, &service->watchdog); /* cannot fail */
    service->watchdog.data = service;
    *result = service;
    return 0;
}

int service_take_socket(struct service *service, int *result, struct err *err)
{
    int is_listening = 0, domain = 0, type = 0;
    socklen_t size = sizeof(int);
    int fd = FIRST_SOCKET;

    *result = -1;
    if (service->socket_count == 0) {
        return 0;
    }
    if (service->socket_count != 1 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) < 0 || !is_listening ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM) {
        return err_set(err, -EINVAL,
                       "what was passed to qvmd in LISTEN_FDS is not one listening unix stream "
                       "socket");
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        return err_sys(err, -errno, "cannot use the socket that was passed to qvmd");
    }
    service->socket_count = 0; /* it is the caller's now */
    *result = fd;
    return 0;
}

/* Nobody is waited for: a manager that has no room for a line will get the next one. */
static void tell(const struct service *service, const char *what)
{
    auto_close int fd = -1;

    if (service->manager_size == 0) {
        return;
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, what, strlen(what), MSG_NOSIGNAL | MSG_DONTWAIT,
                         (const struct sockaddr *)&service->manager, service->manager_size) < 0) {
        log_warn("service: not told what=\"%s\" why=\"%s\"", what, strerror(errno));
    }
}

static void on_ping(uv_timer_t *timer)
{
    tell(timer->data, "WATCHDOG=1");
}

void service_ready(struct service *service)
{
    tell(service, "READY=1");
    if (service->ping_ms > 0) {
        (void)uv_timer_start(&service->watchdog, on_ping, (uint64_t)service->ping_ms,
                             (uint64_t)service->ping_ms); /* fails only when closing */
    }
}

void service_stopping(struct service *service)
{
    tell(service, "STOPPING=1");
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void service_destroy(struct service *service)
{
    if (service != NULL) {
        uv_close((uv_handle_t *)&service->watchdog, on_closed);
    }
}
