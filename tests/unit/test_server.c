/* The API's socket: lines in and out, limits, answers that come later. */
#include "daemon/server/server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/server/client.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "tests/unit/unit.h"

#define LINE "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.list\"}\n"

static struct {
    uv_loop_t loop;
    struct server *server;
    char directory[64], path[96];
    struct reply *kept; /* the last request, if it is to be answered later */
    bool keeps;
    int requests, gone;
} world;

static void on_request(void *context, struct reply *reply, const struct msg_request *request)
{
    (void)context;
    (void)request;
    world.requests++;
    if (world.keeps) {
        world.kept = reply;
    } else {
        reply_json(reply, "{}");
    }
}

static void on_client_gone(void *context, struct client *client)
{
    (void)context;
    (void)client;
    world.gone++;
}

static const struct server_hooks hooks = {.on_request = on_request,
                                          .on_client_gone = on_client_gone};

static void set_up(size_t clients_max, size_t user_clients_max)
{
    struct server_settings settings = {
        .fd = -1,
        .path = world.path,
        .mode = 0600,
        .clients_max = clients_max,
        .user_clients_max = user_clients_max,
        .policy = {.viewer_gid = PEER_NO_GROUP,
                   .operator_gid = PEER_NO_GROUP,
                   .admin_gid = PEER_NO_GROUP,
                   .daemon_uid = geteuid()},
    };
    struct err err = {0};

    log_to(-1, 0, false);
    (void)strcpy(world.directory, "/tmp/qvm-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(world.directory));
    (void)snprintf(world.path, sizeof(world.path), "%s/s", world.directory);
    ck_assert_int_eq(uv_loop_init(&world.loop), 0);
    ck_assert_int_eq(server_create(&world.loop, &settings, &hooks, NULL, &world.server, &err), 0);
}

static void tear_down(void)
{
    server_destroy(world.server);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&world.loop), 0);
    ck_assert_int_eq(rmdir(world.directory), 0); /* the socket is gone */
}

/* Let everything happen that can happen now. */
static void settle(void)
{
    for (int i = 0; i < 50; i++) {
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    }
}

static int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%.90s", world.path);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    settle();
    return fd;
}

static void say(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    settle();
}

/* What has arrived; NULL: the connection is over. */
static const char *hear(int fd)
{
    static char text[65536];
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno == ECONNRESET)) {
        return NULL;
    }
    text[n > 0 ? n : 0] = '\0';
    return text;
}

START_TEST(the_socket_has_its_mode_and_replaces_an_old_one)
{
    struct stat status;

    set_up(4, 4);
    ck_assert_int_eq(stat(world.path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    tear_down();
}
END_TEST

START_TEST(a_second_server_takes_nobody_s_socket_away)
{
    struct server_settings settings = {
        .path = world.path, .fd = -1, .mode = 0600, .clients_max = 1};
    struct server *second = NULL;
    struct err err = {0};
    char expected[160];
    int fd;

    set_up(8, 8);
    ck_assert_int_eq(server_create(&world.loop, &settings, &hooks, NULL, &second, &err), -EBUSY);
    (void)snprintf(expected, sizeof(expected), "another qvmd (pid %d) answers at '%s'",
                   (int)getpid(), world.path);
    ck_assert_str_eq(err.msg, expected);
    fd = dial();
    say(fd, LINE);
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"result\""));
    (void)close(fd);
    tear_down();
}
END_TEST

START_TEST(a_path_that_is_too_long_for_a_socket_is_refused_in_words)
{
    char path[256];
    struct server_settings settings = {.path = path, .fd = -1};
    struct err err = {0};

    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    path[0] = '/';
    ck_assert_int_eq(uv_loop_init(&world.loop), 0);
    ck_assert_int_eq(server_create(&world.loop, &settings, &hooks, NULL, &world.server, &err),
                     -ENAMETOOLONG);
    ck_assert_ptr_nonnull(strstr(err.msg, "107"));
    ck_assert_int_eq(uv_loop_close(&world.loop), 0);
}
END_TEST

/* A server that answers later, and a client whose request waits for that. */
static int dial_and_wait(void)
{
    int fd;

    set_up(4, 4);
    world.keeps = true;
    fd = dial();
    say(fd, LINE);
    return fd;
}

/* So many connections in all and of one user, and one more, which is turned away. */
static void dial_too_often(size_t all, size_t of_one, int fds[3])
{
    set_up(all, of_one);
    for (int i = 0; i < 3; i++) {
        fds[i] = dial();
    }
    ck_assert_ptr_nonnull(strstr(hear(fds[2]), "too-many"));
}

START_TEST(an_answer_may_come_later)
{
    int fd = dial_and_wait();

    ck_assert_str_eq(hear(fd), "");
    reply_json(world.kept, "{\"x\":1}");
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"x\":1"));
    (void)close(fd);
    tear_down();
}
END_TEST

START_TEST(an_answer_to_somebody_who_left_is_heard_by_nobody)
{
    int fd = dial_and_wait();

    (void)close(fd);
    settle();
    ck_assert_int_eq(world.gone, 1);
    ck_assert_ptr_null(reply_client(world.kept));
    reply_json(world.kept, "{}");
    tear_down();
}
END_TEST

START_TEST(an_answer_after_the_end_of_the_server_is_harmless)
{
    int fd = dial_and_wait();

    tear_down();
    reply_json(world.kept, "{}"); /* and with it the server's memory goes */
    (void)close(fd);
}
END_TEST

START_TEST(who_has_said_all_is_kept_until_the_answer)
{
    int fd = dial_and_wait();

    (void)shutdown(fd, SHUT_WR);
    settle();
    ck_assert_int_eq(world.gone, 0);
    reply_json(world.kept, "{}");
    settle();
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"result\""));
    ck_assert_ptr_null(hear(fd));
    ck_assert_int_eq(world.gone, 1);
    (void)close(fd);
    tear_down();
}
END_TEST

START_TEST(who_has_said_all_and_leaves_is_noticed)
{
    int fd = dial_and_wait();

    (void)shutdown(fd, SHUT_WR);
    settle();
    (void)close(fd);
    settle();
    ck_assert_int_eq(world.gone, 1);
    reply_json(world.kept, "{}");
    tear_down();
}
END_TEST

START_TEST(so_many_connections_of_one_user_and_no_more)
{
    int fds[3];

    dial_too_often(8, 2, fds);
    ck_assert_ptr_null(hear(fds[2]));
    say(fds[1], LINE);
    ck_assert_ptr_nonnull(strstr(hear(fds[1]), "result"));
    (void)close(fds[0]);
    settle();
    (void)close(fds[2]);
    fds[2] = dial();
    say(fds[2], LINE);
    ck_assert_ptr_nonnull(strstr(hear(fds[2]), "result"));
    (void)close(fds[1]);
    (void)close(fds[2]);
    tear_down();
}
END_TEST

START_TEST(so_many_connections_in_all_and_no_more)
{
    int fds[3];

    dial_too_often(2, 8, fds);
    for (int i = 0; i < 3; i++) {
        (void)close(fds[i]);
    }
    tear_down();
}
END_TEST

START_TEST(so_many_requests_of_one_client_may_wait_and_no_more)
{
    struct reply *replies[SERVER_REPLIES_MAX];
    int fd;

    set_up(4, 4);
    world.keeps = true;
    fd = dial();
    for (int i = 0; i < SERVER_REPLIES_MAX; i++) {
        say(fd, LINE);
        replies[i] = world.kept;
    }
    ck_assert_int_eq(world.requests, SERVER_REPLIES_MAX);
    say(fd, LINE);
    ck_assert_int_eq(world.requests, SERVER_REPLIES_MAX);
    ck_assert_ptr_nonnull(strstr(hear(fd), "too-many"));
    for (int i = 0; i < SERVER_REPLIES_MAX; i++) {
        reply_json(replies[i], "{}");
    }
    (void)close(fd);
    tear_down();
}
END_TEST

START_TEST(a_descriptor_comes_with_the_answer)
{
    char text[1024];
    struct iovec piece = {.iov_base = text, .iov_len = sizeof(text)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } space = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = space.bytes,
                             .msg_controllen = sizeof(space.bytes)};
    int fd, passed = -1, pipe_fds[2];

    fd = dial_and_wait();
    ck_assert_int_eq(pipe(pipe_fds), 0);
    reply_descriptor(world.kept, pipe_fds[1]);
    ck_assert_int_gt(recvmsg(fd, &message, MSG_CMSG_CLOEXEC), 0);
    ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&message));
    memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(passed));
    ck_assert_int_eq(write(passed, "x", 1), 1);
    (void)close(passed);
    ck_assert_int_eq(read(pipe_fds[0], text, 2), 1);
    ck_assert_int_eq(read(pipe_fds[0], text, 1), 0); /* no copy of it is left anywhere */
    (void)close(pipe_fds[0]);
    (void)close(fd);
    tear_down();
}
END_TEST

START_TEST(a_client_that_does_not_read_is_cut_at_the_limit)
{
    char *line;
    int fd = dial_and_wait();

    line = malloc(CLIENT_OUT_MAX + 2);
    ck_assert_ptr_nonnull(line);
    memset(line, 'x', CLIENT_OUT_MAX + 1);
    line[CLIENT_OUT_MAX] = '\0';
    client_send(reply_client(world.kept), line, -1); /* as much as the limit */
    settle();
    ck_assert_int_eq(world.gone, 0);
    line = malloc(CLIENT_OUT_MAX + 2);
    ck_assert_ptr_nonnull(line);
    memset(line, 'x', CLIENT_OUT_MAX + 1);
    line[CLIENT_OUT_MAX] = '\0';
    client_send(reply_client(world.kept), line, -1); /* some was sent, but not half of it */
    settle();
    ck_assert_int_eq(world.gone, 1);
    reply_json(world.kept, "{}");
    (void)close(fd);
    tear_down();
}
END_TEST

START_TEST(roles_come_from_groups_and_the_best_one_counts)
{
    const struct peer_policy policy = {
        .viewer_gid = 10, .operator_gid = 20, .admin_gid = PEER_NO_GROUP, .daemon_uid = 7};
    const gid_t none[] = {PEER_NO_GROUP, 1}, viewer[] = {1, 10}, both[] = {10, 20};

    ck_assert_int_eq(peer_role(&policy, 0, none, 2), PEER_ADMIN);
    ck_assert_int_eq(peer_role(&policy, 7, none, 2), PEER_ADMIN);
    ck_assert_int_eq(peer_role(&policy, 8, none, 2), PEER_STRANGER);
    ck_assert_int_eq(peer_role(&policy, 8, viewer, 2), PEER_VIEWER);
    ck_assert_int_eq(peer_role(&policy, 8, both, 2), PEER_OPERATOR);
}
END_TEST

UNIT_MAIN("server", the_socket_has_its_mode_and_replaces_an_old_one,
          a_second_server_takes_nobody_s_socket_away,
          a_path_that_is_too_long_for_a_socket_is_refused_in_words, an_answer_may_come_later,
          an_answer_to_somebody_who_left_is_heard_by_nobody,
          an_answer_after_the_end_of_the_server_is_harmless,
          who_has_said_all_is_kept_until_the_answer, who_has_said_all_and_leaves_is_noticed,
          so_many_connections_of_one_user_and_no_more, so_many_connections_in_all_and_no_more,
          so_many_requests_of_one_client_may_wait_and_no_more, a_descriptor_comes_with_the_answer,
          a_client_that_does_not_read_is_cut_at_the_limit,
          roles_come_from_groups_and_the_best_one_counts)
