/* Claims: all of it or nothing, and refusals that name the holder. */
#include "daemon/reserve.h"

#include <errno.h>

#include "daemon/quota.h"
#include "tests/unit/store_unit.h"

#define MIB (INT64_C(1) << 20)

static const struct reserve_limits limits = {.memory = 1024 * MIB, .cpus = 8};

static struct reserve_item memory(int64_t amount)
{
    return (struct reserve_item){
        .kind = RESOURCE_memory, .id = "host", .amount = amount, .where = "web.qvmconf:2"};
}

static struct reserve_item cpus(int64_t amount)
{
    return (struct reserve_item){.kind = RESOURCE_cpu, .id = "shared", .amount = amount};
}

static struct reserve_item file(const char *id, const char *name, bool is_exclusive)
{
    return (struct reserve_item){
        .kind = RESOURCE_file, .id = id, .name = name, .is_exclusive = is_exclusive};
}

#define CLAIM(store, instance, bad, err, ...)                                                      \
    reserve_claim((store), &limits, (instance), (const struct reserve_item[]){__VA_ARGS__},        \
                  ARRAY_LEN(((const struct reserve_item[]){__VA_ARGS__})), (bad), (err))

static int64_t sum(struct store *store, enum resource_kind kind, const char *pool)
{
    int64_t amount = -1;

    ck_assert_int_eq(reserve_sum(store, kind, pool, &amount, NULL), 0);
    return amount;
}

START_TEST(a_writer_excludes_everybody_and_is_named_with_its_pid)
{
    auto_store struct store *store = test_store(NULL);
    struct err err = {0};
    size_t bad = 99;
    int64_t db = test_instance(store, "db", 4711);
    int64_t web = test_instance(store, "web", 4712);

    ck_assert_int_eq(CLAIM(store, db, NULL, NULL, file("file:1:2", "/path/disk.img", true)), 0);
    ck_assert_int_eq(
        CLAIM(store, web, &bad, &err, memory(MIB), file("file:1:2", "/path/disk.img", false)),
        -EBUSY);
    ck_assert_str_eq(err.msg, "'/path/disk.img' is held for writing by guest 'db' (pid 4711)");
    ck_assert_uint_eq(bad, 1);
    ck_assert_int_eq(sum(store, RESOURCE_memory, "host"), 0); /* nothing was kept */
}
END_TEST

START_TEST(partitions_have_pools_of_their_own)
{
    auto_store struct store *store = test_store(NULL);
    const struct reserve_pool rt = {.name = "rt", .memory = 64 * MIB, .cpus = 2};
    const struct reserve_limits divided = {
        .memory = 1024 * MIB, .cpus = 8, .pools = &rt, .pool_count = 1};
    struct reserve_item item = memory(65 * MIB);
    struct err err = {0};
    int64_t db = test_instance(store, "db", 4711);

    item.id = "rt";
    ck_assert_int_eq(reserve_claim(store, &divided, db, &item, 1, NULL, &err), -ENOSPC);
    ck_assert_str_eq(err.msg, "web.qvmconf:2: partition 'rt': 1 MiB of memory are missing: 65 MiB "
                              "are asked for, 64 MiB of 64 MiB are free");
    item.amount = 64 * MIB;
    ck_assert_int_eq(reserve_claim(store, &divided, db, &item, 1, NULL, NULL), 0);
    ck_assert_int_eq(sum(store, RESOURCE_memory, "rt"), 64 * MIB);
    ck_assert_int_eq(sum(store, RESOURCE_memory, "host"), 0);
    item.id = "no";
    ck_assert_int_eq(reserve_claim(store, &divided, db, &item, 1, NULL, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "web.qvmconf:2: there is no memory pool 'no'");
}
END_TEST

START_TEST(a_cpu_of_the_host_is_one_guest_s)
{
    auto_store struct store *store = test_store(NULL);
    char id[RESERVE_CPU_SIZE];
    const struct reserve_item cpu = {.kind = RESOURCE_hostcpu,
                                     .id = reserve_cpu_id(2, id),
                                     .name = "CPU 2",
                                     .is_exclusive = true};
    struct reserve_holder holder = {.pid = 0};
    struct err err = {0};
    int64_t db = test_instance(store, "db", 4711);
    int64_t web = test_instance(store, "web", 4712);

    ck_assert_int_eq(reserve_find(store, RESOURCE_hostcpu, id, &holder, NULL), -ENOENT);
    ck_assert_int_eq(CLAIM(store, db, NULL, NULL, cpu), 0);
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, cpu), -EBUSY);
    ck_assert_str_eq(err.msg, "CPU 2 is held by guest 'db' (pid 4711)");
    ck_assert_int_eq(reserve_find(store, RESOURCE_hostcpu, id, &holder, NULL), 0);
    ck_assert_str_eq(holder.guest, "db");
    ck_assert_int_eq(holder.pid, 4711);
    ck_assert_int_eq(reserve_cpu_of(id), 2);
    ck_assert_int_eq(reserve_cpu_of("cpu02"), -1);
    ck_assert_int_eq(reserve_cpu_of("file:1:2"), -1);
    ck_assert_int_eq(reserve_free(store, db, NULL), 0);
    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, cpu), 0);
}
END_TEST

START_TEST(a_user_s_quota_counts_all_of_his_guests)
{
    auto_store struct store *store = test_store(NULL);
    const struct quota quota = {
        .user = "alice", .vcpus = 3, .memory = 100 * (uint64_t)MIB, .guests = QUOTA_NO_BOUND};
    const struct reserve_limits bounded = {
        .memory = limits.memory, .cpus = limits.cpus, .quota = &quota};
    const struct reserve_item sixty = memory(60 * MIB), forty = memory(40 * MIB),
                              more = memory(40 * MIB + 1), two = cpus(2);
    struct err err = {0};
    int64_t db = test_instance(store, "db", 4711);
    int64_t web = test_instance(store, "web", 4712);

    ck_assert_int_eq(reserve_claim(store, &bounded, db, &sixty, 1, NULL, NULL), 0);
    ck_assert_int_eq(reserve_claim(store, &bounded, web, &more, 1, NULL, &err), -ENOSPC);
    ck_assert_str_eq(err.msg,
                     "web.qvmconf:2: the quota of alice is 100 MiB of memory: 40.0 MiB are asked "
                     "for, and the owner's guests have 60 MiB");
    ck_assert_int_eq(reserve_claim(store, &bounded, web, &forty, 1, NULL, NULL), 0);
    ck_assert_int_eq(reserve_claim(store, &bounded, web, &two, 1, NULL, NULL), 0);
    ck_assert_int_eq(reserve_claim(store, &bounded, db, &two, 1, NULL, &err), -ENOSPC);
    ck_assert_str_eq(err.msg, "the quota of alice is 3 vCPUs: 2 are asked for, and the owner's "
                              "guests have 2");
    ck_assert_int_eq(reserve_free(store, web, NULL), 0);
    ck_assert_int_eq(reserve_claim(store, &bounded, db, &two, 1, NULL, NULL), 0);
}
END_TEST

START_TEST(a_file_is_the_same_under_another_name)
{
    auto_store struct store *store = test_store(NULL);
    struct err err = {0};
    int64_t db = test_instance(store, "db", 4711);
    int64_t web = test_instance(store, "web", 4712);

    ck_assert_int_eq(CLAIM(store, db, NULL, NULL, file("file:1:2", "/a", true)), 0);
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, file("file:1:2", "/hard/link", true)), -EBUSY);
    ck_assert_str_eq(err.msg, "'/hard/link' is held for writing by guest 'db' (pid 4711)");
}
END_TEST

START_TEST(readers_share_and_keep_writers_out)
{
    auto_store struct store *store = test_store(NULL);
    struct err err = {0};
    int64_t a = test_instance(store, "a", 1);
    int64_t b = test_instance(store, "b", 2);
    int64_t c = test_instance(store, "c", 3);

    ck_assert_int_eq(CLAIM(store, a, NULL, NULL, file("file:1:2", "/x", false)), 0);
    ck_assert_int_eq(CLAIM(store, b, NULL, NULL, file("file:1:2", "/x", false)), 0);
    ck_assert_int_eq(CLAIM(store, c, NULL, &err, file("file:1:2", "/x", true)), -EBUSY);
    ck_assert_str_eq(err.msg, "'/x' is held for reading by guest 'a' (pid 1)");
    ck_assert_int_eq(reserve_free(store, a, NULL), 0);
    ck_assert_int_eq(CLAIM(store, c, NULL, NULL, file("file:1:2", "/x", true)), -EBUSY);
    ck_assert_int_eq(reserve_free(store, b, NULL), 0);
    ck_assert_int_eq(CLAIM(store, c, NULL, NULL, file("file:1:2", "/x", true)), 0);
}
END_TEST

START_TEST(the_same_image_twice_in_one_ask_may_be_read_but_not_written)
{
    auto_store struct store *store = test_store(NULL);
    struct err err = {0};
    size_t bad = 99;
    int64_t web = test_instance(store, "web", 1);
    struct reserve_item first = file("file:1:2", "/x", false);
    struct reserve_item second = file("file:1:2", "/x", true);

    first.where = "web.qvmconf:3";
    second.where = "web.qvmconf:4";
    ck_assert_int_eq(CLAIM(store, web, &bad, &err, first, second), -EBUSY);
    ck_assert_str_eq(
        err.msg, "web.qvmconf:4: '/x' is asked for twice, and once for writing (web.qvmconf:3)");
    ck_assert_uint_eq(bad, 1);
    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, first, first), 0);
}
END_TEST

START_TEST(the_same_file_as_image_and_as_stream_is_one_file)
{
    auto_store struct store *store = test_store(NULL);
    int64_t a = test_instance(store, "a", 1);
    int64_t b = test_instance(store, "b", 2);
    struct reserve_item stream = file("file:1:2", "/x", true);

    stream.kind = RESOURCE_stream;
    ck_assert_int_eq(CLAIM(store, a, NULL, NULL, stream), 0);
    ck_assert_int_eq(CLAIM(store, b, NULL, NULL, file("file:1:2", "/x", true)), -EBUSY);
}
END_TEST

START_TEST(the_database_itself_forbids_a_second_writer)
{
    auto_store struct store *store = test_store(NULL);
    int64_t a = test_instance(store, "a", 1);
    int64_t b = test_instance(store, "b", 2);

    ck_assert_int_eq(CLAIM(store, a, NULL, NULL, file("file:1:2", "/x", true)), 0);
    ck_assert_int_eq(store_write_one(store,
                                     "INSERT INTO claim(kind, resource, name, amount, "
                                     "is_exclusive, instance) VALUES('file', 'file:1:2', '', 0, "
                                     "1, ?1)",
                                     BIND(SQL_INT(b)), NULL),
                     -EEXIST);
}
END_TEST

START_TEST(memory_is_never_overcommitted_and_the_refusal_says_what_is_missing)
{
    auto_store struct store *store = test_store(NULL);
    struct err err = {0};
    int64_t db = test_instance(store, "db", 4711);
    int64_t web = test_instance(store, "web", 4712);

    ck_assert_int_eq(CLAIM(store, db, NULL, NULL, memory(768 * MIB)), 0);
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, memory(256 * MIB + 4096)), -ENOSPC);
    ck_assert_str_eq(err.msg, "web.qvmconf:2: 4 KiB of memory are missing: 256.0 MiB are asked "
                              "for, 256 MiB of 1 GiB are free; guest 'db' (pid 4711) holds "
                              "768 MiB");
    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, memory(256 * MIB)), 0);
    ck_assert_int_eq(sum(store, RESOURCE_memory, "host"), 1024 * MIB);
}
END_TEST

START_TEST(sizes_in_a_refusal_are_short_however_large_they_are)
{
    auto_store struct store *store = test_store(NULL);
    struct err err = {0};
    int64_t web = test_instance(store, "web", 4712);

    ck_assert_int_eq(CLAIM(store, web, NULL, &err, memory(1024 * MIB + 919361984 * 1024L)),
                     -ENOSPC);
    ck_assert_str_eq(err.msg, "web.qvmconf:2: 876.8 GiB of memory are missing: 877.8 GiB are asked "
                              "for, 1 GiB of 1 GiB are free");
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, memory(INT64_MAX)), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(err.msg, ": 8.0 EiB are asked for"));
}
END_TEST

START_TEST(items_of_one_ask_add_up)
{
    auto_store struct store *store = test_store(NULL);
    size_t bad = 99;
    int64_t web = test_instance(store, "web", 1);

    ck_assert_int_eq(CLAIM(store, web, &bad, NULL, memory(1000 * MIB), memory(25 * MIB)), -ENOSPC);
    ck_assert_uint_eq(bad, 1);
    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, memory(1000 * MIB), memory(24 * MIB)), 0);
    ck_assert_int_eq(sum(store, RESOURCE_memory, "host"), 1024 * MIB);
}
END_TEST

START_TEST(vcpus_end_at_the_limit)
{
    auto_store struct store *store = test_store(NULL);
    struct err err = {0};
    int64_t db = test_instance(store, "db", 4711);
    int64_t web = test_instance(store, "web", 4712);

    ck_assert_int_eq(CLAIM(store, db, NULL, NULL, cpus(5)), 0);
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, cpus(4)), -ENOSPC);
    ck_assert_str_eq(err.msg, "1 vCPUs are missing: 4 are asked for, 3 of 8 are free; guest 'db' "
                              "(pid 4711) holds 5");
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, cpus(3)), 0);
}
END_TEST

START_TEST(no_such_pool_and_no_amount_are_refused)
{
    auto_store struct store *store = test_store(NULL);
    struct err err = {0};
    int64_t web = test_instance(store, "web", 1);
    struct reserve_item huge = memory(MIB);

    huge.id = "huge";
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, huge), -EINVAL);
    ck_assert_str_eq(err.msg, "web.qvmconf:2: there is no memory pool 'huge'");
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, memory(0)), -EINVAL);
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, memory(-1)), -EINVAL);
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, memory(INT64_MAX)), -ENOSPC);
}
END_TEST

START_TEST(claims_stay_when_the_instance_ends_until_they_are_freed)
{
    auto_store struct store *store = test_store(NULL);
    struct store_instance *holding = NULL;
    struct err err = {0};
    size_t count = 0;
    int64_t db = test_instance(store, "db", 4711);
    int64_t web = test_instance(store, "web", 4712);

    ck_assert_int_eq(CLAIM(store, db, NULL, NULL, file("file:1:2", "/x", true), cpus(1)), 0);
    test_end(store, db);
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, file("file:1:2", "/x", true)), -EBUSY);
    ck_assert_int_eq(store_guest_delete(store, "db", NULL), -EBUSY);
    ck_assert_int_eq(store_instances_holding(store, &holding, &count, NULL), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(holding[0].id, db);
    free(holding);
    ck_assert_int_eq(reserve_free(store, db, NULL), 0);
    ck_assert_int_eq(reserve_free(store, db, NULL), 0); /* again is harmless */
    ck_assert_int_eq(CLAIM(store, web, NULL, &err, file("file:1:2", "/x", true)), 0);
    ck_assert_int_eq(store_guest_delete(store, "db", NULL), 0);
}
END_TEST

START_TEST(claiming_again_what_one_has_succeeds)
{
    auto_store struct store *store = test_store(NULL);
    int64_t web = test_instance(store, "web", 1);

    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, file("file:1:2", "/x", true)), 0);
    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, file("file:1:2", "/x", true)), 0);
}
END_TEST

START_TEST(the_dead_claim_nothing)
{
    auto_store struct store *store = test_store(NULL);
    int64_t web = test_instance(store, "web", 1);

    test_end(store, web);
    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, cpus(1)), -EINVAL);
    ck_assert_int_eq(CLAIM(store, 99, NULL, NULL, cpus(1)), -EINVAL);
}
END_TEST

START_TEST(a_claim_inside_a_transaction_is_rolled_back_with_it)
{
    auto_store struct store *store = test_store(NULL);
    int64_t web = test_instance(store, "web", 1);

    {
        auto_tx struct store_tx tx = {0};

        ck_assert_int_eq(store_begin(store, &tx, NULL), 0);
        ck_assert_int_eq(CLAIM(store, web, NULL, NULL, cpus(8)), 0);
        ck_assert_int_eq(CLAIM(store, web, NULL, NULL, cpus(1)), -ENOSPC);
    }
    ck_assert_int_eq(sum(store, RESOURCE_cpu, "shared"), 0);
    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, cpus(8)), 0);
}
END_TEST

START_TEST(what_an_instance_holds_is_listed_in_the_order_of_the_ask)
{
    auto_store struct store *store = test_store(NULL);
    struct reserve_held *held = NULL;
    size_t count = 0;
    int64_t web = test_instance(store, "web", 1);

    ck_assert_int_eq(
        CLAIM(store, web, NULL, NULL, memory(MIB), cpus(2), file("file:1:2", "/x", true)), 0);
    ck_assert_int_eq(reserve_list(store, web, &held, &count, NULL), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert_int_eq(held[0].kind, RESOURCE_memory);
    ck_assert_int_eq(held[0].amount, MIB);
    ck_assert_int_eq(held[1].amount, 2);
    ck_assert_str_eq(held[2].id, "file:1:2");
    ck_assert_str_eq(held[2].name, "/x");
    ck_assert(held[2].is_exclusive);
    reserve_held_free(held, count);
}
END_TEST

START_TEST(a_claim_that_cannot_be_written_changes_nothing)
{
    auto_store struct store *store = test_store(NULL);
    int64_t web = test_instance(store, "web", 1);
    char long_name[8192];

    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    test_fill_disk(store, 1);
    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, cpus(2), file("file:1:2", long_name, true)),
                     -EROFS);
    test_fill_disk(store, 0);
    ck_assert_int_eq(sum(store, RESOURCE_cpu, "shared"), 0);
    ck_assert_int_eq(CLAIM(store, web, NULL, NULL, cpus(2), file("file:1:2", long_name, true)), 0);
    ck_assert_ptr_null(store_degraded(store));
}
END_TEST

UNIT_MAIN("reserve", partitions_have_pools_of_their_own, a_cpu_of_the_host_is_one_guest_s,
          a_user_s_quota_counts_all_of_his_guests,
          a_writer_excludes_everybody_and_is_named_with_its_pid,
          a_file_is_the_same_under_another_name, readers_share_and_keep_writers_out,
          the_same_image_twice_in_one_ask_may_be_read_but_not_written,
          the_same_file_as_image_and_as_stream_is_one_file,
          the_database_itself_forbids_a_second_writer,
          memory_is_never_overcommitted_and_the_refusal_says_what_is_missing,
          sizes_in_a_refusal_are_short_however_large_they_are, items_of_one_ask_add_up,
          vcpus_end_at_the_limit, no_such_pool_and_no_amount_are_refused,
          claims_stay_when_the_instance_ends_until_they_are_freed,
          claiming_again_what_one_has_succeeds, the_dead_claim_nothing,
          a_claim_inside_a_transaction_is_rolled_back_with_it,
          what_an_instance_holds_is_listed_in_the_order_of_the_ask,
          a_claim_that_cannot_be_written_changes_nothing)
