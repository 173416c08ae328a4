/* A console's ports and the vdev host: what is typed while the device is still waits, and no longer
 * than that. */
#include "qvm-worker/vdev/private.h"
#include "tests/unit/vdev_host_unit.h"

enum { SESSION = 1, FILE_PORT = 2, PORTS };

static struct vdev_slot *slot;
static struct {
    char bytes[16];
    size_t count;
} heard[PORTS];
static int typed[PORTS]; /* where somebody types */

/* In the place of the console, which would want a driver. */
static size_t on_receive(void *device UNUSED, uint32_t port, const uint8_t *data, size_t count)
{
    ck_assert_uint_lt(port, PORTS);
    ck_assert_uint_lt(heard[port].count + count, sizeof(heard[port].bytes));
    memcpy(heard[port].bytes + heard[port].count, data, count);
    heard[port].count += count;
    return count;
}

/* A port with a session, and one at a pipe. */
static void begin(void)
{
    const struct vdev_host_need *need;
    struct console *port;
    int fds[2];

    set_up(REAL_VDEV_DIR);
    memset(heard, 0, sizeof(heard));
    ck_assert_int_eq(add("virtio-console", "loc", "mem:feb00000,512", "intr", "ioapic:16", "port",
                         "agent", "port", "file,<in", NULL),
                     0);
    need = vdev_host_next_need(host, NULL);
    ck_assert_str_eq(need->path, "in");
    ck_assert_int_eq(pipe(fds), 0);
    vdev_host_grant(host, need, fds[0]);
    typed[FILE_PORT] = fds[1];
    ck_assert_msg(build() == 0, "%s", err.msg);
    slot = host->slots[0];
    host->modules[0]->ops.port_receive = on_receive; /* none is loaded beside it */
    ck_assert_int_eq(vdev_host_port_console(host, "agent", &port, &err), 0);
    ck_assert_int_eq(uv_socketpair(SOCK_STREAM, 0, fds, 0, UV_NONBLOCK_PIPE), 0);
    ck_assert_int_eq(console_attach(port, fds[0], 0, CONSOLE_FROM_NOW, &err), 0);
    typed[SESSION] = fds[1];
}

static void end(void)
{
    tear_down();
    close(typed[SESSION]);
    close(typed[FILE_PORT]);
}

static void type(const char *text)
{
    for (int i = SESSION; i < PORTS; i++) {
        ck_assert_int_eq(write(typed[i], text, strlen(text)), (ssize_t)strlen(text));
    }
    turn();
}

static void check_heard(const char *text)
{
    turn();
    for (int i = SESSION; i < PORTS; i++) {
        ck_assert_uint_eq(heard[i].count, strlen(text));
        ck_assert_mem_eq(heard[i].bytes, text, strlen(text));
    }
}

START_TEST(what_is_typed_at_ports_during_a_pause_is_heard_afterwards)
{
    begin();
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(vdev_host_hold(host, &err), 0);
        type("ab");
        check_heard(i == 0 ? "" : "ab");
        vdev_host_release(host);
        check_heard(i == 0 ? "ab" : "abab");
    }
    type("c");
    check_heard("ababc");
    end();
}
END_TEST

START_TEST(what_is_typed_at_ports_before_the_device_may_be_master_is_heard_then)
{
    begin();
    vdev_host_set_master(slot, false);
    type("ab");
    check_heard("");
    ck_assert_int_eq(vdev_host_hold(host, &err), 0);
    vdev_host_set_master(slot, true);
    check_heard(""); /* the pause is left */
    vdev_host_set_master(slot, false);
    vdev_host_release(host);
    check_heard("");
    vdev_host_set_master(slot, true);
    check_heard("ab");
    type("c");
    check_heard("abc");
    end();
}
END_TEST

START_TEST(what_is_typed_at_ports_waits_through_a_reset_while_the_device_is_still)
{
    begin();
    vdev_host_set_master(slot, false);
    type("ab");
    vdev_host_reset(host);
    check_heard("");
    vdev_host_set_master(slot, true);
    check_heard("ab");
    end();
}
END_TEST

START_TEST(what_is_typed_at_ports_before_a_restore_is_heard_once_the_vm_goes_on)
{
    struct fields_writer saved = {0};

    begin();
    ck_assert_int_eq(vdev_host_hold(host, &err), 0);
    type("ab");
    ck_assert_int_eq(vdev_host_save(host, &saved, &err), 0);
    ck_assert_msg(vdev_host_restore(host, saved.bytes, saved.size, &err) == 0, "%s", err.msg);
    check_heard("");
    vdev_host_release(host);
    check_heard("ab");
    fields_discard(&saved);
    end();
}
END_TEST

UNIT_MAIN("virtio_console_host", what_is_typed_at_ports_during_a_pause_is_heard_afterwards,
          what_is_typed_at_ports_before_the_device_may_be_master_is_heard_then,
          what_is_typed_at_ports_waits_through_a_reset_while_the_device_is_still,
          what_is_typed_at_ports_before_a_restore_is_heard_once_the_vm_goes_on)
