#include "daemon/server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <uv.h>

#include "daemon/server/audit.h"
#include "daemon/server/client.h"
#include "daemon/server/socket.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define DEVICE_NAME_MAX 63  /* of a name in the pool, or a BDF */
#define ACCEPTS_MAX     32  /* at once; then the others have their turn */
#define NO_METHOD       "?" /* in the audit log, of a request that could not be read */

struct reply {
    LIST_ENTRY(reply) link;
    struct server *server;
    struct client *client; /* NULL: gone */
    struct peer peer;
    char *id;             /* NULL: no answer is wanted */
    const char *method;   /* NULL: the request could not be read */
    reply_heard_fn heard; /* NULL: nobody listens */
    void *heard_data;
    bool is_change; /* that is told in the audit log; a refusal always is */
    char guest[GUEST_NAME_MAX + 1];
    char device[DEVICE_NAME_MAX + 1];
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
    size_t orphan_count; /* replies whose client is gone */
    bool is_ours;        /* the socket: we made it, and remove it */
    bool is_closing, is_closed;
};

static const char *const role_words[] = {"nobody", "viewer", "operator", "admin"};

/* Not for everybody, but nothing is changed by them. */
static const bool is_reading[METHOD_COUNT] = {
    [METHOD_audit] = true, [METHOD_console_read] = true, [METHOD_log] = true};

/* ---- replies ---- */

static void server_free_when_empty(struct server *server)
{
    if (server->is_closed && LIST_EMPTY(&server->replies)) {
        free(server->path);
        free(server);
    }
}

/* Who only looks is told of mistakes; what he may not do is for the audit log. */
static bool is_told(const struct reply *reply, const struct err *refusal)
{
    if (reply->is_change || refusal == NULL) {
        return reply->is_change;
    }
    return refusal->code == -EPERM || refusal->code == -EACCES || refusal->code == -EAGAIN ||
           reply->method == NULL;
}

/* Each way to answer ends here: what was changed or refused is written down. */
static void reply_end(struct reply *reply, const struct err *refusal)
{
    struct server *server = reply->server;

    if (is_told(reply, refusal)) {
        audit_tell(
            server->settings.audit,
            &(struct audit_entry){.peer = &reply->peer,
                                  .method = reply->method != NULL ? reply->method : NO_METHOD,
                                  .guest = reply->guest,
                                  .device = reply->device,
                                  .refusal = refusal});
    }
    LIST_REMOVE(reply, link);
    if (reply->client != NULL) {
        client_pay(reply->client);
    } else {
        server->orphan_count--;
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

void reply_listen(struct reply *reply, reply_heard_fn heard, void *data)
{
    reply->heard = heard;
    reply->heard_data = data;
}

/* Let it be heard; true: the client is there and wants it, too. */
static bool let_hear(const struct reply *reply, const char *json, const struct err *err)
{
    if (reply->heard != NULL) {
        reply->heard(reply->heard_data, json, err);
    }
    return reply->client != NULL && reply->id != NULL;
}

void reply_result(struct reply *reply, enum msg_struct type, const void *result)
{
    auto_free char *json = reply->heard != NULL ? msg_encode_told(type, result) : NULL;

    if (let_hear(reply, json, NULL)) {
        char *line = msg_result_format(reply->id, type, result);

        if (line == NULL) {
            struct err err = {0};

            (void)err_set(&err, -EIO, "the answer cannot be written as JSON");
            log_error("server: an answer cannot be encoded type=%s", msg_types[type].name);
            line = msg_error_format(reply->id, &err);
        }
        client_send(reply->client, line, -1);
    }
    reply_end(reply, NULL);
}

void reply_json(struct reply *reply, const char *json)
{
    if (let_hear(reply, json, NULL)) {
        client_send(reply->client, msg_result_format_json(reply->id, json), -1);
    }
    reply_end(reply, NULL);
}

void reply_error(struct reply *reply, const struct err *err)
{
    if (let_hear(reply, NULL, err)) {
        client_send(reply->client, msg_error_format(reply->id, err), -1);
    }
    reply_end(reply, err);
}

void reply_descriptor(struct reply *reply, int fd)
{
    if (let_hear(reply, NULL, NULL)) {
        client_send(reply->client, msg_result_format_json(reply->id, "{}"), fd);
    } else {
        cleanup_close(&fd);
    }
    reply_end(reply, NULL);
}

void reply_with_descriptors(struct reply *reply, enum msg_struct type, const void *result,
                            const int *fds, size_t count)
{
    if (let_hear(reply, NULL, NULL)) {
        client_send_lent(reply->client, msg_result_format(reply->id, type, result), fds, count);
    } else if (reply->client != NULL) {
        client_close(reply->client);
    }
    reply_end(reply, NULL);
}

/* ---- requests ---- */

/* What the audit log is to say of a request whose method is known. */
static void note_request(struct reply *reply, const struct msg_request *request)
{
    const struct msg_method_info *method = &msg_methods[request->method];
    const char *guest =
        request->params != NULL ? msg_name_of(method->params, request->params) : NULL;
    const char *device =
        request->params != NULL ? msg_device_of(method->params, request->params) : NULL;

    reply->method = method->name;
    reply->is_change = method->role != MSG_ROLE_VIEWER && !is_reading[request->method];
    (void)snprintf(reply->guest, sizeof(reply->guest), "%s", guest != NULL ? guest : "");
    (void)snprintf(reply->device, sizeof(reply->device), "%s", device != NULL ? device : "");
}

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

/* Whether a user has left so many calls without waiting for their answers that no more are taken.
 */
static bool has_left_too_many(const struct server *server, uid_t uid)
{
    const struct reply *reply;
    size_t count = 0;

    if (server->orphan_count < SERVER_ORPHANS_MAX) {
        return false;
    }
    LIST_FOREACH(reply, &server->replies, link)
    {
        count += reply->client == NULL && reply->peer.uid == uid;
    }
    return count >= SERVER_ORPHANS_MAX;
}

/* May this peer call that now? Who may not is told that, whatever else is wrong with the request.
 */
static int check_request(const struct server *server, struct client *client,
                         const struct msg_request *request, int r, struct err *err)
{
    const struct peer *peer = client_peer(client);
    const struct msg_method_info *method = &msg_methods[request->method];
    int needed = PEER_VIEWER + (int)method->role;

    if ((int)peer->role < needed) {
        return err_set(err, -EPERM, "user %u may not call '%s': that takes the role '%s'",
                       peer->uid, method->name, role_words[needed]);
    }
    if (r == 0 && client_owed(client) >= SERVER_REPLIES_MAX) {
        return err_set(err, -EAGAIN, "too many requests of this connection wait for an answer");
    }
    if (r == 0 && peer->role != PEER_ADMIN && has_left_too_many(server, peer->uid)) {
        return err_set(err, -EAGAIN,
                       "user %u has left %d calls that are not done yet; an admin can end what "
                       "they wait for",
                       peer->uid, SERVER_ORPHANS_MAX);
    }
    return r;
}

static void on_line(void *context, struct client *client, char *line, size_t size)
{
    struct server *server = context;
    struct msg_request request = {0};
    struct err err = {0};
    struct reply *reply = NULL;
    int r = msg_request_parse(line, size, &request, &err);

    if (request.method >= 0) {
        r = check_request(server, client, &request, r, &err);
    } else if (request.id == NULL) {
        audit_tell(server->settings.audit, &(struct audit_entry){.peer = client_peer(client),
                                                                 .method = NO_METHOD,
                                                                 .refusal = &err});
        client_send(client, msg_error_format(NULL, &err), -1);
        msg_request_fini(&request);
        return;
    }
    reply = reply_create(server, client, take_ptr(request.id));
    if (reply != NULL && request.method >= 0) {
        note_request(reply, &request);
    }
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
            server->orphan_count++;
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
static void turn_away(struct audit *audit, int fd, const struct peer *peer, const char *why)
{
    struct err err = {0};
    auto_free char *line = NULL;

    (void)err_set(&err, -EAGAIN, "%s", why);
    audit_tell(audit, &(struct audit_entry){.peer = peer, .method = "connect", .refusal = &err});
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
        turn_away(server->settings.audit, fd, &peer, "too many connections of this user");
        return;
    }
    if (server->client_count >= server->settings.clients_max) {
        turn_away(server->settings.audit, fd, &peer, "too many connections");
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
    r = settings->fd >= 0 ? server_take_over(settings->fd, settings->mode, &fd, err)
                          : server_listen(settings->path, settings->mode, &fd, err);
    if (r < 0) {
        return r;
    }
    if (uv_poll_init(loop, &server->poll, fd) != 0) {
        return err_set(err, -EIO, "cannot watch the socket '%s'", settings->path);
    }
    server->path = take_ptr(path);
    server->is_ours = settings->fd < 0;
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
    if (server->is_ours) {
        (void)unlink(server->path); /* somebody may have removed it already */
    }
    (void)uv_poll_stop(&server->poll);
    cleanup_close(&server->fd);
    cleanup_close(&server->spare_fd);
    uv_close((uv_handle_t *)&server->poll, on_poll_closed);
}
