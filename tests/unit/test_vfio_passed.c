/* The functions of the host that one VM has, on devices that are none: what kernel.h offers is
 * here. */
#include "qvm-worker/vfio/passed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "qvm-worker/vfio/kernel.h"
#include "tests/fake/fake_vfio.h"
#include "tests/unit/pci_unit.h"

#define CARDS 2u
#define SLOTS 16u

struct vfio_kernel {
    int fd, request_fd, error_fd;
    struct fake_vfio card;
};

static struct {
    uint32_t made, gone, mapped, watched, group_count, slot_highest;
    int container_fd;
    bool is_container_open; /* when RAM was mapped */
    int map_result, group_result;
    struct vfio_kernel *kernels[VFIO_PASSED_MAX + 1];
} world;

static const struct loc_pci anywhere;
static struct vfio_passed *passed;

int vfio_kernel_create(int device_fd, int group_fd, struct vfio_kernel **kernel,
                       struct vfio_device *device, struct err *to)
{
    struct vfio_kernel *new = calloc(1, sizeof(*new));

    (void)to;
    ck_assert_int_ge(group_fd, 0);
    ck_assert_ptr_nonnull(new);
    new->fd = device_fd;
    new->request_fd = new->error_fd = -1;
    fake_vfio_card(&new->card);
    new->card.counts[VFIO_INTX] = 0;
    new->card.counts[VFIO_MSIX] = 4; /* routes for two of them */
    world.kernels[world.made++] = new;
    *kernel = new;
    *device = (struct vfio_device){&fake_vfio_ops, &new->card};
    return 0;
}

void vfio_kernel_destroy(struct vfio_kernel *kernel)
{
    if (kernel != NULL) {
        (void)close(kernel->fd);
        world.gone++;
        free(kernel);
    }
}

void vfio_kernel_hear(const struct vfio_kernel *kernel, int request_fd, int error_fd)
{
    for (uint32_t i = 0; i < world.made; i++) {
        if (world.kernels[i] == kernel) {
            world.kernels[i]->request_fd = request_fd;
            world.kernels[i]->error_fd = error_fd;
        }
    }
}

int vfio_kernel_map(int container_fd, const struct memory *memory, struct err *to)
{
    (void)memory;
    world.mapped++;
    world.container_fd = container_fd;
    world.is_container_open = fcntl(container_fd, F_GETFD) >= 0;
    return world.map_result == 0 ? 0 : err_set(to, world.map_result, "no room");
}

static int on_slot(void *context, uint32_t slot, uint64_t address, void *host, uint64_t size)
{
    (void)context;
    (void)address;
    (void)host;
    (void)size;
    ck_assert_uint_lt(slot, SLOTS);
    world.slot_highest = slot > world.slot_highest ? slot : world.slot_highest;
    return 0;
}

static int on_group(void *context, int group_fd, struct err *to)
{
    (void)context;
    ck_assert_int_ge(group_fd, 0);
    world.group_count++;
    return world.group_result == 0 ? 0 : err_set(to, world.group_result, "no group");
}

static int on_watch(void *context, int fd, struct err *to)
{
    (void)context;
    (void)to;
    ck_assert_int_ge(fd, 0);
    world.watched++;
    return 0;
}

static int make_fd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static int add_one(int fds[3])
{
    for (uint32_t i = 0; i < 3; i++) {
        fds[i] = make_fd();
    }
    return vfio_passed_add(passed, "device 'x' of the host", "g:7", &anywhere, fds, &err);
}

static void start(uint32_t count)
{
    struct vfio_passed_config config = {.slot = on_slot, .group = on_group, .watch = on_watch};
    int fds[3];

    memset(&world, 0, sizeof(world));
    make(false);
    config.pci = pci;
    ck_assert_int_eq(vfio_passed_create(&config, &passed, &err), 0);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_msg(add_one(fds) == 0, "%s", err.msg);
    }
}

static void end(void)
{
    vfio_passed_destroy(passed);
    ck_assert_uint_eq(world.gone, world.made);
    done();
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

START_TEST(each_function_has_its_group_its_slots_and_its_ears)
{
    start(CARDS);
    ck_assert_int_eq(pci_seal(pci, &err), 0);
    ck_assert_uint_eq(world.group_count, CARDS);
    ck_assert_uint_eq(world.watched, 2 * CARDS);
    ck_assert_uint_eq(world.slot_highest, 3 * CARDS - 1); /* three pieces each */
    end();
}
END_TEST

START_TEST(ram_is_mapped_once_and_nobody_can_map_more)
{
    start(CARDS);
    ck_assert_int_eq(vfio_passed_map(passed, &err), 0);
    ck_assert_uint_eq(world.mapped, 1);
    ck_assert(world.is_container_open);
    ck_assert(!is_open(world.container_fd));
    end();
}
END_TEST

START_TEST(without_functions_nothing_is_mapped)
{
    start(0);
    ck_assert_int_eq(vfio_passed_map(passed, &err), 0);
    ck_assert_uint_eq(world.mapped, 0);
    end();
    vfio_passed_destroy(NULL);
}
END_TEST

START_TEST(what_fails_is_told_with_its_place_and_leaves_no_descriptor)
{
    int fds[3];

    start(1);
    world.map_result = -ENOMEM;
    ck_assert_int_eq(vfio_passed_map(passed, &err), -ENOMEM);
    ck_assert_str_eq(err.msg, "g:7: no room");
    ck_assert(!is_open(world.container_fd));
    world.group_result = -EBUSY;
    ck_assert_int_eq(add_one(fds), -EBUSY);
    ck_assert_str_eq(err.msg, "g:7: device 'x' of the host: no group");
    end();
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(!is_open(fds[i]));
    }
}
END_TEST

START_TEST(one_more_than_the_limit_is_refused_and_its_descriptors_closed)
{
    int fds[3];

    start(0);
    world.group_result = -EBUSY; /* none of them reaches the buses, where there is less room */
    for (uint32_t i = 0; i < VFIO_PASSED_MAX; i++) {
        ck_assert_int_eq(add_one(fds), -EBUSY);
    }
    ck_assert_int_eq(add_one(fds), -ENOSPC);
    ck_assert_str_eq(err.msg, "g:7: more than 32 functions of the host");
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(!is_open(fds[i]));
    }
    end();
}
END_TEST

START_TEST(a_reset_of_the_vm_resets_each_of_them)
{
    start(CARDS);
    world.kernels[0]->card.is_gone = true; /* one that cannot be reset is no reason to stop */
    vfio_passed_reset(passed);
    for (uint32_t i = 0; i < CARDS; i++) {
        ck_assert_uint_eq(world.kernels[i]->card.reset_count, 1);
    }
    end();
}
END_TEST

static void ring(int fd)
{
    static const uint64_t one = 1;

    ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

START_TEST(one_that_the_host_wants_back_goes_alone_and_once)
{
    start(CARDS);
    ck_assert(!vfio_passed_look(passed));
    ring(world.kernels[1]->request_fd);
    ck_assert(vfio_passed_look(passed));
    ck_assert_uint_eq(world.gone, 0); /* not before no vCPU runs */
    vfio_passed_give_back(passed);
    ck_assert_uint_eq(world.gone, 1);
    ck_assert(!vfio_passed_look(passed));
    vfio_passed_give_back(passed);
    ck_assert_uint_eq(world.gone, 1);
    vfio_passed_reset(passed);
    ck_assert_uint_eq(world.kernels[0]->card.reset_count, 1);
    end();
}
END_TEST

START_TEST(one_that_failed_stays_the_guests)
{
    start(1);
    ring(world.kernels[0]->error_fd);
    ck_assert(!vfio_passed_look(passed));
    ring(world.kernels[0]->error_fd);
    ck_assert(!vfio_passed_look(passed));
    ck_assert_uint_eq(world.gone, 0);
    end();
}
END_TEST

UNIT_MAIN("vfio_passed", each_function_has_its_group_its_slots_and_its_ears,
          ram_is_mapped_once_and_nobody_can_map_more, without_functions_nothing_is_mapped,
          what_fails_is_told_with_its_place_and_leaves_no_descriptor,
          one_more_than_the_limit_is_refused_and_its_descriptors_closed,
          a_reset_of_the_vm_resets_each_of_them, one_that_the_host_wants_back_goes_alone_and_once,
          one_that_failed_stays_the_guests)
