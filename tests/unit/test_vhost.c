/* The front end of vhost-user against a back end in a thread: what is said, and what is believed.
 */
#include "qvm-worker/vhost/vhost.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/err.h"
#include "tests/fake/vhost_back.h"
#include "tests/unit/unit.h"

#define VERSION_1 (UINT64_C(1) << 32)

static struct vhost_back back;
static struct vhost vhost;

static void set_up(void)
{
    back = (struct vhost_back){.features = VERSION_1 | WIRE_BIT(WIRE_F_PROTOCOL_FEATURES),
                               .protocol = UINT64_MAX,
                               .queue_count = 4,
                               .config_size = 60,
                               .base = 7};
}

static int begin(struct err *err)
{
    vhost_back_start(&back);
    return vhost_init(&vhost, back.fd, err);
}

static void end(void)
{
    vhost_fini(&vhost);
    vhost_back_join(&back);
}

START_TEST(greeting_tells_what_the_back_end_has_and_takes_of_the_protocol_what_is_ours)
{
    ck_assert_int_eq(begin(NULL), 0);
    ck_assert_uint_eq(vhost.features, VERSION_1);
    ck_assert_uint_eq(vhost.queue_count, 4);
    end();
    ck_assert_uint_eq(
        vhost_back_heard(&back, WIRE_SET_PROTOCOL_FEATURES, 0)->message.payload.number,
        WIRE_P_OURS);
    ck_assert_ptr_nonnull(vhost_back_heard(&back, WIRE_SET_OWNER, 0));
    vhost_back_fini(&back);
}
END_TEST

START_TEST(back_end_without_any_feature_of_the_protocol_is_asked_for_none)
{
    back.protocol = 0;
    ck_assert_int_eq(begin(NULL), 0);
    ck_assert_uint_eq(vhost.queue_count, 0);
    ck_assert_int_eq(vhost_read_config(&vhost, &(uint8_t){0}, 1), -ENOTSUP);
    ck_assert_int_eq(vhost_set_features(&vhost, VERSION_1), 0);
    end();
    ck_assert_ptr_null(vhost_back_heard(&back, WIRE_GET_QUEUE_NUM, 0));
    ck_assert_uint_eq(
        vhost_back_heard(&back, WIRE_SET_FEATURES, 0)->message.header.flags & WIRE_NEED_REPLY, 0);
    vhost_back_fini(&back);
}
END_TEST

START_TEST(back_end_that_is_too_old_is_refused)
{
    struct err err = {0};

    back.features = VERSION_1;
    ck_assert_int_eq(begin(&err), -ENOTSUP);
    ck_assert_str_eq(err.msg, "the back end is too old: it has no features of the protocol");
    end();
    vhost_back_fini(&back);
}
END_TEST

START_TEST(guest_memory_is_told_by_the_guests_addresses_with_a_descriptor_for_each_piece)
{
    struct vhost_region regions[VHOST_REGIONS_MAX + 1] = {{0, 0xa0000, 0},
                                                          {0x100000, 0x300000, 0x200000}};
    int fd = memfd_create("ram", MFD_CLOEXEC);
    const struct vhost_heard *heard;
    struct stat one, other;

    ck_assert_int_eq(begin(NULL), 0);
    ck_assert_int_eq(vhost_set_memory(&vhost, regions, VHOST_REGIONS_MAX + 1, fd), -E2BIG);
    ck_assert_int_eq(vhost_set_memory(&vhost, regions, 2, fd), 0);
    end();
    heard = vhost_back_heard(&back, WIRE_SET_MEM_TABLE, 0);
    ck_assert_uint_eq(heard->fd_count, 2);
    ck_assert_uint_eq(heard->message.payload.memory.count, 2);
    ck_assert_uint_eq(heard->message.payload.memory.regions[1].guest, 0x100000);
    ck_assert_uint_eq(heard->message.payload.memory.regions[1].user, 0x100000);
    ck_assert_uint_eq(heard->message.payload.memory.regions[1].size, 0x300000);
    ck_assert_uint_eq(heard->message.payload.memory.regions[1].offset, 0x200000);
    ck_assert_int_eq(fstat(heard->fd, &one), 0);
    ck_assert_int_eq(fstat(fd, &other), 0);
    ck_assert_uint_eq(one.st_ino, other.st_ino);
    (void)close(fd);
    vhost_back_fini(&back);
}
END_TEST

START_TEST(configuration_is_read_as_far_as_there_is_one_and_written)
{
    uint8_t bytes[60] = {0};

    ck_assert_int_eq(begin(NULL), 0);
    ck_assert_int_eq(vhost_read_config(&vhost, bytes, 61), -EINVAL);
    ck_assert_int_eq(vhost_read_config(&vhost, bytes, VHOST_CONFIG_MAX + 1), -EINVAL);
    ck_assert_int_eq(vhost_read_config(&vhost, bytes, 60), 0);
    ck_assert_uint_eq(bytes[59], 60);
    ck_assert_int_eq(vhost_write_config(&vhost, 32, bytes, 1), 0);
    end();
    ck_assert_uint_eq(vhost_back_heard(&back, WIRE_SET_CONFIG, 0)->message.payload.config.offset,
                      32);
    ck_assert_uint_eq(vhost_back_heard(&back, WIRE_SET_CONFIG, 0)->message.payload.config.bytes[0],
                      1);
    vhost_back_fini(&back);
}
END_TEST

START_TEST(queue_is_told_whole_before_it_is_enabled_and_says_where_it_stopped)
{
    struct vhost_queue queue = {.index = 3,
                                .size = 128,
                                .base = 5,
                                .descriptors = 0x1000,
                                .driver = 0x2000,
                                .device = 0x3000,
                                .kick_fd = eventfd(0, EFD_CLOEXEC),
                                .call_fd = eventfd(0, EFD_CLOEXEC)};
    struct wire_address address;
    uint16_t base = 0;

    ck_assert_int_eq(begin(NULL), 0);
    ck_assert_int_eq(vhost_start(&vhost, &queue), 0);
    ck_assert_int_eq(vhost_stop(&vhost, 3, &base), 0);
    ck_assert_uint_eq(base, 7);
    ck_assert(vhost_is_there(&vhost));
    end();
    address = vhost_back_heard(&back, WIRE_SET_VRING_ADDR, 0)->message.payload.address;
    ck_assert_uint_eq(address.index, 3);
    ck_assert_uint_eq(address.descriptors, 0x1000);
    ck_assert_uint_eq(address.available, 0x2000);
    ck_assert_uint_eq(address.used, 0x3000);
    ck_assert_uint_eq(vhost_back_heard(&back, WIRE_SET_VRING_BASE, 0)->message.payload.state.number,
                      5);
    ck_assert_uint_eq(vhost_back_heard(&back, WIRE_SET_VRING_NUM, 0)->message.payload.state.number,
                      128);
    ck_assert_uint_eq(vhost_back_heard(&back, WIRE_SET_VRING_KICK, 0)->fd_count, 1);
    ck_assert_uint_eq(vhost_back_heard(&back, WIRE_SET_VRING_CALL, 0)->message.payload.number, 3);
    ck_assert(vhost_back_heard(&back, WIRE_SET_VRING_ENABLE, 0) >
              vhost_back_heard(&back, WIRE_SET_VRING_KICK, 0));
    (void)close(queue.kick_fd);
    (void)close(queue.call_fd);
    vhost_back_fini(&back);
}
END_TEST

/* Each answer in each way. */
START_TEST(wrong_answer_loses_the_back_end_and_nothing_is_said_to_it_any_more)
{
    static const uint32_t requests[] = {WIRE_GET_FEATURES, WIRE_GET_PROTOCOL_FEATURES,
                                        WIRE_SET_OWNER,    WIRE_GET_QUEUE_NUM,
                                        WIRE_SET_FEATURES, WIRE_GET_VRING_BASE};

    for (uint32_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        for (unsigned how = VHOST_BACK_OTHER_REQUEST; how <= VHOST_BACK_ENDS; how++) {
            uint16_t base = 0;
            bool is_meant = how == VHOST_BACK_REFUSES && (i < 2 || i == 3);
            int r;

            set_up();
            back.bad_request = requests[i];
            back.how = how;
            r = begin(NULL);
            r = r == 0 ? vhost_set_features(&vhost, 0) : r;
            r = r == 0 ? vhost_stop(&vhost, 0, &base) : r;
            if (!is_meant || i == 3) { /* all features are as good as any */
                ck_assert_msg(r < 0, "request %u, way %u: %d", requests[i], how, r);
                ck_assert(vhost.is_lost);
                ck_assert_int_eq(vhost_set_features(&vhost, 0), -ENOTCONN);
                ck_assert_int_eq(vhost_stop(&vhost, 0, &base), -ENOTCONN);
            }
            end();
            vhost_back_fini(&back);
        }
    }
}
END_TEST

START_TEST(end_of_the_back_end_is_seen_and_so_is_what_nobody_asked_for)
{
    uint8_t byte = 0;

    ck_assert_int_eq(begin(NULL), 0);
    ck_assert(vhost_is_there(&vhost));
    ck_assert_int_eq(send(back.own_fd, &byte, 1, 0), 1);
    ck_assert(!vhost_is_there(&vhost));
    end();
    vhost_back_fini(&back);

    set_up();
    ck_assert_int_eq(begin(NULL), 0);
    (void)shutdown(back.own_fd, SHUT_RDWR);
    ck_assert(!vhost_is_there(&vhost));
    end();
    vhost_back_fini(&back);
}
END_TEST

UNIT_MAIN_WITH("vhost", set_up, NULL,
               greeting_tells_what_the_back_end_has_and_takes_of_the_protocol_what_is_ours,
               back_end_without_any_feature_of_the_protocol_is_asked_for_none,
               back_end_that_is_too_old_is_refused,
               guest_memory_is_told_by_the_guests_addresses_with_a_descriptor_for_each_piece,
               configuration_is_read_as_far_as_there_is_one_and_written,
               queue_is_told_whole_before_it_is_enabled_and_says_where_it_stopped,
               wrong_answer_loses_the_back_end_and_nothing_is_said_to_it_any_more,
               end_of_the_back_end_is_seen_and_so_is_what_nobody_asked_for)
