/* What a device reads of the configuration, for <qvm/vdev.h>: the rows of its option table, and
 * what was given for them. Same rules of the contract: kinds are added at the end, rows never grow.
 */
#ifndef QVM_VDEV_OPTION_H
#define QVM_VDEV_OPTION_H

#include <stdbool.h>
#include <stdint.h>

#define VDEV_PORTS_MAX 30u /* streams of one device beside that of HOSTDEV */

enum vdev_option_kind {
    VDEV_OPTION_TEXT,     /* one argument */
    VDEV_OPTION_BOOL,     /* on off yes no true false 1 0 */
    VDEV_OPTION_NUMBER,   /* decimal by default; 0x, 0d, K M G; min..max inclusive */
    VDEV_OPTION_PAIR,     /* HEX,HEX as in `reg 0x10,0x20`; each at most `max` */
    VDEV_OPTION_HOSTDEV,  /* [<|>]PATH, `-` (the console), or [<|>]"|COMMAND": becomes the stream */
    VDEV_OPTION_IMAGE,    /* [<]PATH, with < read-only: becomes the image */
    VDEV_OPTION_FLAG,     /* no argument: that it is there is all */
    VDEV_OPTION_SHMEM,    /* what memory it may share with other guests, by the name of its row:
                           * `create` NAME,SIZE; `allow` and `deny` PATTERN; `window` SIZE, how much
                           * of it may be there at once: number[0], min..max inclusive */
    VDEV_OPTION_TAP,      /* NAME[,BRIDGE]: the network is a tap of the host's */
    VDEV_OPTION_PEER,     /* GUEST/VDEV: the network is a cable to another guest's vdev */
    VDEV_OPTION_BACKEND,  /* PATH of a socket, where a back end for virtio's queues listens */
    VDEV_OPTION_ON_ERROR, /* `report`, `full` or `pause`: what becomes of transfers with the image
                           * that fail. Those that are not reported (of `full`, for which the host
                           * has no room) are kept: the VM is paused, and they are begun again when
                           * it goes on */
    VDEV_OPTION_FORMAT,   /* `raw`, `vhd` (fixed), `vhd-dynamic`, `vhdx` or `qcow2`: what the image
                           * is. Left out: fixed VHD if its name ends in .vhd, else raw */
    VDEV_OPTION_NETWORK_QUEUES, /* NUMBER: how many queues the network has, min..max up to
                                 * VDEV_NETWORK_QUEUES_MAX; more than one beside TAP alone */
    VDEV_OPTION_LISTEN,         /* PATH of a Unix socket that is made for the VM, while it is there:
                                 * programs of the host connect to the device */
    VDEV_OPTION_FOLDER,         /* [<]PATH, with < read-only: a folder of the host that a helper
                                 * serves as a file system; it is the back end */
    VDEV_OPTION_USER,           /* no argument: the network is what a user's programs have of the
                                 * host's, by a helper */
    VDEV_OPTION_PORT,  /* NAME[,[<|>]PATH]: one more stream. Its value is NAME, and number[0]
                        * which one it is: 1 for the first of the device, whatever the row */
    VDEV_OPTION_VHOST, /* `on`, `off` or `auto` (where it can): whether the host's kernel works the
                        * queues of TAP off; `on` beside TAP alone. Beside CID: `on` or `off` */
    VDEV_OPTION_CID,   /* NUMBER: the guest's address in a vsock; with VHOST `on` no other guest of
                        * the host has it */
};

#define VDEV_CID_HOST 2u /* the addresses up to this one, and UINT32_MAX, are no guest's */

/* One row of a module's option table; the last row has no name. `loc`, `intr`, `name` and `log`
 * are common to all vdevs and read by the qvm. A module has at most one HOSTDEV, one IMAGE, one
 * TAP, one PEER, one USER, one NETWORK_QUEUES, one VHOST, one CID, one BACKEND or FOLDER and one
 * LISTEN option; TAP, PEER and USER exclude each other. There are VDEV_PORTS_MAX of PORT in one
 * context at most. */
struct vdev_option {
    const char *name;
    enum vdev_option_kind kind;
    bool may_repeat;      /* otherwise the last one in a context wins */
    uint64_t min, max;    /* NUMBER and PAIR */
    const char *fallback; /* as it would stand in the configuration; NULL: not set */
    const char *doc;      /* one line */
};

/* One option as the configuration gave it (or its fallback). */
struct vdev_value {
    uint32_t option;    /* row of the option table */
    bool boolean;       /* BOOL; FLAG: true */
    uint64_t number[2]; /* NUMBER, PORT: [0]; PAIR: both */
    const char *text;   /* TEXT, HOSTDEV, IMAGE, PORT: valid until create returns */
    const char *where;  /* "FILE:LINE" of the argument, "default" for a fallback */
};

#endif
