/* The vdev host and a module on PCI: doorbells in BARs, and what they bring. */
#include <fcntl.h>
#include <unistd.h>
#include <uv.h>

#include "qvm-worker/pci/msi.h"
#include "qvm-worker/vdev/host.h"
#include "tests/unit/pci_unit.h"

#define DEV     DEVFN(3, 0)
#define BELL    PCI_MEMORY_START
#define HEARD   (BELL + 16)
#define MASTER  (BELL + 20)
#define ADDRESS 0xfee02000u
#define DATA    0x4140u
#define TWO     0x10u /* messages, in MSI's control */

static uv_loop_t loop;
static struct vdev_host *host;

static void on_intr(void *context UNUSED, uint32_t gsi UNUSED, bool is_high UNUSED)
{
}

static void set_up(void)
{
    const struct vdev_host_option option = {.word = "loc", .argument = "pci:0:3", .where = "g:2"};
    struct vdev_host_env env = {.loop = &loop, .cpu_count = 1, .intr = on_intr};
    int directory = open(TEST_VDEV_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);

    make(false);
    env.bus = bus;
    env.pci = pci;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(vdev_host_create(directory, &host, &err), 0);
    ck_assert_msg(vdev_host_load(host, "bell", "g:1", &err) == 0, "%s", err.msg);
    ck_assert_msg(vdev_host_add(host, "bell", "g:1", &option, 1, &err) == 0, "%s", err.msg);
    ck_assert_msg(vdev_host_build(host, &env, &err) == 0, "%s", err.msg);
    ck_assert_msg(pci_seal(pci, &err) == 0, "%s", err.msg);
    (void)close(directory);
    be_master(DEV);
}

static void tear_down(void)
{
    vdev_host_destroy(host);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    done();
}

/* As a driver does it, in the one capability that there is. */
static void enable_messages(void)
{
    uint32_t at = config_in(DEV, 0x34, 1);

    ck_assert_uint_eq(config_in(DEV, at, 1), 5); /* MSI */
    config_out(DEV, at + PCI_MSI_ADDRESS, 4, ADDRESS);
    config_out(DEV, at + PCI_MSI_DATA, 2, DATA);
    config_out(DEV, at + PCI_MSI_CONTROL, 2, TWO | PCI_MSI_CONTROL_ENABLE);
}

START_TEST(a_vector_that_an_event_wants_often_is_sent_once)
{
    set_up();
    enable_messages();
    out(BUS_MEMORY, BELL, 4, 1);
    out(BUS_MEMORY, BELL, 4, 1); /* rung twice before anybody looks: one event */
    ck_assert_uint_eq(seen.message_count, 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(seen.message_count, 2);
    ck_assert_uint_eq(seen.data, DATA | 1); /* and in their order */
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(seen.message_count, 2);
    out(BUS_MEMORY, BELL, 4, 1); /* nobody reads the descriptor: the next edge is heard as well */
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(seen.message_count, 4);
    tear_down();
}
END_TEST

START_TEST(a_vector_that_a_register_wants_is_sent_at_once)
{
    set_up();
    enable_messages();
    out(BUS_MEMORY, BELL + 8, 4, 1);
    ck_assert_uint_eq(seen.message_count, 1);
    ck_assert_uint_eq(seen.data, DATA | 1);
    tear_down();
}
END_TEST

START_TEST(what_is_rung_while_the_vm_is_paused_is_heard_afterwards)
{
    set_up();
    enable_messages();
    ck_assert_int_eq(vdev_host_hold(host, &err), 0);
    out(BUS_MEMORY, BELL, 4, 1);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(seen.message_count, 0);
    vdev_host_release(host);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(seen.message_count, 2);
    tear_down();
}
END_TEST

/* PCI 3.0, 6.2.2 */
START_TEST(what_is_rung_while_the_function_is_no_bus_master_is_heard_once_more_afterwards)
{
    set_up();
    ck_assert_uint_eq(in(BUS_MEMORY, MASTER, 4), 1);
    for (uint32_t round = 0; round < 2; round++) {
        config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
        ck_assert_uint_eq(in(BUS_MEMORY, MASTER, 4), 0);
        out(BUS_MEMORY, BELL, 4, 1);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_uint_eq(in(BUS_MEMORY, HEARD, 4), 2 * round + 1);
        ck_assert_int_eq(vdev_host_hold(host, &err), 0);
        be_master(DEV);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_uint_eq(in(BUS_MEMORY, HEARD, 4), 2 * round + 1); /* the pause is left */
        vdev_host_release(host);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_uint_eq(in(BUS_MEMORY, HEARD, 4), 2 * round + 2);
    }
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    out(BUS_MEMORY, BELL, 4, 1);
    ck_assert_int_eq(vdev_host_hold(host, &err), 0);
    vdev_host_release(host); /* a pause that ends makes nobody a master */
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(in(BUS_MEMORY, HEARD, 4), 5);
    ck_assert_uint_eq(in(BUS_MEMORY, MASTER, 4), 0);
    be_master(DEV);
    pci_reset(pci); /* nor does power-on */
    config_out(DEV, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    ck_assert_uint_eq(in(BUS_MEMORY, MASTER, 4), 0);
    tear_down();
}
END_TEST

UNIT_MAIN("vdev host on PCI", a_vector_that_an_event_wants_often_is_sent_once,
          a_vector_that_a_register_wants_is_sent_at_once,
          what_is_rung_while_the_vm_is_paused_is_heard_afterwards,
          what_is_rung_while_the_function_is_no_bus_master_is_heard_once_more_afterwards)
