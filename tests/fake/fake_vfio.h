/* A function of the host that is none: its registers are an array, and what is asked of it is
 * written down. */
#ifndef QVM_TESTS_FAKE_VFIO_H
#define QVM_TESTS_FAKE_VFIO_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "qvm-worker/vfio/device.h"

#define FAKE_BAR_SIZE 0x8000u

struct fake_vfio {
    uint8_t config[4096];
    struct vfio_region regions[8];
    uint8_t bars[VFIO_BARS + 1][FAKE_BAR_SIZE]; /* and the ROM */
    uint32_t counts[VFIO_INTERRUPT_COUNT];      /* of interrupts that it has */
    uint32_t most_msi;                          /* the kernel gives no more; 0: any number */
    uint32_t on[VFIO_INTERRUPT_COUNT];          /* how many of each kind it may send now */
    int fds[VFIO_VECTORS_MAX], resample_fd;
    uint32_t read_count, write_count, map_count, reset_count;
    bool is_gone; /* nothing is answered any more */
};

static inline int fake_vfio_region(void *device, uint32_t index, struct vfio_region *region,
                                   struct err *err)
{
    const struct fake_vfio *fake = device;

    (void)err;
    *region = fake->regions[index];
    return 0;
}

static inline uint32_t fake_vfio_count(void *device, enum vfio_interrupt kind)
{
    const struct fake_vfio *fake = device;

    return fake->counts[kind];
}

static inline uint8_t *fake_vfio_bytes(struct fake_vfio *fake, uint32_t region, uint64_t offset,
                                       uint32_t size)
{
    uint64_t limit = region == VFIO_REGION_CONFIG ? fake->regions[region].size : FAKE_BAR_SIZE;

    if (fake->is_gone || offset > limit || size > limit - offset || region > VFIO_REGION_CONFIG) {
        return NULL;
    }
    return region == VFIO_REGION_CONFIG ? fake->config + offset : fake->bars[region] + offset;
}

static inline int fake_vfio_read(void *device, uint32_t region, uint64_t offset, void *data,
                                 uint32_t size)
{
    struct fake_vfio *fake = device;
    const uint8_t *bytes = fake_vfio_bytes(fake, region, offset, size);

    if (bytes == NULL) {
        return -EIO;
    }
    fake->read_count++;
    memcpy(data, bytes, size);
    return 0;
}

static inline int fake_vfio_write(void *device, uint32_t region, uint64_t offset, const void *data,
                                  uint32_t size)
{
    struct fake_vfio *fake = device;
    uint8_t *bytes = fake_vfio_bytes(fake, region, offset, size);

    if (bytes == NULL || region == VFIO_REGION_ROM) {
        return -EIO;
    }
    fake->write_count++;
    memcpy(bytes, data, size);
    return 0;
}

/* As the kernel: one kind at a time. */
static inline int fake_vfio_interrupts(void *device, enum vfio_interrupt kind, const int *fds,
                                       uint32_t count, int resample_fd)
{
    struct fake_vfio *fake = device;

    for (uint32_t i = 0; i < VFIO_INTERRUPT_COUNT; i++) {
        if (count != 0 && i != (uint32_t)kind && fake->on[i] != 0) {
            return -EINVAL;
        }
    }
    if (count > fake->counts[kind] ||
        (kind == VFIO_MSI && fake->most_msi != 0 && count > fake->most_msi)) {
        return -ENOSPC;
    }
    fake->on[kind] = count;
    fake->resample_fd = resample_fd;
    if (count != 0) {
        memcpy(fake->fds, fds, count * sizeof(*fds));
    }
    return 0;
}

static inline void *fake_vfio_map(void *device, uint32_t region, const struct vfio_area *area)
{
    struct fake_vfio *fake = device;

    fake->map_count++;
    return fake->bars[region] + area->offset;
}

static inline int fake_vfio_reset(void *device, struct err *err)
{
    struct fake_vfio *fake = device;

    (void)err;
    fake->reset_count++;
    return fake->is_gone ? -ENODEV : 0;
}

static const struct vfio_ops fake_vfio_ops __attribute__((unused)) = {
    .region = fake_vfio_region,
    .interrupt_count = fake_vfio_count,
    .read = fake_vfio_read,
    .write = fake_vfio_write,
    .interrupts = fake_vfio_interrupts,
    .map = fake_vfio_map,
    .reset = fake_vfio_reset,
};

static inline void fake_vfio_put(struct fake_vfio *fake, uint32_t at, uint32_t value, uint32_t size)
{
    memcpy(fake->config + at, &value, size);
}

static inline uint32_t fake_vfio_get(const struct fake_vfio *fake, uint32_t at, uint32_t size)
{
    uint32_t value = 0;

    memcpy(&value, fake->config + at, size);
    return value;
}

/* BAR `bar`: with `can_map` all of it may be mapped. */
static inline void fake_vfio_bar(struct fake_vfio *fake, uint32_t bar, uint32_t type, uint64_t size,
                                 bool can_map)
{
    fake_vfio_put(fake, 0x10 + 4 * bar, 0xfe000000u | type, 4);
    fake->regions[bar] = (struct vfio_region){.size = size, .can_read = true, .can_write = true};
    if (can_map) {
        fake->regions[bar].area_count = 1;
        fake->regions[bar].areas[0] = (struct vfio_area){0, size};
    }
}

/* Its extended space: error reporting at 0x100, the serial number at 0x140, SR-IOV at 0x160,
 * something of the vendor's own at 0x1C0, in another order address translation at 0x300. */
static inline void fake_vfio_extend(struct fake_vfio *fake)
{
    fake->regions[VFIO_REGION_CONFIG].size = sizeof(fake->config);
    fake_vfio_put(fake, 0x100, 0x14020001, 4);
    fake_vfio_put(fake, 0x104, 0x00000010, 4);
    fake_vfio_put(fake, 0x140, 0x30010003, 4);
    fake_vfio_put(fake, 0x144, 0x11223344, 4);
    fake_vfio_put(fake, 0x148, 0x55667788, 4);
    fake_vfio_put(fake, 0x14c, 0xbadbadba, 4); /* behind it */
    fake_vfio_put(fake, 0x300, 0x1601000f, 4);
    fake_vfio_put(fake, 0x304, 0x80000060, 4);
    fake_vfio_put(fake, 0x160, 0x1c010010, 4);
    fake_vfio_put(fake, 0x168, 0x00000001, 4);
    fake_vfio_put(fake, 0x1c0, 0x0001000b, 4);
    fake_vfio_put(fake, 0x1c4, 0x01010042, 4); /* 16 bytes */
    fake_vfio_put(fake, 0x1c8, 0xcafe0001, 4);
    fake_vfio_put(fake, 0x1cc, 0xcafe0002, 4);
    fake_vfio_put(fake, 0x1d0, 0xbadbadba, 4);
}

/* A network card of PCI Express: four BARs, a ROM, power management at 0x40, MSI at 0x50, PCI
 * Express at 0x60, MSI-X at 0xA0 with its table in BAR 3, vital product data at 0xB0, something of
 * the vendor's own at 0xC0. */
static inline void fake_vfio_card(struct fake_vfio *fake)
{
    *fake = (struct fake_vfio){.counts = {[VFIO_INTX] = 1, [VFIO_MSI] = 4, [VFIO_MSIX] = 5}};
    fake_vfio_put(fake, 0x00, 0x10d38086, 4);
    fake_vfio_put(fake, 0x06, 0xf810, 2);
    fake_vfio_put(fake, 0x08, 0x02000003, 4);
    fake_vfio_put(fake, 0x0e, 0x80, 1);
    fake_vfio_put(fake, 0x2c, 0x00018086, 4);
    fake_vfio_put(fake, 0x34, 0xb0, 1); /* not in the order of places */
    fake_vfio_put(fake, 0x3c, 0x010a, 2);
    fake_vfio_put(fake, 0x40, 0xf8235001, 4); /* power management, then 0x50 */
    fake_vfio_put(fake, 0x44, 0x2103, 2);
    fake_vfio_put(fake, 0x50, 0x00856005, 4); /* MSI: enabled, 4 messages, 64 bits */
    fake_vfio_put(fake, 0x54, 0xfee01000, 4);
    fake_vfio_put(fake, 0x60, 0x0002a010, 4); /* PCI Express: endpoint, version 2 */
    fake_vfio_put(fake, 0x64, 0x10008fc1, 4);
    fake_vfio_put(fake, 0x68, 0x00102810, 4);
    fake_vfio_put(fake, 0x6c, 0x00035c11, 4);
    fake_vfio_put(fake, 0xa0, 0xc004c011, 4); /* MSI-X: 5 vectors, enabled and masked */
    fake_vfio_put(fake, 0xa4, 0x00002003, 4); /* table: BAR 3, 0x2000 */
    fake_vfio_put(fake, 0xa8, 0x00003003, 4);
    fake_vfio_put(fake, 0xb0, 0x12344003, 4); /* vital product data, then 0x40 */
    fake_vfio_put(fake, 0xc0, 0x00080009, 4);
    fake_vfio_put(fake, 0xc4, 0xdeadbeef, 4);
    fake_vfio_put(fake, 0xe0, 0x55aa55aa, 4); /* in no capability */
    fake_vfio_bar(fake, 0, 0, 0x4000, true);
    fake_vfio_bar(fake, 1, 0, 0x800, true);
    fake_vfio_bar(fake, 2, 1, 0x20, false);
    fake_vfio_bar(fake, 3, 0, 0x8000, true);
    fake->regions[VFIO_REGION_CONFIG] = (struct vfio_region){.size = 256, .can_read = true};
    fake->regions[VFIO_REGION_ROM] = (struct vfio_region){.size = 0x1000, .can_read = true};
    memcpy(fake->bars[VFIO_REGION_ROM], "\x55\xaa rom", 7);
}

#endif
