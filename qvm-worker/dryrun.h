/* `dryrun`: put together what can be without KVM and without rights, say what it is, end. */
#ifndef QVM_WORKER_DRYRUN_H
#define QVM_WORKER_DRYRUN_H

#include <stdio.h>

struct err;
struct plan;
struct uv_loop_s;
struct vdev_host;

/* Lays out memory, looks at the files, makes the vdevs (with nothing at the host's end) on a bus.
 * What fails would fail a real start; then nothing is said but that. */
int dryrun(const struct plan *plan, struct vdev_host *vdevs, struct uv_loop_s *loop, FILE *out,
           struct err *err);

#endif
