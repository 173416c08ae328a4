/* The control socket: the one line between a qvm and qvmd. */
#include "qvm-worker/control/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/spawn_fds.h"
#include "qvm-worker/control/peer.h"

struct control {
    uv_poll_t poll; /* of the listening socket */
    struct uv_loop_s *loop;
    int listen_fd;
    struct control_identity identity;
    struct control_events events;
    void *context;
    struct control_peer *current;   /* proven; NULL: nobody */
    int version;                    /* that is spoken with it */
    struct control_peer *candidate; /* connected, its hello is awaited; NULL: nobody */
    char buffer[MSG_PACKET_MAX];
};

static void greet(struct control *control, struct control_peer *peer)
{
    struct msg_hello hello = {.version = control->version, .instance = control->identity.instance};
    char nonce[128];
    int fds[CONTROL_FDS_MAX];
    size_t fd_count = control->events.on_greet(control->context, &hello, fds);
    char *text;

    (void)snprintf(nonce, sizeof(nonce), "%s", control->identity.nonce);
    hello.nonce = nonce;
    text = msg_control_format(CONTROL_hello, &hello);
    if (text != NULL) {
        control_peer_send(peer, text, fds, fd_count);
    }
}

/* The candidate's first packet: does it know the nonce, and do we speak the same? */
static void on_hello(struct control *control, struct control_peer *peer,
                     const struct msg_hello *hello)
{
    if (strcmp(hello->nonce, control->identity.nonce) != 0) {
        log_warn("control: stranger cut why=\"it has the nonce of another instance\"");
        control->candidate = NULL;
        control_peer_cut(peer);
        return;
    }
    if (control->current != NULL) {
        control_peer_cut(control->current);
    }
    control->candidate = NULL;
    control->current = peer;
    control->version = hello->version < CONTROL_VERSION ? (int)hello->version : CONTROL_VERSION;
    greet(control, peer);
    /* A daemon older than what we speak reads our version in our hello, and goes. */
    if (control->current == peer) {
        control->events.on_up(control->context);
    }
}

static void on_end(void *context, struct control_peer *peer, const char *why)
{
    struct control *control = context;

    if (peer == control->candidate) {
        control->candidate = NULL;
    } else if (peer == control->current) {
        control->current = NULL;
        control->events.on_lost(control->context, why);
    }
}

static void cut_for(struct control *control, struct control_peer *peer, const char *why)
{
    log_warn("control: peer cut why=\"%s\"", why);
    control_peer_cut(peer);
    on_end(control, peer, why);
}

static void on_packet(void *context, struct control_peer *peer, const char *packet, size_t size,
                      int *fds, size_t fd_count)
{
    struct control *control = context;
    struct err err = {0};
    enum msg_control message;
    void *body = NULL;
    int r = msg_control_parse(packet, size, true, &message, &body, &err);

    if (r != 0) {
        cut_for(control, peer, err.msg);
        return;
    }
    if (peer == control->current) {
        control->events.on_message(control->context, message, body, fds, fd_count);
    } else if (message == CONTROL_hello) {
        on_hello(control, peer, body);
    } else {
        cut_for(control, peer, "its first packet is no hello");
    }
    msg_free(msg_controls[message].type, body);
}

static bool is_daemon(const struct control *control, int fd)
{
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           peer.uid == control->identity.daemon_uid;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    static const struct control_peer_events peer_events = {on_packet, on_end};
    struct control *control = poll->data;
    auto_close int fd = -1;

    (void)status;
    (void)events;
    fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    if (!is_daemon(control, fd)) {
        log_warn("control: stranger cut why=\"its uid is not the daemon's\"");
        return;
    }
    if (control->candidate != NULL) {
        control_peer_cut(control->candidate); /* the newest counts */
    }
    control->candidate =
        control_peer_create(control->loop, fd, control->buffer, &peer_events, control);
    if (control->candidate != NULL) {
        (void)take_fd(&fd);
    }
}

int control_create(struct uv_loop_s *loop, int listen_fd, const struct control_identity *identity,
                   const struct control_events *events, void *context, struct control **control,
                   struct err *err)
{
    struct control *new = calloc(1, sizeof(*new));

    if (new == NULL || uv_poll_init(loop, &new->poll, listen_fd) != 0) {
        free(new);
        return err_set(err, -EIO, "cannot watch the control socket");
    }
    new->poll.data = new;
    new->loop = loop;
    new->listen_fd = listen_fd;
    new->identity = *identity;
    new->events = *events;
    new->context = context;
    (void)uv_poll_start(&new->poll, UV_READABLE, on_connection); /* fails for closed handles */
    *control = new;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void control_destroy(struct control *control)
{
    if (control == NULL) {
        return;
    }
    if (control->candidate != NULL) {
        control_peer_cut(take_ptr(control->candidate));
    }
    if (control->current != NULL) {
        control_peer_cut(take_ptr(control->current));
    }
    uv_close((uv_handle_t *)&control->poll, on_closed);
}

int control_send(struct control *control, enum msg_control message, const void *body)
{
    return control_send_fds(control, message, body, NULL, 0);
}

int control_send_fds(struct control *control, enum msg_control message, const void *body,
                     const int *fds, size_t fd_count)
{
    char *text;

    if (control->current == NULL) {
        return -ENOTCONN;
    }
    if (msg_controls[message].since > control->version) {
        return -EOPNOTSUPP;
    }
    text = msg_control_format(message, body);
    if (text == NULL || strlen(text) > MSG_PACKET_MAX) {
        free(text);
        return -EINVAL;
    }
    control_peer_send(control->current, text, fds, fd_count);
    return 0;
}
