/* The extended configuration space of a function of the host as a guest may see it. */
#include "qvm-worker/vfio/extended.h"

#include <string.h>

#include "proto/base/err.h"

#define WORD 4u

/* PCI Express Base Specification 2.1, 7.9.3: the header. */
#define HEADER_SELF  0x000fffffu /* id and version */
#define HEADER_ID    0x0000ffffu
#define NEXT_SHIFT   20u
#define NEXT_ALIGNED 0xffcu
#define GONE         0xffffffffu

#define CAP_SERIAL     0x0003u /* 7.12 */
#define CAP_VENDOR     0x000bu /* 7.19 */
#define CAP_DESIGNATED 0x0023u /* 6.0, 7.9.6 */
#define SERIAL_SIZE    12u
#define OWN_AT         8u  /* behind the header and the vendor's */
#define LENGTH_SHIFT   20u /* in the vendor's header, of all of it */

struct reading {
    uint8_t bytes[VFIO_EXTENDED_END]; /* as the device has them */
    bool is_start[VFIO_EXTENDED_END]; /* of a capability */
};

static uint32_t get(const uint8_t *bytes, uint32_t at)
{
    uint32_t value;

    memcpy(&value, bytes + at, sizeof(value));
    return value;
}

static void set(uint8_t *bytes, uint32_t at, uint32_t value)
{
    memcpy(bytes + at, &value, sizeof(value));
}

static int read_all(struct reading *reading, const struct vfio_device *device, struct err *err)
{
    for (uint32_t at = VFIO_EXTENDED_START; at < VFIO_EXTENDED_END; at += WORD) {
        int r =
            device->ops->read(device->context, VFIO_REGION_CONFIG, at, reading->bytes + at, WORD);

        if (r != 0) {
            return err_sys(err, r, "its extended configuration space cannot be read");
        }
    }
    return 0;
}

/* A list that leads back, or out, ends. */
static void find_starts(struct reading *reading)
{
    uint32_t at = VFIO_EXTENDED_START;

    while (at >= VFIO_EXTENDED_START && !reading->is_start[at]) {
        uint32_t header = get(reading->bytes, at);

        if (header == 0 || header == GONE) {
            return;
        }
        reading->is_start[at] = true;
        at = header >> NEXT_SHIFT & NEXT_ALIGNED;
    }
}

/* How many bytes a capability has before the next one. */
static uint32_t room(const struct reading *reading, uint32_t at)
{
    uint32_t end = at + WORD;

    while (end < VFIO_EXTENDED_END && !reading->is_start[end]) {
        end += WORD;
    }
    return end - at;
}

/* How many of them a guest has; 0: it has it not. */
static uint32_t size_of(const struct reading *reading, uint32_t at)
{
    uint32_t id = get(reading->bytes, at) & HEADER_ID, most = room(reading, at), size;

    if (id == CAP_SERIAL) {
        return most >= SERIAL_SIZE ? SERIAL_SIZE : 0;
    }
    if ((id != CAP_VENDOR && id != CAP_DESIGNATED) || most < OWN_AT) {
        return 0;
    }
    size = get(reading->bytes, at + WORD) >> LENGTH_SHIFT;
    return size >= OWN_AT && size <= most ? size : 0;
}

/* The list begins at its place, with a capability that is none (7.9.1) if that one is hidden. */
static void take_caps(struct vfio_extended *extended, const struct reading *reading)
{
    uint32_t link = VFIO_EXTENDED_START;

    for (uint32_t at = VFIO_EXTENDED_START; at < VFIO_EXTENDED_END; at += WORD) {
        uint32_t size = reading->is_start[at] ? size_of(reading, at) : 0;

        if (size == 0) {
            continue;
        }
        if (at != link) {
            set(extended->bytes, link, get(extended->bytes, link) | at << NEXT_SHIFT);
        }
        memcpy(extended->bytes + at, reading->bytes + at, size);
        set(extended->bytes, at, get(reading->bytes, at) & HEADER_SELF);
        if ((get(reading->bytes, at) & HEADER_ID) != CAP_SERIAL) {
            memset(extended->is_outside + at + OWN_AT, true, size - OWN_AT);
        }
        link = at;
    }
}

int vfio_extended_init(struct vfio_extended *extended, const struct vfio_device *device,
                       struct err *err)
{
    struct reading reading = {{0}, {0}};
    struct vfio_region region = {0};
    int r = device->ops->region(device->context, VFIO_REGION_CONFIG, &region, err);

    *extended = (struct vfio_extended){{0}, {0}};
    if (r != 0 || region.size < VFIO_EXTENDED_END) {
        return r;
    }
    r = read_all(&reading, device, err);
    if (r == 0) {
        find_starts(&reading);
        take_caps(extended, &reading);
    }
    return r;
}

/* How many bytes from there on are the device's: what is its begins at a word. */
static uint32_t count_outside(const struct vfio_extended *extended, uint32_t at, uint32_t size)
{
    uint32_t count = 0;

    while (count < size && extended->is_outside[at + count]) {
        count++;
    }
    return count;
}

uint32_t vfio_extended_read(const struct vfio_extended *extended, const struct vfio_device *device,
                            uint32_t at, uint32_t size)
{
    uint32_t count = count_outside(extended, at, size), value = 0;

    memcpy(&value, extended->bytes + at, size);
    if (count != 0 &&
        device->ops->read(device->context, VFIO_REGION_CONFIG, at, &value, count) != 0) {
        value = UINT32_MAX;
    }
    return value;
}

int vfio_extended_write(const struct vfio_extended *extended, const struct vfio_device *device,
                        uint32_t at, uint32_t size, uint32_t value)
{
    uint32_t count = count_outside(extended, at, size);

    return count == 0 ? 0
                      : device->ops->write(device->context, VFIO_REGION_CONFIG, at, &value, count);
}
