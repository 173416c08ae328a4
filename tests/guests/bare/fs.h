/* A folder of the host: virtio 1.2, 5.11, and the few requests of FUSE that files take. */
#ifndef QVM_TESTS_GUESTS_BARE_FS_H
#define QVM_TESTS_GUESTS_BARE_FS_H

void fs_command(const char *arguments);

#endif
