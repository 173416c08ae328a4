/* Regions of memory that guests share: who made which, who is attached. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/shmem/shmem.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "tests/unit/unit.h"

#define SIZE 8192u

static struct shmem *shmem;

static struct shmem_wish of(const char *name, int64_t instance)
{
    return (struct shmem_wish){.name = name,
                               .size = SIZE,
                               .most = 1 << 20,
                               .room = 1 << 20,
                               .owner = 7,
                               .instance = instance};
}

static enum shmem_status attach(const char *name, int64_t instance, struct shmem_given *given)
{
    const struct shmem_wish wish = of(name, instance);

    return shmem_attach(shmem, &wish, given);
}

static struct shmem_board board_of(const struct shmem_given *given)
{
    struct shmem_board board;

    ck_assert_int_eq(pread(given->fds[SHMEM_FD_BOARD], &board, sizeof(board), 0), sizeof(board));
    return board;
}

static uint32_t told;    /* bit N: instance 10 + N was */
static size_t left_open; /* descriptors that somebody else is to close */

static void on_changed(void *context, int64_t instance, const char *region)
{
    ck_assert_ptr_eq(context, &told);
    ck_assert_str_ne(region, "");
    told |= 1u << (instance - 10);
}

static void on_close(void *context, const int *fds, size_t count)
{
    ck_assert_ptr_eq(context, &told);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(close(fds[i]), 0);
    }
    left_open += count;
}

static const struct shmem_env env = {on_changed, on_close, &told};

/* Whether the instance was told; it is not any more then. */
static bool was_told(int64_t instance)
{
    bool was = (told & 1u << (instance - 10)) != 0;

    told &= ~(1u << (instance - 10));
    return was;
}

static size_t count(void)
{
    struct shmem_info info;
    size_t i = 0;

    while (shmem_info(shmem, i, &info)) {
        i++;
    }
    return i;
}

START_TEST(clients_get_the_lowest_number_and_hear_of_each_other)
{
    struct shmem_given one = {0}, two = {0}, three = {0};

    shmem = shmem_create(&env);
    ck_assert_int_eq(attach("a", 11, &one), SHMEM_OK);
    ck_assert_uint_eq(one.client, 0);
    ck_assert_uint_eq(one.size, SIZE);
    ck_assert(was_told(11));
    ck_assert_int_eq(attach("a", 12, &two), SHMEM_OK);
    ck_assert_uint_eq(two.client, 1);
    ck_assert(was_told(11));
    ck_assert_uint_eq(board_of(&one).attached, 3);
    shmem_detach(shmem, "a", 11);
    ck_assert(was_told(12));
    ck_assert_uint_eq(board_of(&two).attached, 2);
    ck_assert_int_eq(attach("a", 13, &three), SHMEM_OK);
    ck_assert_uint_eq(three.client, 0);
    shmem_drop(shmem, 12);
    shmem_drop(shmem, 13);
    ck_assert_uint_eq(count(), 0);
    ck_assert_uint_eq(left_open, SHMEM_FD_COUNT); /* not closed by us */
    shmem_destroy(shmem);
}
END_TEST

/* All clients share the open file of a bell, and its flags. */
START_TEST(a_bell_that_would_wait_holds_nobody_up)
{
    const uint64_t full = UINT64_MAX - 1;
    struct shmem_given one = {0}, two = {0};

    shmem = shmem_create(&env);
    ck_assert_int_eq(attach("a", 11, &one), SHMEM_OK);
    for (unsigned i = SHMEM_FD_BELLS; i < SHMEM_FD_COUNT; i++) {
        ck_assert_int_eq(fcntl(one.fds[i], F_SETFL, 0), 0);
    }
    ck_assert_int_eq(write(one.fds[SHMEM_FD_BELLS], &full, sizeof(full)), sizeof(full));
    ck_assert_int_eq(attach("a", 12, &two), SHMEM_OK); /* whose bell is empty */
    shmem_detach(shmem, "a", 12);
    shmem_destroy(shmem);
}
END_TEST

START_TEST(what_the_number_was_told_before_is_forgotten)
{
    struct shmem_given one = {0}, two = {0};
    const uint32_t all = 0xffff;

    shmem = shmem_create(&env);
    ck_assert_int_eq(attach("a", 11, &one), SHMEM_OK);
    ck_assert_int_eq(attach("a", 12, &two), SHMEM_OK);
    for (unsigned i = 0; i < SHMEM_CLIENTS; i++) {
        ck_assert_int_eq(pwrite(two.fds[SHMEM_FD_BOARD], &all, 4,
                                (off_t)(offsetof(struct shmem_board, pending) + (size_t)4 * i)),
                         4);
    }
    shmem_detach(shmem, "a", 11);
    ck_assert_int_eq(attach("a", 13, &one), SHMEM_OK);
    ck_assert_uint_eq(board_of(&one).pending[one.client], 0);
    ck_assert_uint_eq(board_of(&one).pending[two.client], all);
    shmem_destroy(shmem);
}
END_TEST

START_TEST(the_memory_can_be_neither_cut_nor_grown_nor_sealed_more)
{
    struct shmem_given given = {0};

    shmem = shmem_create(&env);
    ck_assert_int_eq(attach("a", 11, &given), SHMEM_OK);
    for (unsigned i = SHMEM_FD_MEMORY; i <= SHMEM_FD_BOARD; i++) {
        ck_assert_int_lt(ftruncate(given.fds[i], 0), 0);
        ck_assert_int_lt(ftruncate(given.fds[i], 1 << 20), 0);
        ck_assert_int_lt(fcntl(given.fds[i], F_ADD_SEALS, F_SEAL_WRITE), 0);
    }
    shmem_destroy(shmem);
}
END_TEST

START_TEST(who_may_not_have_a_region_is_told_why)
{
    struct shmem_given given = {0};
    struct shmem_wish wish = of("a", 11);

    shmem = shmem_create(&env);
    wish.size = 0;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &given), SHMEM_DOES_NOT_EXIST);
    wish.size = SIZE + 1;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &given), SHMEM_NO_MEMORY);
    wish.size = wish.most + SHMEM_PAGE;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &given), SHMEM_NO_MEMORY);
    ck_assert_int_eq(attach("a/b", 11, &given), SHMEM_ILLEGAL_NAME);
    ck_assert_int_eq(attach("a23456789012345678901234567890123", 11, &given), SHMEM_ILLEGAL_NAME);
    ck_assert_int_eq(attach("a2345678901234567890123456789012", 11, &given), SHMEM_OK);
    ck_assert_int_eq(attach("a", 11, &given), SHMEM_OK);
    ck_assert_int_eq(attach("a", 11, &given), SHMEM_FAILED); /* twice */
    wish = of("a", 12);
    wish.owner = 8;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &given), SHMEM_NO_PERMISSION);
    wish = of("a", 12);
    wish.most = SHMEM_PAGE;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &given), SHMEM_NO_MEMORY);
    shmem_destroy(shmem);
}
END_TEST

START_TEST(nobody_shares_more_than_he_has_memory)
{
    struct shmem_given given = {0};
    struct shmem_wish wish = of("b", 11);
    struct err err = {0};

    shmem = shmem_create(&env);
    ck_assert_int_eq(attach("a", 12, &given), SHMEM_OK);
    wish.room = (uint64_t)2 * SIZE;
    ck_assert_int_eq(shmem_keep(shmem, &wish, &err), 0);
    wish.name = "a";
    ck_assert_int_eq(shmem_attach(shmem, &wish, &given), SHMEM_OK);
    wish.name = "b"; /* what it keeps is counted already */
    ck_assert_int_eq(shmem_attach(shmem, &wish, &given), SHMEM_OK);
    wish.name = "c";
    wish.size = SHMEM_PAGE;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &given), SHMEM_NO_MEMORY);
    ck_assert_int_eq(shmem_keep(shmem, &wish, &err), -ENOMEM);
    ck_assert_str_eq(err.msg,
                     "region 'c' of shared memory has 4 KiB: all that a guest creates is at "
                     "most as large as its memory, 16 KiB, of which the vdev's own window "
                     "is a part");
    shmem_detach(shmem, "a", 11);
    ck_assert_int_eq(shmem_attach(shmem, &wish, &given), SHMEM_OK);
    shmem_drop(shmem, 11);
    shmem_drop(shmem, 12);
    shmem_destroy(shmem);
}
END_TEST

START_TEST(a_region_has_sixteen_clients_and_the_host_so_many_regions)
{
    struct shmem_given given = {0};
    char name[16];

    shmem = shmem_create(&env);
    for (unsigned i = 0; i < SHMEM_CLIENTS; i++) {
        ck_assert_int_eq(attach("a", 11 + (int64_t)i, &given), SHMEM_OK);
    }
    ck_assert_int_eq(attach("a", 99, &given), SHMEM_TOO_MANY);
    for (unsigned i = 1; i < SHMEM_REGIONS_MAX; i++) {
        struct shmem_wish wish = of(name, 11);

        (void)snprintf(name, sizeof(name), "b%u", i);
        if (i == SHMEM_OWNER_MAX) {
            ck_assert_int_eq(shmem_keep(shmem, &wish, NULL), -ENOSPC);
            ck_assert_int_eq(attach("c", 11, &given), SHMEM_NO_MEMORY);
        }
        wish.owner = i < SHMEM_OWNER_MAX ? 7 : 8; /* another still finds room */
        ck_assert_int_eq(shmem_keep(shmem, &wish, NULL), 0);
    }
    ck_assert_int_eq(attach("c", 11, &given), SHMEM_NO_MEMORY);
    shmem_drop(shmem, 11);
    ck_assert_uint_eq(count(), 1);
    shmem_destroy(shmem);
}
END_TEST

START_TEST(a_region_that_is_created_stays_with_its_guest)
{
    struct shmem_given given = {0};
    struct shmem_wish wish = of("a", 11);
    struct err err = {0};

    shmem = shmem_create(&env);
    ck_assert_int_eq(shmem_keep(shmem, &wish, NULL), 0);
    ck_assert_int_eq(shmem_keep(shmem, &wish, NULL), 0);
    wish.instance = 12;
    wish.size = 2 * SIZE;
    ck_assert_int_eq(shmem_keep(shmem, &wish, &err), -EEXIST);
    ck_assert_str_eq(err.msg, "region 'a' of shared memory is there already, with 8192 bytes and "
                              "not 16384");
    wish.owner = 8;
    ck_assert_int_eq(shmem_keep(shmem, &wish, &err), -EPERM);
    ck_assert_int_eq(attach("a", 12, &given), SHMEM_OK);
    shmem_detach(shmem, "a", 12);
    shmem_detach(shmem, "a", 12);
    ck_assert_uint_eq(count(), 1);
    ck_assert_int_eq(attach("b", 11, &given), SHMEM_OK);
    ck_assert_int_eq(attach("a", 11, &given), SHMEM_OK);
    shmem_detach_all(shmem, 11);
    ck_assert_uint_eq(board_of(&given).attached, 0);
    ck_assert_uint_eq(count(), 1); /* and is still created by it */
    shmem_drop(shmem, 11);
    ck_assert_uint_eq(count(), 0);
    shmem_destroy(shmem);
}
END_TEST

/* Copies, as they come from a qvm. */
static void copy_fds(const struct shmem_given *given, int fds[SHMEM_FD_COUNT])
{
    for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
        fds[i] = fcntl(given->fds[i], F_DUPFD_CLOEXEC, 0);
        ck_assert_int_ge(fds[i], 0);
    }
}

static void close_fds(int fds[SHMEM_FD_COUNT])
{
    for (size_t i = 0; i < SHMEM_FD_COUNT; i++) {
        cleanup_close(&fds[i]);
    }
}

START_TEST(what_an_earlier_qvmd_gave_is_known_again)
{
    struct shmem *before = shmem_create(&env);
    struct shmem_given one = {0}, two = {0}, three = {0};
    const struct shmem_wish first = of("a", 11), second = of("a", 12);
    int fds[SHMEM_FD_COUNT];

    ck_assert_int_eq(shmem_attach(before, &first, &one), SHMEM_OK);
    ck_assert_int_eq(shmem_attach(before, &second, &two), SHMEM_OK);
    shmem = shmem_create(&env);
    copy_fds(&two, fds);
    ck_assert_int_eq(shmem_adopt(shmem, &second, 1, fds, NULL), 0);
    close_fds(fds);
    copy_fds(&one, fds);
    ck_assert_int_eq(shmem_adopt(shmem, &first, 1, fds, NULL), -EBUSY);
    ck_assert_int_eq(shmem_adopt(shmem, &first, 0, fds, NULL), 0);
    ck_assert_int_eq(shmem_adopt(shmem, &first, 2, fds, NULL), -EBUSY);
    close_fds(fds);
    ck_assert_uint_eq(board_of(&one).attached, 3);
    ck_assert_int_eq(attach("a", 13, &three), SHMEM_OK);
    ck_assert_uint_eq(three.client, 2);
    ck_assert_uint_eq(board_of(&one).attached, 7);
    shmem_destroy(before);
    shmem_destroy(shmem);
}
END_TEST

/* A region of clients 0, 1, 2 whose qvmd ended; the next one has heard of client 0. */
static struct shmem *found_by_a_new_qvmd(struct shmem *before, struct shmem_given *given)
{
    const struct shmem_wish first = of("a", 11), second = of("a", -1), third = of("a", -2);
    struct shmem_given other = {0};
    int fds[SHMEM_FD_COUNT];

    ck_assert_int_eq(shmem_attach(before, &first, given), SHMEM_OK);
    ck_assert_int_eq(shmem_attach(before, &second, &other), SHMEM_OK);
    ck_assert_int_eq(shmem_attach(before, &third, &other), SHMEM_OK);
    shmem = shmem_create(&(struct shmem_env){0});
    copy_fds(given, fds);
    ck_assert_int_eq(shmem_adopt(shmem, &first, 0, fds, NULL), 0);
    close_fds(fds);
    return shmem;
}

static ino_t inode_of(int fd)
{
    struct stat stat;

    ck_assert_int_eq(fstat(fd, &stat), 0);
    return stat.st_ino;
}

START_TEST(who_was_attached_is_awaited_by_a_new_qvmd_and_his_number_is_kept)
{
    struct shmem *before = shmem_create(&(struct shmem_env){0});
    struct shmem_given given = {0}, next = {0};

    (void)found_by_a_new_qvmd(before, &given);
    ck_assert_uint_eq(board_of(&given).attached, 7);
    ck_assert_int_eq(attach("a", 12, &next), SHMEM_OK);
    ck_assert_uint_eq(next.client, 3);
    shmem_stop_awaiting(shmem);
    ck_assert_uint_eq(board_of(&given).attached, 9);
    ck_assert_int_eq(attach("a", 13, &next), SHMEM_OK);
    ck_assert_uint_eq(next.client, 1);
    shmem_destroy(before);
    shmem_destroy(shmem);
}
END_TEST

START_TEST(nobody_is_refused_for_what_somebody_wrote_on_the_board)
{
    struct shmem *before = shmem_create(&env);
    const struct shmem_wish first = of("a", 11);
    const uint32_t all = UINT32_MAX;
    struct shmem_given given = {0}, next = {0};
    int fds[SHMEM_FD_COUNT];

    ck_assert_int_eq(shmem_attach(before, &first, &given), SHMEM_OK);
    ck_assert_int_eq(pwrite(given.fds[SHMEM_FD_BOARD], &all, sizeof(all), 0), sizeof(all));
    shmem = shmem_create(&env);
    copy_fds(&given, fds);
    ck_assert_int_eq(shmem_adopt(shmem, &first, 0, fds, NULL), 0);
    close_fds(fds);
    ck_assert_uint_eq(board_of(&given).attached, 0xffff);
    for (unsigned i = 1; i < SHMEM_CLIENTS; i++) {
        ck_assert_int_eq(attach("a", 11 + (int64_t)i, &next), SHMEM_OK);
        ck_assert_uint_eq(next.client, i);
    }
    ck_assert_int_eq(attach("a", 99, &next), SHMEM_TOO_MANY);
    shmem_destroy(before);
    shmem_destroy(shmem);
}
END_TEST

START_TEST(who_comes_back_is_who_he_was_or_is_told_that_he_is_not)
{
    struct shmem *before = shmem_create(&(struct shmem_env){0});
    struct shmem_given given = {0}, back = {0};
    struct shmem_wish wish = of("a", -7);
    uint32_t signal = 1;

    (void)found_by_a_new_qvmd(before, &given);
    wish.memory = inode_of(given.fds[SHMEM_FD_MEMORY]) + 1;
    wish.client = 1;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &back), SHMEM_DOES_NOT_EXIST);
    wish.memory--;
    ck_assert_int_eq(pwrite(given.fds[SHMEM_FD_BOARD], &signal, sizeof(signal),
                            offsetof(struct shmem_board, pending[1])),
                     sizeof(signal));
    ck_assert_int_eq(shmem_attach(shmem, &wish, &back), SHMEM_OK);
    ck_assert_uint_eq(back.client, 1);
    ck_assert_uint_eq(board_of(&given).pending[1],
                      1); /* what came meanwhile is still to be heard */
    wish.instance = -8;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &back), SHMEM_FAILED);
    wish.client = SHMEM_CLIENTS;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &back), SHMEM_FAILED);
    wish.name = "b"; /* is not made anew for it */
    wish.client = 1;
    ck_assert_int_eq(shmem_attach(shmem, &wish, &back), SHMEM_DOES_NOT_EXIST);
    ck_assert_uint_eq(count(), 1);
    shmem_stop_awaiting(shmem);
    ck_assert_uint_eq(board_of(&given).attached, 3);
    shmem_destroy(before);
    shmem_destroy(shmem);
}
END_TEST

START_TEST(what_is_no_region_is_not_adopted)
{
    struct shmem *before = shmem_create(&env);
    struct shmem_given one = {0}, other = {0};
    struct shmem_wish wish = of("a", 11);
    int fds[SHMEM_FD_COUNT], plain = memfd_create("plain", MFD_CLOEXEC);

    ck_assert_int_eq(shmem_attach(before, &wish, &one), SHMEM_OK);
    shmem = shmem_create(&env);
    ck_assert_int_eq(attach("a", 12, &other), SHMEM_OK);
    copy_fds(&one, fds);
    ck_assert_int_eq(shmem_adopt(shmem, &wish, 1, fds, NULL), -EBADF); /* another one's memory */
    shmem_drop(shmem, 12);
    ck_assert_int_eq(shmem_adopt(shmem, &wish, SHMEM_CLIENTS, fds, NULL), -EBADF);
    wish.size = 2 * SIZE;
    ck_assert_int_eq(shmem_adopt(shmem, &wish, 0, fds, NULL), -EBADF);
    wish.size = SIZE;
    close(fds[SHMEM_FD_MEMORY]);
    fds[SHMEM_FD_MEMORY] = plain;
    ck_assert_int_eq(ftruncate(plain, SIZE), 0);
    ck_assert_int_eq(shmem_adopt(shmem, &wish, 0, fds, NULL), -EBADF); /* without seals */
    close_fds(fds);
    copy_fds(&one, fds);
    close(fds[SHMEM_FD_COUNT - 1]);
    fds[SHMEM_FD_COUNT - 1] = fcntl(one.fds[SHMEM_FD_MEMORY], F_DUPFD_CLOEXEC, 0);
    ck_assert_int_eq(shmem_adopt(shmem, &wish, 0, fds, NULL), -EBADF); /* no bell */
    close_fds(fds);
    ck_assert_uint_eq(count(), 0);
    shmem_destroy(before);
    shmem_destroy(shmem);
}
END_TEST

START_TEST(rules_say_which_regions_a_guest_may_have)
{
    const char *const rules[] = {"create mine,4096", "allow pub*", "deny *secret"};
    char name[SHMEM_NAME_MAX + 1];
    uint64_t size;

    ck_assert(shmem_is_allowed(rules, 3, "mine"));
    ck_assert(shmem_is_allowed(rules, 3, "public"));
    ck_assert(!shmem_is_allowed(rules, 3, "pubsecret"));
    ck_assert(!shmem_is_allowed(rules, 3, "other"));
    ck_assert(!shmem_is_allowed(rules, 0, "mine"));
    ck_assert_int_eq(shmem_read_create(rules[0], name, &size), 0);
    ck_assert_str_eq(name, "mine");
    ck_assert_uint_eq(size, 4096);
    ck_assert_int_eq(shmem_read_create("create mine", name, &size), -EINVAL);
    ck_assert_int_eq(shmem_read_create("create mine,-1", name, &size), -EINVAL);
    ck_assert_int_eq(shmem_read_create("create mine,99999999999999999999", name, &size), -EINVAL);
    ck_assert_int_eq(shmem_read_create("create a/b,4096", name, &size), -EINVAL);
    ck_assert_int_eq(
        shmem_read_create("create a23456789012345678901234567890123,4096", name, &size), -EINVAL);
    ck_assert_int_eq(shmem_read_create("allow mine", name, &size), -EINVAL);
}
END_TEST

UNIT_MAIN("shmem", clients_get_the_lowest_number_and_hear_of_each_other,
          a_bell_that_would_wait_holds_nobody_up, what_the_number_was_told_before_is_forgotten,
          the_memory_can_be_neither_cut_nor_grown_nor_sealed_more,
          who_may_not_have_a_region_is_told_why, nobody_shares_more_than_he_has_memory,
          a_region_has_sixteen_clients_and_the_host_so_many_regions,
          a_region_that_is_created_stays_with_its_guest, what_an_earlier_qvmd_gave_is_known_again,
          who_was_attached_is_awaited_by_a_new_qvmd_and_his_number_is_kept,
          nobody_is_refused_for_what_somebody_wrote_on_the_board,
          who_comes_back_is_who_he_was_or_is_told_that_he_is_not, what_is_no_region_is_not_adopted,
          rules_say_which_regions_a_guest_may_have)
