/* A table of what a device saves: for modules that want one, beside the contract (qvm/vdev.h).
 *
 * A row says where a member of the device's own structure is, its tag, and the largest value that
 * makes sense. The same rows save and restore:
 *
 *   static const struct vdev_field fields[] = {
 *       VDEV_NUMBER(1, struct clock, index, 127),
 *       VDEV_TIME(2, struct clock, deadline_ns),
 *       VDEV_BYTES(3, struct clock, cells),
 *       {0},
 *   };
 *
 * What is behind another pointer, or there several times, has a table of its own and is saved with
 * another `first`, which is added to its tags. */
#ifndef QVM_VDEV_FIELDS_H
#define QVM_VDEV_FIELDS_H

#include <errno.h>
#include <qvm/vdev.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdev_field {
    uint32_t tag; /* 0 ends the table; VDEV_FIELD_NEEDED may be in it */
    enum vdev_field_kind kind;
    size_t offset, size; /* of the member */
    uint64_t max;        /* of a number; 0: whatever the member holds */
};

#define VDEV_FIELD_(tag_, kind_, type_, member_, max_)                                             \
    {                                                                                              \
        (tag_), (kind_), offsetof(type_, member_), sizeof(((type_ *)NULL)->member_), (max_)        \
    }

/* An unsigned integer; a bool (max 1) or an enum (max its last one), too. */
#define VDEV_NUMBER(tag_, type_, member_, max_)                                                    \
    VDEV_FIELD_(tag_, VDEV_FIELD_NUMBER, type_, member_, max_)
#define VDEV_TIME(tag_, type_, member_)  VDEV_FIELD_(tag_, VDEV_FIELD_TIME, type_, member_, 0)
#define VDEV_BYTES(tag_, type_, member_) VDEV_FIELD_(tag_, VDEV_FIELD_BYTES, type_, member_, 0)

/* Put all rows of `from`. 0 or what put said. */
static inline int vdev_put_fields(const struct vdev_services *host, struct vdev_slot *slot,
                                  const struct vdev_field *fields, uint32_t first, const void *from)
{
    for (; fields->tag != 0; fields++) {
        int r = host->put(slot, fields->tag + first, fields->kind,
                          (const uint8_t *)from + fields->offset, fields->size);

        if (r != 0) {
            return r;
        }
    }
    return 0;
}

/* Get all rows that there are into `to`; others stay as they are. 0 or what get said. */
static inline int vdev_get_fields(const struct vdev_services *host, struct vdev_slot *slot,
                                  const struct vdev_field *fields, uint32_t first, void *to)
{
    for (; fields->tag != 0; fields++) {
        int r = host->get(slot, (fields->tag + first) & ~VDEV_FIELD_NEEDED, fields->kind,
                          (uint8_t *)to + fields->offset, fields->size, fields->max);

        if (r != 0 && r != -ENOENT) {
            return r;
        }
    }
    return 0;
}

#ifdef __cplusplus
}
#endif

#endif
