/* `dryrun`: whether the files of a plan could be loaded as its guest wants them. */
#ifndef QVM_WORKER_DRYRUN_IMAGES_H
#define QVM_WORKER_DRYRUN_IMAGES_H

struct err;
struct memory;
struct plan;

/* Open what the plan loads, as the caller, and judge it as a start would: is it there, is it a
 * bootimage, does it fit into RAM, is an ACPI table one. Heads are read; what would go to guest
 * memory is not. -errno with FILE:LINE: SENTENCE. */
int dryrun_images(const struct plan *plan, const struct memory *memory, struct err *err);

#endif
