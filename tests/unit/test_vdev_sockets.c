/* Connections of a vdev with programs of the host: handles, wishes, answers. */
#include <sys/socket.h>
#include <sys/un.h>

#include "qvm-worker/vdev/private.h"
#include "qvm-worker/vdev/sockets.h"
#include "tests/unit/vdev_host_unit.h"

enum { WISHES_MAX = 2 * VDEV_SOCKETS_MAX };

static struct {
    int64_t serial;
    uint32_t port;
    char path[64];
} wishes[WISHES_MAX];
static uint32_t wish_count;
static int wish_result;

static int on_connect_wish(void *context UNUSED, int64_t serial, const char *path, uint32_t port)
{
    ck_assert_uint_lt(wish_count, WISHES_MAX);
    wishes[wish_count].serial = serial;
    wishes[wish_count].port = port;
    (void)snprintf(wishes[wish_count].path, sizeof(wishes[0].path), "%s", path);
    wish_count++;
    return wish_result;
}

/* A socket that listens, nobody knows where. */
static int listen_somewhere(void)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    ck_assert_int_eq(listen(fd, VDEV_SOCKETS_MAX), 0);
    return fd;
}

static struct vdev_slot *make(int listener, bool connects)
{
    struct vdev_host_env env = {
        .loop = &loop,
        .bus = bus,
        .console = console,
        .cpu_count = 1,
        .ram_below_4g = 64 << 20,
        .intr = on_intr,
        .request = on_request,
        .connect_wish = connects ? on_connect_wish : NULL,
    };
    const struct vdev_host_need *need;

    wish_count = 0;
    wish_result = 0;
    ck_assert_int_eq(
        add("virtio-vsock", "loc", "mem:feb00000,512", "intr", "ioapic:16", "listen", "/s", NULL),
        0);
    need = vdev_host_next_need(host, NULL);
    ck_assert_int_eq(need->kind, VDEV_HOST_NEED_LISTEN);
    vdev_host_grant(host, need, listener);
    if (vdev_host_build(host, &env, &err) != 0) {
        return NULL;
    }
    return host->slots[0];
}

/* The device's own thread is there, too; it knows nothing of these handles. */
static int connect_to(struct vdev_slot *slot, uint32_t port)
{
    int handle;

    (void)pthread_mutex_lock(&slot->lock);
    handle = vdev_host_socket_connect(slot, port);
    (void)pthread_mutex_unlock(&slot->lock);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    return handle;
}

static enum slot_socket_state state_of(struct vdev_slot *slot, int handle)
{
    enum slot_socket_state state;

    (void)pthread_mutex_lock(&slot->lock);
    state = slot->sockets->list[handle].state;
    (void)pthread_mutex_unlock(&slot->lock);
    return state;
}

static void let_go(struct vdev_slot *slot, uint32_t handle)
{
    (void)pthread_mutex_lock(&slot->lock);
    vdev_host_socket_close(slot, handle);
    vdev_host_reap_sockets(slot);
    (void)pthread_mutex_unlock(&slot->lock);
}

static int64_t send_to(struct vdev_slot *slot, uint32_t handle, const void *from, size_t size)
{
    int64_t n;

    (void)pthread_mutex_lock(&slot->lock);
    n = vdev_host_socket_send(slot, handle, from, size);
    (void)pthread_mutex_unlock(&slot->lock);
    return n;
}

START_TEST(what_is_no_listening_socket_is_no_grant)
{
    int pair[2];

    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_ptr_null(make(pair[0], true));
    ck_assert_str_eq(err.msg, "g:12: '/s' was not given to vdev 'virtio-vsock'");
    (void)close(pair[1]);
    tear_down();
}
END_TEST

START_TEST(a_wish_names_path_and_port_and_its_answer_is_the_connection)
{
    struct vdev_slot *slot;
    int pair[2], handle;
    char byte = 0;

    set_up(REAL_VDEV_DIR);
    slot = make(listen_somewhere(), true);
    handle = connect_to(slot, 4294967295u);
    ck_assert_int_eq(handle, 0);
    ck_assert_uint_eq(wish_count, 1);
    ck_assert_str_eq(wishes[0].path, "/s");
    ck_assert_uint_eq(wishes[0].port, 4294967295u);
    ck_assert_int_eq(send_to(slot, 0, "", 0), -EBADF); /* not yet */
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    vdev_host_connected(host, wishes[0].serial, &pair[0]);
    ck_assert_int_eq(pair[0], -1);
    ck_assert_int_eq(state_of(slot, 0), SOCKET_OPEN);
    ck_assert_int_eq(send_to(slot, 0, "", 0), 0);
    ck_assert_int_eq(send_to(slot, 0, "x", 1), 1);
    ck_assert_int_eq(read(pair[1], &byte, 1), 1);
    let_go(slot, 0);
    ck_assert_int_eq(read(pair[1], &byte, 1), 0);
    ck_assert_int_eq(state_of(slot, 0), SOCKET_FREE);
    (void)close(pair[1]);
    tear_down();
}
END_TEST

START_TEST(wishes_are_told_one_after_the_other)
{
    struct vdev_slot *slot;
    int none = -1;

    set_up(REAL_VDEV_DIR);
    slot = make(listen_somewhere(), true);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(connect_to(slot, i), (int)i);
    }
    ck_assert_uint_eq(wish_count, 1);
    vdev_host_connected(host, wishes[0].serial + 7, &none); /* of nobody's wish */
    ck_assert_uint_eq(wish_count, 1);
    vdev_host_connected(host, wishes[0].serial, &none);
    ck_assert_int_eq(state_of(slot, 0), SOCKET_REFUSED);
    ck_assert_uint_eq(wish_count, 2);
    vdev_host_connected(host, wishes[0].serial, &none); /* once more: it was answered */
    ck_assert_uint_eq(wish_count, 2);
    vdev_host_connected(host, wishes[1].serial, &none);
    vdev_host_connected(host, wishes[2].serial, &none);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(wishes[i].port, i);
        ck_assert_int_eq(state_of(slot, (int)i), SOCKET_REFUSED);
    }
    tear_down();
}
END_TEST

START_TEST(an_answer_that_comes_too_late_is_not_taken)
{
    struct vdev_slot *slot;
    int pair[2];

    set_up(REAL_VDEV_DIR);
    slot = make(listen_somewhere(), true);
    ck_assert_int_eq(connect_to(slot, 1), 0);
    let_go(slot, 0);
    ck_assert_int_eq(connect_to(slot, 2), 0); /* the same handle */
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    vdev_host_connected(host, wishes[0].serial, &pair[0]);
    ck_assert_int_ge(pair[0], 0); /* the caller's still */
    ck_assert_int_eq(state_of(slot, 0), SOCKET_ASKED);
    ck_assert_uint_eq(wishes[1].port, 2);
    vdev_host_connected(host, wishes[1].serial, &pair[0]);
    ck_assert_int_eq(state_of(slot, 0), SOCKET_OPEN);
    (void)close(pair[1]);
    tear_down();
}
END_TEST

START_TEST(when_nobody_hears_wishes_all_are_refused)
{
    struct vdev_slot *slot;
    int none = -1;

    set_up(REAL_VDEV_DIR);
    slot = make(listen_somewhere(), true);
    ck_assert_int_eq(connect_to(slot, 0), 0);
    ck_assert_int_eq(connect_to(slot, 1), 1);
    wish_result = -ENOTCONN;
    vdev_host_connected(host, 0, &none); /* who was asked is gone */
    ck_assert_int_eq(state_of(slot, 0), SOCKET_REFUSED);
    ck_assert_int_eq(state_of(slot, 1), SOCKET_REFUSED);
    vdev_host_connected(host, 0, &none); /* and nothing waits */
    tear_down();
}
END_TEST

START_TEST(connections_either_way_share_the_handles)
{
    struct vdev_slot *slot;
    struct sockaddr_un address;
    socklen_t size = sizeof(address);
    int listener = listen_somewhere(), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    set_up(REAL_VDEV_DIR);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    slot = make(listener, true);
    for (int i = 0; i < (int)VDEV_SOCKETS_MAX; i++) {
        ck_assert_int_eq(connect_to(slot, 9), i);
    }
    ck_assert_int_eq(connect_to(slot, 9), -EMFILE);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&address, size), 0);
    (void)pthread_mutex_lock(&slot->lock);
    ck_assert_int_eq(vdev_host_socket_accept(slot), -EMFILE);
    vdev_host_socket_close(slot, 77);
    vdev_host_reap_sockets(slot);
    ck_assert_int_eq(vdev_host_socket_accept(slot), 77);
    (void)pthread_mutex_unlock(&slot->lock);
    ck_assert_int_eq(state_of(slot, 77), SOCKET_OPEN);
    (void)close(client);
    tear_down();
}
END_TEST

START_TEST(wishes_without_end_are_told_a_few_at_a_time)
{
    enum { MORE = 6 };
    struct vdev_slot *slot;
    uint64_t began_ms, least_ms = (MORE - 1) * VDEV_HOST_CONNECT_GAP_MS;
    int none = -1;

    set_up(REAL_VDEV_DIR);
    slot = make(listen_somewhere(), true);
    began_ms = uv_hrtime() / 1000000;
    for (uint32_t i = 0; i < VDEV_HOST_CONNECT_BURST + MORE; i++) {
        ck_assert_int_ge(connect_to(slot, i), 0);
    }
    for (uint32_t i = 0; i < VDEV_HOST_CONNECT_BURST + MORE; i++) {
        while (wish_count == i) {
            (void)uv_run(&loop, UV_RUN_ONCE);
        }
        ck_assert_uint_eq(wish_count, i + 1);
        ck_assert_uint_eq(wishes[i].port, i); /* who came first */
        vdev_host_connected(host, wishes[i].serial, &none);
    }
    ck_assert_uint_ge(uv_hrtime() / 1000000 - began_ms, least_ms);
    tear_down();
}
END_TEST

START_TEST(without_anybody_who_could_connect_there_is_no_handle)
{
    struct vdev_slot *slot;

    set_up(REAL_VDEV_DIR);
    slot = make(listen_somewhere(), false);
    ck_assert_int_eq(connect_to(slot, 1), -ENOTCONN);
    tear_down();
}
END_TEST

UNIT_MAIN("vdev_sockets", what_is_no_listening_socket_is_no_grant,
          a_wish_names_path_and_port_and_its_answer_is_the_connection,
          wishes_are_told_one_after_the_other, an_answer_that_comes_too_late_is_not_taken,
          when_nobody_hears_wishes_all_are_refused, connections_either_way_share_the_handles,
          wishes_without_end_are_told_a_few_at_a_time,
          without_anybody_who_could_connect_there_is_no_handle)
