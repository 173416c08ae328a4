/* The vdev `shmem` in a fake slot, whose host gives what the test says. */
#ifndef QVM_TESTS_FAKE_VDEV_SHMEM_H
#define QVM_TESTS_FAKE_VDEV_SHMEM_H

#include "tests/fake/vdev_slot.h"

#define FAKE_SHMEM_WINDOW 0x20000u /* bytes */
#define FAKE_SHMEM_START  UINT64_C(0xd1000000)
#define FAKE_SHMEM_LINE   17u

/* What the host answers, and what it was told. */
struct fake_shmem {
    enum vdev_shmem_status status; /* of the next wish; OK: it is given */
    uint64_t there;                /* bytes that the region has already; 0: as many as wished for */
    void (*meanwhile)(void);       /* comes in while the device waits; NULL: nothing */
    bool is_nowhere;               /* the window is not placed */
    int show;                      /* what shmem_show returns */
    uint32_t news;                 /* what shmem_status returns next; then the signals are gone */
    unsigned wish_count, left_count;
    char name[64];
    uint64_t bytes, most; /* of the last wish */
    uint32_t notified;
    struct {
        bool is_there, is_shown;
        uint64_t bytes, offset;
    } regions[VDEV_SHMEM_MAX]; /* by their handles */
};

extern struct fake_shmem fake_shmem;

/* Make it, at addresses or on PCI; fake_shmem is set up anew. */
int fake_shmem_create(struct vdev_slot *slot, bool is_on_pci);

#endif
