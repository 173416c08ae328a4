/* What is asked of VFIO, and what is done with its answers, on a kernel that is none: descriptors
 * are memfds, and the calls come here. */
#include "qvm-worker/vfio/kernel.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/memory/memory.h"
#include "tests/unit/unit.h"

#define MIB        (1ull << 20)
#define STRIDE     0x10000u /* of regions in the descriptor */
#define BAR_SIZE   0x4000u
#define GROUP_FD   1000
#define MAPS       8u
#define SETS       8u
#define VECTORS    5u
#define CONFIG_AT  (VFIO_REGION_CONFIG * STRIDE)
#define WINDOW_END 0xfedfffffull

static struct err err;
static struct {
    uint32_t device_flags;
    int map_errno, reset_errno;
    bool has_ranges;
    uint32_t map_count, set_count, reset_count, hot_count;
    struct vfio_iommu_type1_dma_map maps[MAPS];
    struct {
        uint32_t index, flags, count;
        int fds[VFIO_VECTORS_MAX];
    } sets[SETS];
    int hot_group;
} world;

static int tell_region(struct vfio_region_info *info)
{
    if (info->index == VFIO_REGION_ROM) {
        errno = EINVAL;
        return -1;
    }
    info->offset = (uint64_t)info->index * STRIDE;
    info->size = info->index == VFIO_REGION_CONFIG ? 256 : info->index < 2 ? BAR_SIZE : 0;
    info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
                  (info->index == 0 ? VFIO_REGION_INFO_FLAG_MMAP : 0);
    info->argsz = sizeof(*info);
    return 0;
}

static int tell_interrupts(struct vfio_irq_info *info)
{
    info->flags = info->index == VFIO_PCI_MSI_IRQ_INDEX ? 0 : VFIO_IRQ_INFO_EVENTFD;
    info->count = info->index == VFIO_PCI_MSIX_IRQ_INDEX ? VECTORS : 1;
    return 0;
}

static int set_interrupts(const struct vfio_irq_set *set)
{
    ck_assert_uint_lt(world.set_count, SETS);
    ck_assert_uint_ge(set->argsz, sizeof(*set));
    ck_assert_uint_le(set->argsz - sizeof(*set), sizeof(world.sets[0].fds));
    world.sets[world.set_count].index = set->index;
    world.sets[world.set_count].flags = set->flags;
    world.sets[world.set_count].count = set->count;
    memcpy(world.sets[world.set_count].fds, set->data, set->argsz - sizeof(*set));
    world.set_count++;
    return 0;
}

static int tell_iommu(uint8_t *told)
{
    struct vfio_iommu_type1_info info;
    struct vfio_iommu_type1_info_cap_iova_range cap = {
        .header = {.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1}, .nr_iovas = 1};
    const struct vfio_iova_range range = {0, WINDOW_END};

    memcpy(&info, told, sizeof(info));
    info.flags = VFIO_IOMMU_INFO_PGSIZES | (world.has_ranges ? VFIO_IOMMU_INFO_CAPS : 0);
    info.cap_offset = 64;
    memcpy(told, &info, sizeof(info));
    memcpy(told + 64, &cap, sizeof(cap));
    memcpy(told + 64 + sizeof(cap), &range, sizeof(range));
    return 0;
}

static int map_memory(const struct vfio_iommu_type1_dma_map *map)
{
    ck_assert_uint_lt(world.map_count, MAPS);
    errno = world.map_errno;
    if (world.map_errno == 0) {
        world.maps[world.map_count++] = *map;
    }
    return world.map_errno == 0 ? 0 : -1;
}

static int reset(int r, uint32_t *count)
{
    errno = r;
    *count += 1;
    return r == 0 ? 0 : -1;
}

/* In the place of the C library's. VFIO_DEVICE_PCI_HOT_RESET and _GET_INFO of the IOMMU have the
 * numbers of others: the argument's size, or what it is called on, tells them apart. */
int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    void *argument;

    va_start(list, request);
    argument = va_arg(list, void *);
    va_end(list);
    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        ((struct vfio_device_info *)argument)->flags = world.device_flags;
        return 0;
    case VFIO_DEVICE_GET_REGION_INFO:
        return tell_region(argument);
    case VFIO_DEVICE_GET_IRQ_INFO:
        return tell_interrupts(argument);
    case VFIO_DEVICE_SET_IRQS:
        return set_interrupts(argument);
    case VFIO_DEVICE_RESET:
        return reset(world.reset_errno, &world.reset_count);
    case VFIO_IOMMU_GET_INFO: /* and VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, which nobody asks for */
        return tell_iommu(argument);
    case VFIO_IOMMU_MAP_DMA: /* and VFIO_DEVICE_PCI_HOT_RESET */
        if (((const struct vfio_pci_hot_reset *)argument)->argsz ==
            sizeof(struct vfio_iommu_type1_dma_map)) {
            return map_memory(argument);
        }
        world.hot_group = ((const struct vfio_pci_hot_reset *)argument)->group_fds[0];
        return reset(world.reset_errno, &world.hot_count);
    default:
        return (int)syscall(SYS_ioctl, fd, request, argument);
    }
}

static void begin(void)
{
    memset(&world, 0, sizeof(world));
    world.device_flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
}

static int make_device_fd(void)
{
    int fd = memfd_create("device", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (VFIO_REGION_CONFIG + 1) * STRIDE), 0);
    return fd;
}

/* Borrowed from it until vfio_kernel_destroy. */
static struct vfio_kernel *make(struct vfio_device *device, int *fd)
{
    struct vfio_kernel *kernel = NULL;

    begin();
    *fd = make_device_fd();
    ck_assert_msg(vfio_kernel_create(*fd, GROUP_FD, &kernel, device, &err) == 0, "%s", err.msg);
    return kernel;
}

START_TEST(what_is_no_pci_function_of_vfio_is_refused_and_closed)
{
    struct vfio_kernel *kernel = NULL;
    struct vfio_device device = {0};
    int fd = make_device_fd();

    begin();
    world.device_flags = VFIO_DEVICE_FLAGS_PLATFORM;
    ck_assert_int_eq(vfio_kernel_create(fd, GROUP_FD, &kernel, &device, &err), -ENODEV);
    ck_assert_ptr_null(kernel);
    ck_assert_str_eq(err.msg, "what was granted is no PCI function of VFIO");
    ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), -1); /* closed */
}
END_TEST

START_TEST(registers_are_read_and_written_inside_what_the_kernel_told_alone)
{
    struct vfio_region region;
    struct vfio_device device;
    int fd;
    struct vfio_kernel *kernel = make(&device, &fd);
    uint32_t value = 0x12345678;

    ck_assert_int_eq(device.ops->write(kernel, VFIO_REGION_CONFIG, 252, &value, 4), 0);
    value = 0;
    ck_assert_int_eq(pread(fd, &value, 4, CONFIG_AT + 252), 4);
    ck_assert_uint_eq(value, 0x12345678);
    ck_assert_int_eq(device.ops->read(kernel, VFIO_REGION_CONFIG, 254, &value, 4), -EINVAL);
    ck_assert_int_eq(device.ops->write(kernel, VFIO_REGION_CONFIG, 256, &value, 1), -EINVAL);
    ck_assert_int_eq(device.ops->read(kernel, 1, 0, &value, 4), -EINVAL); /* nobody asked yet */
    ck_assert_int_eq(device.ops->region(kernel, 1, &region, &err), 0);
    ck_assert_int_eq(device.ops->read(kernel, 1, BAR_SIZE - 4, &value, 4), 0);
    ck_assert_int_eq(device.ops->read(kernel, 1, BAR_SIZE, &value, 4), -EINVAL);
    ck_assert_int_eq(device.ops->read(kernel, 1, UINT64_MAX - 1, &value, 4), -EINVAL);
    ck_assert_int_eq(device.ops->read(kernel, VFIO_REGION_CONFIG + 1, 0, &value, 4), -EINVAL);
    ck_assert_int_eq(device.ops->write(kernel, UINT32_MAX, 0, &value, 4), -EINVAL);
    vfio_kernel_destroy(kernel);
}
END_TEST

START_TEST(a_region_that_is_not_told_is_an_error_and_one_that_cannot_be_is_none)
{
    struct vfio_region region;
    struct vfio_device device;
    int fd;
    struct vfio_kernel *kernel = make(&device, &fd);

    ck_assert_int_eq(device.ops->region(kernel, VFIO_REGION_ROM, &region, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "its region 6"));
    ck_assert_int_eq(device.ops->region(kernel, VFIO_REGION_CONFIG + 1, &region, &err), 0);
    ck_assert_uint_eq(region.size, 0);
    vfio_kernel_destroy(kernel);
}
END_TEST

START_TEST(what_is_inside_a_region_is_mapped)
{
    static const struct vfio_area inside = {0x1000, 0x1000}, outside = {0x3000, 0x2000};
    struct vfio_region region;
    struct vfio_device device;
    int fd;
    struct vfio_kernel *kernel = make(&device, &fd);
    const uint8_t *page;

    ck_assert_ptr_null(device.ops->map(kernel, 0, &inside)); /* nobody asked for the region */
    ck_assert_int_eq(device.ops->region(kernel, 0, &region, &err), 0);
    ck_assert_int_eq(pwrite(fd, "x", 1, 0x1000), 1);
    page = device.ops->map(kernel, 0, &inside);
    ck_assert_ptr_nonnull(page);
    ck_assert_uint_eq(page[0], 'x');
    ck_assert_ptr_null(device.ops->map(kernel, 0, &outside));
    vfio_kernel_destroy(kernel);
}
END_TEST

START_TEST(interrupts_are_counted_where_they_can_be_had_by_descriptor)
{
    struct vfio_device device;
    int fd;
    struct vfio_kernel *kernel = make(&device, &fd);

    ck_assert_uint_eq(device.ops->interrupt_count(kernel, VFIO_INTX), 1);
    ck_assert_uint_eq(device.ops->interrupt_count(kernel, VFIO_MSI), 0);
    ck_assert_uint_eq(device.ops->interrupt_count(kernel, VFIO_MSIX), VECTORS);
    vfio_kernel_destroy(kernel);
}
END_TEST

START_TEST(each_vector_has_its_descriptor_and_none_beyond_the_limit)
{
    static int fds[VFIO_VECTORS_MAX + 1];
    struct vfio_device device;
    int fd;
    struct vfio_kernel *kernel = make(&device, &fd);

    for (uint32_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = (int)i + 100;
    }
    ck_assert_int_eq(device.ops->interrupts(kernel, VFIO_MSIX, fds, VFIO_VECTORS_MAX, -1), 0);
    ck_assert_uint_eq(world.set_count, 1);
    ck_assert_uint_eq(world.sets[0].index, VFIO_PCI_MSIX_IRQ_INDEX);
    ck_assert_uint_eq(world.sets[0].flags, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER);
    ck_assert_uint_eq(world.sets[0].count, VFIO_VECTORS_MAX);
    ck_assert_int_eq(world.sets[0].fds[VFIO_VECTORS_MAX - 1], VFIO_VECTORS_MAX - 1 + 100);
    ck_assert_int_eq(device.ops->interrupts(kernel, VFIO_MSIX, fds, VFIO_VECTORS_MAX + 1, -1),
                     -EINVAL);
    ck_assert_uint_eq(world.set_count, 1);
    ck_assert_int_eq(device.ops->interrupts(kernel, VFIO_MSIX, NULL, 0, -1), 0);
    ck_assert_uint_eq(world.sets[1].flags, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER);
    ck_assert_uint_eq(world.sets[1].count, 0);
    vfio_kernel_destroy(kernel);
}
END_TEST

START_TEST(a_line_has_a_second_descriptor_that_allows_the_next)
{
    static const int line = 77;
    struct vfio_device device;
    int fd;
    struct vfio_kernel *kernel = make(&device, &fd);

    ck_assert_int_eq(device.ops->interrupts(kernel, VFIO_INTX, &line, 1, 78), 0);
    ck_assert_uint_eq(world.set_count, 2);
    ck_assert_uint_eq(world.sets[1].index, VFIO_PCI_INTX_IRQ_INDEX);
    ck_assert_uint_eq(world.sets[1].flags, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK);
    ck_assert_int_eq(world.sets[1].fds[0], 78);
    vfio_kernel_hear(kernel, 11, 12);
    ck_assert_uint_eq(world.sets[2].index, VFIO_PCI_REQ_IRQ_INDEX);
    ck_assert_int_eq(world.sets[2].fds[0], 11);
    ck_assert_uint_eq(world.sets[3].index, VFIO_PCI_ERR_IRQ_INDEX);
    vfio_kernel_destroy(kernel);
}
END_TEST

START_TEST(one_without_a_reset_of_its_own_is_reset_with_its_group)
{
    struct vfio_kernel *kernel = NULL;
    struct vfio_device device;

    begin();
    world.device_flags = VFIO_DEVICE_FLAGS_PCI;
    ck_assert_int_eq(vfio_kernel_create(make_device_fd(), GROUP_FD, &kernel, &device, &err), 0);
    ck_assert_int_eq(device.ops->reset(kernel, &err), 0);
    ck_assert_uint_eq(world.hot_count, 1);
    ck_assert_int_eq(world.hot_group, GROUP_FD);
    ck_assert_uint_eq(world.reset_count, 0);
    vfio_kernel_destroy(kernel);
    kernel = make(&device, &(int){0});
    ck_assert_int_eq(device.ops->reset(kernel, &err), 0);
    ck_assert_uint_eq(world.reset_count, 1);
    world.reset_errno = EIO;
    ck_assert_int_eq(device.ops->reset(kernel, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.msg, "it cannot be reset"));
    vfio_kernel_destroy(kernel);
    vfio_kernel_destroy(NULL);
}
END_TEST

static struct memory *make_memory(void)
{
    static const struct memory_range ranges[] = {
        {.size = 16 * MIB, .where = "g:1"},
        {.has_start = true, .start = 0xfffc0000, .size = 0x40000, .where = "g:2", .is_rom = true},
        {.has_start = true, .start = 0x100000000, .size = 2 * MIB, .where = "g:3"}};
    struct memory *memory = NULL;

    ck_assert_msg(memory_create(ranges, ARRAY_LEN(ranges), &memory, &err) == 0, "%s", err.msg);
    return memory;
}

START_TEST(devices_reach_all_ram_and_nothing_else)
{
    struct memory *memory = make_memory();
    const struct memory_region *regions;
    uint32_t count = 0;
    uint64_t ram = 0, mapped = 0;

    begin();
    ck_assert_msg(vfio_kernel_map(-1, memory, &err) == 0, "%s", err.msg);
    regions = memory_regions(memory, &count);
    for (uint32_t i = 0; i < count; i++) {
        ram += regions[i].is_ram ? regions[i].size : 0;
    }
    for (uint32_t i = 0; i < world.map_count; i++) {
        uint64_t start = world.maps[i].iova, end = start + world.maps[i].size;

        mapped += world.maps[i].size;
        ck_assert_uint_eq(world.maps[i].flags, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
        ck_assert(end <= MEMORY_HOLE_START || start >= MEMORY_HOLE_END);
        ck_assert(end <= MEMORY_DEVICES_START || start >= MEMORY_DEVICES_END);
    }
    ck_assert_uint_eq(mapped, ram);
    memory_destroy(memory);
}
END_TEST

START_TEST(ram_that_cannot_be_mapped_is_refused_in_words)
{
    struct memory *memory = make_memory();

    begin();
    world.has_ranges = true;
    ck_assert_int_eq(vfio_kernel_map(-1, memory, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "the host's IOMMU cannot have RAM at 0x100000000"));
    begin();
    world.map_errno = ENOMEM;
    ck_assert_int_eq(vfio_kernel_map(-1, memory, &err), -ENOMEM);
    ck_assert_ptr_nonnull(strstr(err.msg, "RLIMIT_MEMLOCK"));
    world.map_errno = EEXIST;
    ck_assert_int_eq(vfio_kernel_map(-1, memory, &err), -EEXIST);
    ck_assert_ptr_nonnull(strstr(err.msg, "the device cannot be given RAM at 0x0"));
    memory_destroy(memory);
}
END_TEST

UNIT_MAIN("vfio_kernel", what_is_no_pci_function_of_vfio_is_refused_and_closed,
          registers_are_read_and_written_inside_what_the_kernel_told_alone,
          a_region_that_is_not_told_is_an_error_and_one_that_cannot_be_is_none,
          what_is_inside_a_region_is_mapped,
          interrupts_are_counted_where_they_can_be_had_by_descriptor,
          each_vector_has_its_descriptor_and_none_beyond_the_limit,
          a_line_has_a_second_descriptor_that_allows_the_next,
          one_without_a_reset_of_its_own_is_reset_with_its_group,
          devices_reach_all_ram_and_nothing_else, ram_that_cannot_be_mapped_is_refused_in_words)
