/* The host's devices that guests may have: as they are declared, meant, claimed and written down.
 */
#include "daemon/device_pool.h"

#include <errno.h>

#include "daemon/config.h"
#include "daemon/reserve.h"
#include "tests/unit/store_unit.h"

static void test_fini(struct config *config)
{
    config_fini(config);
}
#define auto_config __attribute__((cleanup(test_fini)))

static struct config read_config(const char *text)
{
    struct config config;
    struct err err = {0};

    ck_assert_int_eq(config_init(&config, NULL), 0);
    ck_assert_msg(config_parse(&config, "q", text, &err) == 0, "%s", err.msg);
    return config;
}

START_TEST(a_device_is_found_by_its_name_its_address_and_its_kind)
{
    auto_config struct config config =
        read_config("device b 0000:04:00.0 id 8086:10D3\n"
                    "device a 0000:03:00.0 id 8086:10d3 serial 52-54-00-ff-ff-12-34-56 keep yes\n"
                    "device far 10000:01:00.0 id 8086:10d3 device any 0000:05:00.7");
    static const struct {
        const char *id, *name;
    } cases[] = {{"a", "a"},           {"0000:04:00.0", "b"}, {"8086:10d3", "a"},
                 {"8086:10d3/0", "a"}, {"8086:10D3/1", "b"},  {"8086:10d3/2", "far"}};
    const struct pool_device *found;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_int_eq(device_pool_resolve(&config.devices, cases[i].id, &found, NULL), 0);
        ck_assert_str_eq(found->name, cases[i].name);
    }
    found = device_pool_find(&config.devices, "a");
    ck_assert_uint_eq(found->vendor, 0x8086);
    ck_assert_uint_eq(found->device, 0x10d3);
    ck_assert_uint_eq(found->serial, UINT64_C(0x525400ffff123456));
    ck_assert(found->is_kept);
    ck_assert_uint_eq(found->line, 2);
    ck_assert(!device_pool_find(&config.devices, "b")->is_kept);
}
END_TEST

START_TEST(what_is_not_in_the_pool_is_told_so)
{
    auto_config struct config config = read_config("device a 0000:03:00.0 id 8086:10d3");
    static const char *const ids[] = {"b",
                                      "0000:03:00.1",
                                      "8086:10d3/1",
                                      "8086:10d4",
                                      "8086:10d3/",
                                      "8086:10d3/0x",
                                      "8086:10d3/0000",
                                      "0000:03:00.0/0",
                                      ""};
    const struct pool_device *found;

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct err err = {0};
        char sentence[128];

        ck_assert_int_eq(device_pool_resolve(&config.devices, ids[i], &found, &err), -ENODEV);
        (void)snprintf(sentence, sizeof(sentence),
                       "device '%s' is not in the host's pool ('device' of qvmd.conf, which has 1)",
                       ids[i]);
        ck_assert_str_eq(err.msg, sentence);
    }
}
END_TEST

START_TEST(wrong_declarations_are_told_with_their_place)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"device 1 0000:03:00.0", "q:1: '1' is no name for a device: a letter, then letters, "
                                  "digits, '.', '-', '_', at most 63"},
        {"device a\n03:00.0", "q:2: device: '03:00.0' is no PCI function: it is called "
                              "DOMAIN:BUS:DEVICE.FUNCTION, such as 0000:03:00.0"},
        {"device a", "q:1: 'device' wants an argument, and nothing follows"},
        {"device a 0000:03:00.0\ndevice b 0000:03:00.0",
         "q:2: device '0000:03:00.0' is 'a' already (line 1)"},
        {"device a 0000:03:00.0 id 8086", "q:1: id: '8086' is no VENDOR:DEVICE of four "
                                          "hexadecimal digits each, such as 8086:10d3"},
        {"device a 0000:03:00.0 id 8086:10d3:1", "q:1: id: "},
        {"device a 0000:03:00.0 serial x", "q:1: serial: 'x' is no device serial number, such as "
                                           "00-11-22-ff-ff-33-44-55"},
        {"device a 0000:03:00.0 serial 0", "q:1: serial: "},
        {"device a 0000:03:00.0 serial 00112233445566778", "q:1: serial: "},
        {"device a 0000:03:00.0 keep maybe", "q:1: "},
        {"device a 0000:03:00.0 user no-such-user",
         "q:1: there is no user 'no-such-user' in /etc/passwd"},
        {"serial 1", "q:1: 'serial' is an option of device, and none is open here"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_config struct config config = read_config("");
        struct err err = {0};

        ck_assert_int_eq(config_parse(&config, "q", cases[i].text, &err), -ENOEXEC);
        ck_assert_msg(strncmp(err.msg, cases[i].sentence, strlen(cases[i].sentence)) == 0,
                      "'%s': %s", cases[i].text, err.msg);
        ck_assert_uint_eq(config.devices.count, 0);
    }
}
END_TEST

START_TEST(there_are_as_many_devices_and_users_as_there_may_be)
{
    auto_config struct config config = read_config("");
    static char text[32768];
    size_t used = 0;

    for (unsigned i = 0; i <= DEVICE_POOL_MAX; i++) {
        struct err err = {0};

        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "device d%u %04x:00:00.0\n", i, i);
        if (i == DEVICE_POOL_MAX - 1) {
            ck_assert_int_eq(config_parse(&config, "q", text, &err), 0);
        } else if (i == DEVICE_POOL_MAX) {
            ck_assert_int_eq(config_parse(&config, "q", text, &err), -ENOEXEC);
            ck_assert_str_eq(err.msg, "q:257: more than 256 devices");
        }
    }
    used = (size_t)snprintf(text, sizeof(text), "device d0 0000:00:00.0");
    for (unsigned i = 0; i <= DEVICE_POOL_USERS_MAX; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, " user root");
    }
    ck_assert_int_eq(config_parse(&config, "q", text, NULL), -ENOEXEC);
}
END_TEST

START_TEST(a_device_may_be_for_some_users_alone)
{
    auto_config struct config config =
        read_config("device a 0000:03:00.0 user daemon\ndevice b 0000:04:00.0");
    const struct pool_device *some = device_pool_find(&config.devices, "a");

    ck_assert(pool_device_takes(some, some->users[0], 7));
    ck_assert(pool_device_takes(some, 0, 7));
    ck_assert(pool_device_takes(some, 7, 7));
    ck_assert(!pool_device_takes(some, 4711, 7));
    ck_assert(pool_device_takes(device_pool_find(&config.devices, "b"), 4711, 7));
}
END_TEST

/* ---- who has it ---- */

static int claim(struct store *store, int64_t instance, struct err *err)
{
    const struct reserve_limits limits = {.memory = 0};
    const struct reserve_item items[] = {
        {.kind = RESOURCE_device, .id = "0000:03:00.0", .where = "a:1", .is_exclusive = true},
        {.kind = RESOURCE_device, .id = "0000:03:00.1", .where = "a:1", .is_exclusive = true}};

    return reserve_claim(store, &limits, instance, items, ARRAY_LEN(items), NULL, err);
}

START_TEST(a_device_has_one_owner_who_is_named_with_his_pid)
{
    auto_store struct store *store = test_store(NULL);
    int64_t db = test_instance(store, "db", 4711), web = test_instance(store, "web", 4712);
    struct reserve_holder holder = {0};
    struct err err = {0};

    ck_assert_int_eq(claim(store, db, NULL), 0);
    ck_assert_int_eq(claim(store, web, &err), -EBUSY);
    ck_assert_str_eq(err.msg, "a:1: device '0000:03:00.0' is held by guest 'db' (pid 4711)");
    ck_assert_int_eq(reserve_find(store, RESOURCE_device, "0000:03:00.1", &holder, NULL), 0);
    ck_assert_str_eq(holder.guest, "db");
    ck_assert_int_eq(reserve_free_kind(store, db, RESOURCE_file, NULL), 0);
    ck_assert_int_eq(claim(store, web, NULL), -EBUSY);
    ck_assert_int_eq(reserve_free_kind(store, db, RESOURCE_device, NULL), 0);
    ck_assert_int_eq(claim(store, web, NULL), 0);
}
END_TEST

START_TEST(where_a_device_belongs_is_written_once_in_each_boot)
{
    auto_store struct store *store = test_store(NULL);
    struct store_device device = {.bdf = "0000:03:00.0", .boot_id = TEST_BOOT, .driver = "nvme"};
    struct store_device found, *all = NULL;
    size_t count = 0;

    ck_assert_int_eq(store_device_get(store, device.bdf, &found, NULL), -ENOENT);
    ck_assert_int_eq(store_device_take(store, &device, NULL), 0);
    (void)snprintf(device.driver, sizeof(device.driver), "vfio-pci");
    device.instance = 2;
    ck_assert_int_eq(store_device_take(store, &device, NULL), 0);
    ck_assert_int_eq(store_device_get(store, device.bdf, &found, NULL), 0);
    ck_assert_str_eq(found.driver, "nvme");
    ck_assert_int_eq(found.instance, 2);
    ck_assert_int_eq(store_device_trouble(store, device.bdf, "it smokes", NULL), 0);
    ck_assert_int_eq(store_device_trouble(store, "0000:04:00.0", "it smokes", NULL), -ENOENT);
    ck_assert_int_eq(store_devices_list(store, &all, &count, NULL), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(all[0].trouble, "it smokes");
    free(all);
    (void)snprintf(device.boot_id, sizeof(device.boot_id), "another");
    ck_assert_int_eq(store_device_take(store, &device, NULL), 0); /* that one is over */
    ck_assert_int_eq(store_device_get(store, device.bdf, &found, NULL), 0);
    ck_assert_str_eq(found.driver, "vfio-pci");
    ck_assert_str_eq(found.trouble, "");
    ck_assert_int_eq(store_devices_forget(store, "another", NULL), 0);
    ck_assert_int_eq(store_device_get(store, device.bdf, &found, NULL), 0);
    ck_assert_int_eq(store_devices_forget(store, TEST_BOOT, NULL), 0);
    ck_assert_int_eq(store_device_get(store, device.bdf, &found, NULL), -ENOENT);
    ck_assert_int_eq(store_device_home(store, device.bdf, NULL), 0);
}
END_TEST

START_TEST(what_was_written_of_a_device_that_an_operator_brought_home_is_of_the_past)
{
    auto_store struct store *store = test_store(NULL);
    struct store_device device = {.bdf = "0000:03:00.0", .boot_id = TEST_BOOT, .driver = "nvme"};
    struct store_device found;

    ck_assert_int_eq(store_device_take(store, &device, NULL), 0);
    ck_assert_int_eq(store_device_override(store, device.bdf, "uio", NULL), 0);
    (void)snprintf(device.driver, sizeof(device.driver), "*"); /* nobody knows better */
    ck_assert_int_eq(store_device_take(store, &device, NULL), 0);
    ck_assert_int_eq(store_device_get(store, device.bdf, &found, NULL), 0);
    ck_assert_str_eq(found.driver, "nvme");
    ck_assert_str_eq(found.driver_override, "uio");
    device.driver[0] = '\0'; /* on its way back */
    ck_assert_int_eq(store_device_take(store, &device, NULL), 0);
    ck_assert_int_eq(store_device_get(store, device.bdf, &found, NULL), 0);
    ck_assert_str_eq(found.driver, "nvme");
    ck_assert_str_eq(found.driver_override, "uio");
    (void)snprintf(device.driver, sizeof(device.driver), "igb");
    ck_assert_int_eq(store_device_take(store, &device, NULL), 0);
    ck_assert_int_eq(store_device_get(store, device.bdf, &found, NULL), 0);
    ck_assert_str_eq(found.driver, "igb");
    ck_assert_str_eq(found.driver_override, "");
}
END_TEST

UNIT_MAIN("device_pool", a_device_is_found_by_its_name_its_address_and_its_kind,
          what_is_not_in_the_pool_is_told_so, wrong_declarations_are_told_with_their_place,
          there_are_as_many_devices_and_users_as_there_may_be, a_device_may_be_for_some_users_alone,
          what_was_written_of_a_device_that_an_operator_brought_home_is_of_the_past,
          a_device_has_one_owner_who_is_named_with_his_pid,
          where_a_device_belongs_is_written_once_in_each_boot)
