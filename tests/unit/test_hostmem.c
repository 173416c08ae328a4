/* Memory of the host that is no RAM: which BAR has a range, of a tree that looks like /sys. */
#include "qvm-worker/hostmem/hostmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/bus/bus.h"
#include "tests/unit/tree_unit.h"
#include "tests/unit/unit.h"

#define BDF      "0000:00:09.0"
#define FUNCTION "/bus/pci/devices/" BDF
#define BAR_AT   0xfe800000ull
#define BAR_SIZE 0x100000ull
#define PAGE     0x1000ull

static const char iomem[] = "00010000-0009fbff : System RAM\n"
                            "  00020000-0002ffff : Kernel code\n"
                            "fe000000-febfffff : PCI Bus 0000:00\n"
                            "  fe800000-fe8fffff : 0000:00:09.0\n"
                            "100000000-17fffffff : System RAM\n";
static const char mark[4] = {'h', 'e', 'r', 'e'};
static struct err err;

/* A function with ports, no second BAR, and 1 MiB of memory as its third. */
static void make_tree(uint8_t command)
{
    static const char resource[] = "0x000000000000c000 0x000000000000c03f 0x0000000000040101\n"
                                   "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
                                   "0x00000000fe800000 0x00000000fe8fffff 0x0000000000040200\n";
    const uint8_t config[8] = {0x34, 0x12, 0xe8, 0x11, command, 0, 0, 0};
    uint8_t *bar = calloc(1, BAR_SIZE);

    ck_assert_ptr_nonnull(bar);
    tree_make();
    tree_bytes(FUNCTION "/resource", resource, sizeof(resource) - 1);
    tree_bytes(FUNCTION "/config", config, sizeof(config));
    memcpy(bar + 3 * PAGE, mark, sizeof(mark));
    tree_bytes(FUNCTION "/resource2", bar, BAR_SIZE);
    free(bar);
}

static int try(uint64_t start, uint64_t size, int *fd)
{
    return hostmem_open(tree_root, iomem, start, size, fd, &err);
}

static void check_refused(uint64_t start, uint64_t size, int code, const char *words)
{
    int fd = -1;

    ck_assert_int_eq(try(start, size, &fd), code);
    ck_assert_int_eq(fd, -1);
    ck_assert_msg(strstr(err.msg, words) != NULL, "%s", err.msg);
}

START_TEST(what_is_inside_a_bar_is_opened_at_its_place)
{
    auto_close int fd = -1;
    char bytes[4];

    make_tree(2);
    ck_assert_msg(try(BAR_AT + 3 * PAGE, PAGE, &fd) == 0, "%s", err.msg);
    ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 3 * PAGE);
    ck_assert_int_eq(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
    ck_assert_int_eq(memcmp(bytes, mark, sizeof(mark)), 0);
    cleanup_close(&fd);
    ck_assert_int_eq(try(BAR_AT, BAR_SIZE, &fd), 0);
    tree_remove();
}
END_TEST

START_TEST(ram_of_the_host_is_refused)
{
    make_tree(2);
    check_refused(0x9f000, PAGE, -EINVAL, "0x9f000-0x9ffff is RAM of the host");
    check_refused(0xfffff000, 2 * PAGE, -EINVAL, "is RAM of the host");
    check_refused(0x100000000, PAGE, -EINVAL, "is RAM of the host");
    tree_remove();
}
END_TEST

START_TEST(what_no_bar_has_as_a_whole_is_refused)
{
    make_tree(2);
    check_refused(BAR_AT - PAGE, 2 * PAGE, -ENOENT, "no BAR of the host's PCI functions");
    check_refused(BAR_AT + BAR_SIZE - PAGE, 2 * PAGE, -ENOENT, "0xfe8ff000-0xfe900fff");
    check_refused(0xc000, 0x40, -ENOENT, "no BAR"); /* its ports */
    check_refused(0xfee00000, PAGE, -ENOENT, "/dev/mem would give everything");
    tree_remove();
}
END_TEST

START_TEST(what_a_driver_of_the_host_has_or_nobody_enabled_is_refused)
{
    make_tree(0x05);
    check_refused(BAR_AT, PAGE, -ENODEV, "'" BDF "', to which it belongs, is not enabled");
    tree_link(FUNCTION "/driver", "../../../bus/pci/drivers/edu");
    check_refused(BAR_AT, PAGE, -EBUSY, "it belongs to '" BDF "', which driver 'edu' has");
    tree_remove();
}
END_TEST

START_TEST(what_may_write_to_any_memory_of_the_host_is_refused)
{
    make_tree(0x06);
    check_refused(BAR_AT, PAGE, -EPERM, "'" BDF "', to which it belongs, may write to any memory");
    check_refused(BAR_AT, PAGE, -EPERM, "setpci -s " BDF " COMMAND=0:4");
    tree_remove();
}
END_TEST

START_TEST(a_function_that_cannot_be_looked_at_may_be_the_one)
{
    make_tree(2);
    check_refused(BAR_AT + BAR_SIZE, PAGE, -ENOENT, "no BAR of the host's PCI functions");
    tree_link("/bus/pci/devices/0000:00:0a.0", "0000:00:0a.0");
    check_refused(BAR_AT + BAR_SIZE, PAGE, -ELOOP, "cannot look at the host's PCI functions: ");
    tree_remove();
}
END_TEST

START_TEST(a_second_vm_does_not_get_it)
{
    auto_close int fd = -1;

    make_tree(2);
    ck_assert_int_eq(try(BAR_AT, PAGE, &fd), 0);
    check_refused(BAR_AT + PAGE, PAGE, -EBUSY, "another VM has memory of '" BDF "'");
    cleanup_close(&fd);
    ck_assert_int_eq(try(BAR_AT + PAGE, PAGE, &fd), 0);
    tree_remove();
}
END_TEST

static struct {
    uint64_t address, size;
    uint8_t *host;
    int result;
} told;

static int on_slot(void *context, uint32_t slot, uint64_t address, void *host, uint64_t size)
{
    (void)context;
    ck_assert_uint_eq(slot, 7);
    told.address = address;
    told.size = size;
    told.host = host;
    return told.result;
}

START_TEST(the_guest_finds_it_at_its_own_address)
{
    struct bus *bus = bus_create();
    const struct hostmem_config config = {.bus = bus,
                                          .name = "memory",
                                          .guest = 0xc8000000,
                                          .size = 2 * PAGE,
                                          .slot_number = 7,
                                          .slot = on_slot};
    struct hostmem *hostmem = NULL, *second = NULL;
    int fd = -1;

    make_tree(2);
    ck_assert_int_eq(try(BAR_AT + 3 * PAGE, 2 * PAGE, &fd), 0);
    ck_assert_msg(hostmem_create(&config, fd, &hostmem, &err) == 0, "%s", err.msg);
    ck_assert_uint_eq(told.address, 0xc8000000);
    ck_assert_uint_eq(told.size, 2 * PAGE);
    ck_assert_int_eq(memcmp(told.host, mark, sizeof(mark)), 0);
    ck_assert_int_eq(hostmem_create(&config, open("/dev/zero", O_RDWR | O_CLOEXEC), &second, &err),
                     -EEXIST); /* the place is taken */
    ck_assert_ptr_null(second);
    hostmem_destroy(hostmem);
    hostmem_destroy(NULL);
    ck_assert_int_eq(try(BAR_AT, PAGE, &fd), 0); /* it is nobody's again */
    cleanup_close(&fd);
    bus_destroy(bus);
    tree_remove();
}
END_TEST

UNIT_MAIN("hostmem", what_is_inside_a_bar_is_opened_at_its_place, ram_of_the_host_is_refused,
          what_no_bar_has_as_a_whole_is_refused,
          what_a_driver_of_the_host_has_or_nobody_enabled_is_refused,
          what_may_write_to_any_memory_of_the_host_is_refused,
          a_function_that_cannot_be_looked_at_may_be_the_one, a_second_vm_does_not_get_it,
          the_guest_finds_it_at_its_own_address)
