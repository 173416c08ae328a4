/* Devices that come and go, as the kernel says it, on a prepared machine. */
#include "daemon/host/inventory.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/host/uevent.h"
#include "proto/base/err.h"
#include "tests/unit/tree_unit.h"
#include "tests/unit/unit.h"

#define DEVICES "/sys/bus/pci/devices"
#define FIRST   "0000:00:01.0"
#define SECOND  "0000:00:02.0"
#define THIRD   "0000:00:03.0"

static uv_loop_t loop;
static struct inventory *inventory;
static char heard[256]; /* "+BDF" and "-BDF" */

static void on_change(void *context, const struct pci_function *function, bool is_there)
{
    ck_assert_ptr_eq(context, &loop);
    (void)snprintf(heard + strlen(heard), sizeof(heard) - strlen(heard), "%c%s ",
                   is_there ? '+' : '-', function->bdf);
}

/* Who looks at configuration spaces, later: "BDF " of each. */
static char asked[256];

static int on_look(void *context, const char (*bdfs)[PCI_BDF_SIZE], size_t count)
{
    ck_assert_ptr_eq(context, &loop);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(asked + strlen(asked), sizeof(asked) - strlen(asked), "%s ", bdfs[i]);
    }
    return 0;
}

/* What was asked since the last time. */
static const char *asked_now(void)
{
    static char now[sizeof(asked)];

    memcpy(now, asked, sizeof(now));
    asked[0] = '\0';
    return now;
}

static void add_function(const char *bdf, const char *class)
{
    char path[128];

    (void)snprintf(path, sizeof(path), DEVICES "/%s/class", bdf);
    tree_bytes(path, class, strlen(class));
}

static void setup(void)
{
    const struct inventory_env env = {.loop = &loop,
                                      .root = tree_root,
                                      .is_told = true,
                                      .on_change = on_change,
                                      .look = on_look,
                                      .context = &loop};

    asked[0] = '\0';
    tree_make();
    add_function(FIRST, "0x020000\n");
    tree_bytes("/sys/devices/system/cpu/online", "0\n", 2);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(inventory_create(&env, &inventory, NULL), 0);
}

static void teardown(void)
{
    inventory_destroy(inventory);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    tree_remove();
}

/* Words end in zeros, which are written as '|'. */
static void hear(const char *words)
{
    char text[UEVENT_SIZE + 1];
    size_t size = strlen(words);

    memcpy(text, words, size + 1);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '|') {
            text[i] = '\0';
        }
    }
    inventory_hear(inventory, text, size);
}

#define MESSAGE(action, bdf)                                                                       \
    action "@/devices/pci0000:00/" bdf "|ACTION=" action "|DEVPATH=/devices/pci0000:00/" bdf       \
           "|SUBSYSTEM=pci|PCI_CLASS=20000|PCI_SLOT_NAME=" bdf "|SEQNUM=7|"

START_TEST(a_device_that_appears_is_told_and_listed)
{
    ck_assert_uint_eq(inventory_pci(inventory)->count, 1);
    add_function(SECOND, "0x010802\n");
    ck_assert_uint_eq(inventory_pci(inventory)->count, 1); /* nothing was said */
    hear(MESSAGE("add", SECOND));
    ck_assert_str_eq(heard, "+" SECOND " ");
    ck_assert_uint_eq(inventory_pci(inventory)->count, 2);
    ck_assert_uint_eq(pci_find(inventory_pci(inventory), SECOND)->class, 0x010802);
}
END_TEST

START_TEST(a_device_that_vanishes_is_told_though_its_directory_is_still_there)
{
    hear(MESSAGE("remove", FIRST));
    ck_assert_str_eq(heard, "-" FIRST " ");
    ck_assert_uint_eq(inventory_pci(inventory)->count, 0);
    hear(MESSAGE("remove", FIRST));
    ck_assert_str_eq(heard, "-" FIRST " ");
}
END_TEST

START_TEST(a_device_in_the_place_of_another_is_another)
{
    hear(MESSAGE("add", FIRST));
    ck_assert_str_eq(heard, "-" FIRST " +" FIRST " ");
    ck_assert_uint_eq(inventory_pci(inventory)->count, 1);
}
END_TEST

START_TEST(a_device_that_has_gone_before_it_could_be_read_is_not_told)
{
    hear(MESSAGE("add", SECOND));
    hear(MESSAGE("add", "../" FIRST));
    ck_assert_str_eq(heard, "");
    ck_assert_uint_eq(inventory_pci(inventory)->count, 1);
}
END_TEST

START_TEST(a_driver_that_was_bound_is_seen)
{
    ck_assert_str_eq(inventory_pci(inventory)->list[0].driver, "");
    tree_link(DEVICES "/" FIRST "/driver", "../../../bus/pci/drivers/vfio-pci");
    hear(MESSAGE("bind", FIRST));
    ck_assert_str_eq(inventory_pci(inventory)->list[0].driver, "vfio-pci");
    ck_assert_str_eq(heard, "");
}
END_TEST

START_TEST(configuration_space_is_read_by_somebody_who_may_wait_and_once)
{
    const struct pci_config known = {.is_known = true, .serial = 7};

    ck_assert_str_eq(asked_now(), FIRST " ");
    ck_assert(!pci_find(inventory_pci(inventory), FIRST)->config.is_known);
    add_function(SECOND, "0x010802\n");
    hear(MESSAGE("add", SECOND));
    ck_assert_str_eq(asked_now(), ""); /* somebody looks already */
    inventory_looked(inventory, &known, 1);
    ck_assert_uint_eq(pci_find(inventory_pci(inventory), FIRST)->config.serial, 7);
    ck_assert_str_eq(asked_now(), SECOND " ");
    inventory_looked(inventory, &(struct pci_config){0}, 1); /* it does not answer */
    hear(MESSAGE("bind", FIRST));
    ck_assert_uint_eq(inventory_pci(inventory)->count, 2);
    ck_assert_str_eq(asked_now(), ""); /* not yet again */
    hear(MESSAGE("add", FIRST));
    ck_assert_str_eq(asked_now(), FIRST " "); /* it is another */
}
END_TEST

START_TEST(who_did_not_answer_is_asked_again_by_a_later_question)
{
    const struct timespec a_second = {.tv_sec = 1, .tv_nsec = 50000000};

    ck_assert_str_eq(asked_now(), FIRST " ");
    inventory_looked(inventory, &(struct pci_config){0}, 1);
    ck_assert_int_eq(nanosleep(&a_second, NULL), 0);
    ck_assert_str_eq(asked_now(), ""); /* nobody wants to know */
    ck_assert_uint_eq(inventory_pci(inventory)->count, 1);
    ck_assert_str_eq(asked_now(), FIRST " ");
}
END_TEST

START_TEST(who_is_behind_a_function_that_waits_has_its_turn_again)
{
    hear(MESSAGE("remove", FIRST));
    inventory_looked(inventory, NULL, 0);
    ck_assert_str_eq(asked_now(), FIRST " ");
    add_function(SECOND, "0x010802\n");
    add_function(THIRD, "0x010802\n");
    hear(MESSAGE("add", FIRST));
    hear(MESSAGE("add", SECOND));
    hear(MESSAGE("add", THIRD));
    ck_assert_str_eq(asked_now(), FIRST " ");
    inventory_looked(inventory, NULL, 0); /* it took too long */
    ck_assert_str_eq(asked_now(), SECOND " " THIRD " ");
    inventory_looked(inventory, NULL, 0);
    ck_assert_str_eq(asked_now(), THIRD " ");
    inventory_looked(inventory, &(struct pci_config){.is_known = true}, 1);
    ck_assert_str_eq(asked_now(), "");
    ck_assert(pci_find(inventory_pci(inventory), THIRD)->config.is_known);
}
END_TEST

START_TEST(what_others_say_is_nothing_to_us)
{
    static const char *const words[] = {"",
                                        "add",
                                        "add@",
                                        "libudev|ACTION=add|SUBSYSTEM=pci|PCI_SLOT_NAME=" SECOND,
                                        "add@/x|SUBSYSTEM=pci|PCI_SLOT_NAME=" SECOND,
                                        "add@/x|ACTION=add|SUBSYSTEM=net|PCI_SLOT_NAME=" SECOND,
                                        "add@/x|ACTION=add|SUBSYSTEM=pci|"};

    add_function(SECOND, "0x010802\n");
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        hear(words[i]);
    }
    ck_assert_str_eq(heard, "");
    ck_assert_uint_eq(inventory_pci(inventory)->count, 1);
}
END_TEST

START_TEST(a_cpu_that_was_switched_on_is_seen)
{
    ck_assert_uint_eq(inventory_topology(inventory)->cpu_count, 1);
    tree_bytes("/sys/devices/system/cpu/online", "0-1\n", 4);
    ck_assert_uint_eq(inventory_topology(inventory)->cpu_count, 1);
    hear("online@/devices/system/cpu/cpu1|ACTION=online|SUBSYSTEM=cpu|");
    ck_assert_uint_eq(inventory_topology(inventory)->cpu_count, 2);
}
END_TEST

START_TEST(who_is_deaf_notices_what_has_changed_when_he_is_asked)
{
    const struct inventory_env env = {
        .loop = &loop, .root = tree_root, .on_change = on_change, .context = &loop};
    struct inventory *deaf = NULL;
    char path[PATH_MAX];

    ck_assert_int_eq(inventory_create(&env, &deaf, NULL), 0);
    ck_assert_ptr_nonnull(inventory_deaf(deaf));
    add_function(SECOND, "0x010802\n");
    ck_assert_str_eq(heard, "");
    ck_assert_uint_eq(inventory_pci(deaf)->count, 2);
    ck_assert_str_eq(heard, "+" SECOND " ");
    add_function(SECOND, "0x020000\n"); /* another in its place */
    ck_assert_uint_eq(inventory_pci(deaf)->count, 2);
    ck_assert_str_eq(heard, "+" SECOND " -" SECOND " +" SECOND " ");
    tree_path(path, DEVICES "/" SECOND "/class");
    ck_assert_int_eq(unlink(path), 0);
    tree_path(path, DEVICES "/" SECOND);
    ck_assert_int_eq(rmdir(path), 0);
    heard[0] = '\0';
    ck_assert_uint_eq(inventory_pci(deaf)->count, 1);
    ck_assert_str_eq(heard, "-" SECOND " ");
    tree_bytes("/sys/devices/system/cpu/online", "0-1\n", 4);
    ck_assert_uint_eq(inventory_topology(deaf)->cpu_count, 2);
    inventory_destroy(deaf);
}
END_TEST

START_TEST(vms_that_come_and_go_wake_up_nobody)
{
    static const char vm[] = "change@/devices/virtual/misc/kvm\0ACTION=change";
    static const char other[] = "change@/devices/virtual/misc/kvn\0ACTION=change";
    static const char device[] = "add@/devices/pci0000:00/0000:00:01.0\0ACTION=add";
    char text[UEVENT_SIZE];
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(uevent_ignore_vms(fds[0]), 0);
    ck_assert_int_eq(send(fds[1], vm, sizeof(vm), 0), sizeof(vm));
    ck_assert_int_eq(recv(fds[0], text, sizeof(text), MSG_DONTWAIT), -1);
    ck_assert_int_eq(send(fds[1], other, sizeof(other), 0), sizeof(other));
    ck_assert_int_eq(recv(fds[0], text, sizeof(text), MSG_DONTWAIT), sizeof(other));
    ck_assert_int_eq(send(fds[1], device, sizeof(device), 0), sizeof(device));
    ck_assert_int_eq(recv(fds[0], text, sizeof(text), MSG_DONTWAIT), sizeof(device));
    ck_assert_mem_eq(text, device, sizeof(device));
    (void)close(fds[0]);
    (void)close(fds[1]);
}
END_TEST

START_TEST(this_machine_is_heard_or_it_is_said_why_not)
{
    const struct inventory_env env = {.loop = &loop, .root = ""};
    struct inventory *here = NULL;

    ck_assert_int_eq(inventory_create(&env, &here, NULL), 0);
    if (inventory_deaf(here) != NULL) {
        ck_assert_ptr_nonnull(strstr(inventory_deaf(here), "cannot be heard"));
    }
    ck_assert_ptr_nonnull(inventory_pci(here));
    ck_assert_uint_ge(inventory_topology(here)->cpu_count, 1);
    inventory_destroy(here);
}
END_TEST

UNIT_MAIN_WITH("host_inventory", setup, teardown, a_device_that_appears_is_told_and_listed,
               a_device_that_vanishes_is_told_though_its_directory_is_still_there,
               a_device_in_the_place_of_another_is_another,
               a_device_that_has_gone_before_it_could_be_read_is_not_told,
               a_driver_that_was_bound_is_seen,
               configuration_space_is_read_by_somebody_who_may_wait_and_once,
               who_did_not_answer_is_asked_again_by_a_later_question,
               who_is_behind_a_function_that_waits_has_its_turn_again,
               what_others_say_is_nothing_to_us, a_cpu_that_was_switched_on_is_seen,
               who_is_deaf_notices_what_has_changed_when_he_is_asked,
               vms_that_come_and_go_wake_up_nobody, this_machine_is_heard_or_it_is_said_why_not)
