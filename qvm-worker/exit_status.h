/* Exit statuses of a qvm (qvm(8), EXIT STATUS). */
#ifndef QVM_WORKER_EXIT_STATUS_H
#define QVM_WORKER_EXIT_STATUS_H

enum exit_status {
    EXIT_STATUS_OK = 0,        /* the guest shut down or rebooted */
    EXIT_STATUS_POWER_CUT = 3, /* ended at once, as by pulling the plug */
    EXIT_STATUS_WATCHDOG = 4,
    EXIT_STATUS_UNSUPPORTED = 5, /* KVM cannot go on with what the guest did */
    EXIT_STATUS_VDEV = 6,
    EXIT_STATUS_CRASH = 7,        /* triple fault, and other errors of the guest */
    EXIT_STATUS_OF_VDEV_MIN = 32, /* chosen by a vdev */
    EXIT_STATUS_OF_VDEV_MAX = 63,
    EXIT_STATUS_BEFORE = 64, /* fatal, and no instruction of the guest has run */
    EXIT_STATUS_CONFIG = 65, /* the configuration is wrong, or the command line */
    EXIT_STATUS_AFTER = 96,  /* fatal after the guest ran */
};

#endif
