#include "daemon/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <uv.h>

#include "daemon/client.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define ACCEPTS_MAX 32 /* at once; then the others have their turn */

struct reply {
    LIST_ENTRY(reply) link;
    struct server *server;
    struct client *client; /* NULL: gone */
    struct peer peer;
    char *id; /* NULL: no answer is wanted */
};

struct entry {
    LIST_ENTRY(entry) link;
    struct client *client;
};

struct server {
    uv_poll_t poll;
    int fd, spare_fd; /* the spare one is given up to be able to refuse when there are no more */
    char *path;
    struct server_settings settings;
    const struct server_hooks *hooks;
    void *context;
    LIST_HEAD(, entry) clients;
    LIST_HEAD(, reply) replies;
    size_t client_count;
    bool is_closing, is_closed;
};

static const char *const role_words[] = {"nobody", "viewer", "operator", "admin"};

/* ---- replies ---- */

static void server_free_when_empty(struct server *server)
{
    if (server->is_closed && LIST_EMPTY(&server->replies)) {
        free(server->path);
        free(server);
    }
}

static void reply_end(struct reply *reply)
{
    struct server *server = reply->server;

    LIST_REMOVE(reply, link);
    if (reply->client != NULL) {
        client_pay(reply->client);
    }
    free(reply->id);
    free(reply);
    server_free_when_empty(server);
}

const struct peer *reply_peer(const struct reply *reply)
{
    return &reply->peer;
}

struct client *reply_client(const struct reply *reply)
{
    return reply->client;
}

static bool is_wanted(const struct reply *reply)
{
    return reply->client != NULL && reply->id != NULL;
}

void reply_result(struct reply *reply, enum msg_struct type, const void *result)
{
    if (is_wanted(reply)) {
        char *line = msg_result_format(reply->id, type, result);

        if (line == NULL) {
            struct err err = {0};

            (void)err_set(&err, -EIO, "the answer cannot be written as JSON");
            log_error("server: an answer cannot be encoded type=%s", msg_types[type].name);
            line = msg_error_format(reply->id, &err);
        }
        client_send(reply->client, line, -1);
    }
    reply_end(reply);
}

void reply_json(struct reply *reply, const char *json)
{
    if (is_wanted(reply)) {
        client_send(reply->client, msg_result_format_json(reply->id, json), -1);
    }
    reply_end(reply);
}

void reply_error(struct reply *reply, const struct err *err)
{
    if (is_wanted(reply)) {
        client_send(reply->client, msg_error_format(reply->id, err), -1);
    }
    reply_end(reply);
}

void reply_descriptor(struct reply *reply, int fd)
{
    if (is_wanted(reply)) {
        client_send(reply->client, msg_result_format_json(reply->id, "{}"), fd);
    } else {
        cleanup_close(&fd);
    }
    reply_end(reply);
}

/* ---- requests ---- */

static struct reply *reply_create(struct server *server, struct client *client, char *id)
{
    struct reply *reply = calloc(1, sizeof(*reply));

    if (reply == NULL) {
        free(id);
        return NULL;
    }
    reply->server = server;
    reply->client = client;
    reply->peer = *client_peer(client);
    reply->id = id;
    LIST_INSERT_HEAD(&server->replies, reply, link);
    client_owe(client);
    return reply;
}

/* May this peer call that now? Each refusal is told in the audit log. */
static int check_request(struct client *client, const struct msg_request *request, struct err *err)
{
    const struct peer *peer = client_peer(client);
    const struct msg_method_info *method = &msg_methods[request->method];
    int needed = PEER_VIEWER + (int)method->role;

    if ((int)peer->role < needed) {
        log_warn("audit: refused method=%s uid=%u pid=%d role=%s", method->name, peer->uid,
                 peer->pid, role_words[peer->role]);
        return err_set(err, -EPERM, "user %u may not call '%s': that takes the role '%s'",
                       peer->uid, method->name, role_words[needed]);
    }
    if (client_owed(client) >= SERVER_REPLIES_MAX) {
        return err_set(err, -EAGAIN, "too many requests of this connection wait for an answer");
    }
    return 0;
}

static void on_line(void *context, struct client *client, char *line, size_t size)
{
    struct server *server = context;
    struct msg_request request = {0};
    struct err err = {0};
    struct reply *reply = NULL;
    int r = msg_request_parse(line, size, &request, &err);

    if (r == 0) {
        r = check_request(client, &request, &err);
    } else if (request.id == NULL) {
        client_send(client, msg_error_format(NULL, &err), -1);
        msg_request_fini(&request);
        return;
    }
    reply = reply_create(server, client, take_ptr(request.id));
    if (reply == NULL) {
        client_close(client);
    } else if (r < 0) {
        reply_error(reply, &err);
    } else {
        server->hooks->on_request(server->context, reply, &request);
    }
    msg_request_fini(&request);
}

static void on_client_closed(void *context, struct client *client)
{
    struct server *server = context;
    struct reply *reply;
    struct entry *entry;

    LIST_FOREACH(reply, &server->replies, link)
    {
        if (reply->client == client) {
            reply->client = NULL;
        }
    }
    LIST_FOREACH(entry, &server->clients, link)
    {
        if (entry->client == client) {
            LIST_REMOVE(entry, link);
            free(entry);
            server->client_count--;
            break;
        }
    }
    server->hooks->on_client_gone(server->context, client);
}

static const struct client_hooks client_hooks = {.on_line = on_line, .on_close = on_client_closed};

/* ---- connections ---- */

static size_t count_of_user(const struct server *server, uid_t uid)
{
    const struct entry *entry;
    size_t count = 0;

    LIST_FOREACH(entry, &server->clients, link)
    {
        count += client_peer(entry->client)->uid == uid;
    }
    return count;
}

/* Say why and hang up, without waiting for anybody. */
static void turn_away(int fd, const struct peer *peer, const char *why)
{
    struct err err = {0};
    auto_free char *line = NULL;

    log_warn("audit: refused connection uid=%u pid=%d why=\"%s\"", peer->uid, peer->pid, why);
    (void)err_set(&err, -EAGAIN, "%s", why);
    line = msg_error_format(NULL, &err);
    if (line != NULL) {
        /* what does not fit into an empty socket buffer is lost to somebody who is turned away */
        (void)!send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void welcome(struct server *server, int accepted_fd)
{
    auto_close int fd = accepted_fd;
    struct peer peer;
    struct entry *entry;

    if (peer_read(fd, &server->settings.policy, &peer) < 0) {
        return;
    }
    if (count_of_user(server, peer.uid) >= server->settings.user_clients_max) {
        turn_away(fd, &peer, "too many connections of this user");
        return;
    }
    if (server->client_count >= server->settings.clients_max) {
        turn_away(fd, &peer, "too many connections");
        return;
    }
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL ||
        client_create(server->poll.loop, fd, &peer, &client_hooks, server, &entry->client) < 0) {
        free(entry);
        return;
    }
    (void)take_fd(&fd); /* the client's by now */
    LIST_INSERT_HEAD(&server->clients, entry, link);
    server->client_count++;
}

static void on_connect(uv_poll_t *poll, int status, int events)
{
    struct server *server = poll->data;

    (void)events; /* nothing but readable was asked for */
    for (int i = 0; status == 0 && i < ACCEPTS_MAX && !server->is_closing; i++) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            log_warn("server: out of descriptors, turning a client away");
            cleanup_close(&server->spare_fd);
            fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            cleanup_close(&fd);
            server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
            return;
        }
        if (fd < 0) {
            return;
        }
        welcome(server, fd);
    }
}

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

/* A socket that listens at `path`, in place of whatever an earlier daemon left there. */
static int listen_at(const char *path, mode_t mode, int *result, struct err *err)
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

int server_create(struct uv_loop_s *loop, const struct server_settings *settings,
                  const struct server_hooks *hooks, void *context, struct server **result,
                  struct err *err)
{
    auto_free struct server *server = calloc(1, sizeof(*server));
    auto_free char *path = strdup(settings->path);
    auto_close int fd = -1;
    int r;

    if (server == NULL || path == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    r = listen_at(settings->path, settings->mode, &fd, err);
    if (r < 0) {
        return r;
    }
    if (uv_poll_init(loop, &server->poll, fd) != 0) {
        return err_set(err, -EIO, "cannot watch the socket '%s'", settings->path);
    }
    server->path = take_ptr(path);
    server->settings = *settings;
    server->settings.path = server->path;
    server->hooks = hooks;
    server->context = context;
    server->fd = take_fd(&fd);
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server->poll.data = server;
    (void)uv_poll_start(&server->poll, UV_READABLE, on_connect); /* cannot fail here */
    *result = take_ptr(server);
    return 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct server *server = handle->data;

    server->is_closed = true;
    server_free_when_empty(server);
}

void server_destroy(struct server *server)
{
    struct entry *entry;

    if (server == NULL || server->is_closing) {
        return;
    }
    server->is_closing = true;
    while ((entry = LIST_FIRST(&server->clients)) != NULL) {
        client_close(entry->client); /* takes itself out of the list */
    }
    (void)unlink(server->path); /* somebody may have removed it already */
    (void)uv_poll_stop(&server->poll);
    cleanup_close(&server->fd);
    cleanup_close(&server->spare_fd);
    uv_close((uv_handle_t *)&server->poll, on_poll_closed);
}
