/* What guests and programs of the host that share regions have of each other: for shmem.c and
 * program.c alone. */
#ifndef QVM_DAEMON_GUEST_PROGRAM_H
#define QVM_DAEMON_GUEST_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct guests;
struct shmem;

/* ---- shmem.c ---- */

/* The regions; NULL: out of memory. */
struct shmem *guests_shared(struct guests *guests);

/* Whether guests of an earlier qvmd may still have something to say of what they share: those of
 * that owner, or (NULL) of anybody. */
bool guests_shmem_is_awaited(const struct guests *guests, const uid_t *owner);

/* ---- program.c ---- */

/* Answer those who wait, if they need not wait any more. */
void guests_programs_go_on(struct guests *guests);

/* A region of program number `id` has changed: it is told, a moment later. */
void guests_program_changed(struct guests *guests, int64_t id);

/* Its process; 0: unknown. */
pid_t guests_program_pid(const struct guests *guests, int64_t id);

#endif
