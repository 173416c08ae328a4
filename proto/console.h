/* The console ring: what a guest said last, in memory that its qvm writes and others map to read.
 *
 * One writer (callers serialise), any number of readers, no locks between them. Readers go by
 * offset: byte N of the console since the instance began. Reading takes nothing away; bytes that
 * were overwritten before they were read are counted as lost.
 *
 * A reader takes the writer for a stranger: nothing in the shared page bounds a copy. The worst
 * that a hostile writer can do is to make up what its own guest said.
 *
 * The memory is a memfd of CONSOLE_RING_SIZE bytes with CONSOLE_RING_SEALS, so that it can neither
 * shrink under a reader (SIGBUS) nor be mapped for writing a second time. */
#ifndef QVM_PROTO_CONSOLE_H
#define QVM_PROTO_CONSOLE_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct console_ring; /* the shared memory: a page of header, then the data */

#define CONSOLE_RING_CAPACITY (256u * 1024u)                  /* bytes kept; a power of two */
#define CONSOLE_RING_SIZE     (4096u + CONSOLE_RING_CAPACITY) /* bytes of the memfd */
#define CONSOLE_RING_SEALS    (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

/* Make a ring of `memory`: CONSOLE_RING_SIZE bytes of zeroes, page-aligned, which the caller owns
 * and which must outlive the ring. */
struct console_ring *console_ring_init(void *memory);

/* Append. More than the capacity at once: the last bytes stay, all are counted. */
void console_ring_write(struct console_ring *ring, const void *data, size_t size);

/* A new sealed memfd with a ring, mapped for writing. The caller owns *fd (to send to readers) and
 * *ring (console_ring_unmap). */
int console_ring_create(int *fd, struct console_ring **ring, struct err *err);

/* Map a descriptor that came from elsewhere, to read only. The descriptor stays the caller's and
 * may be closed afterwards. -EPROTO: it is no sealed memory of the right size, or holds no ring;
 * `err` says which. */
int console_ring_map(int fd, const struct console_ring **ring, struct err *err);
void console_ring_unmap(const struct console_ring *ring); /* NULL is fine */

/* Nobody will read for a while: what was looked at no longer counts as the reader's memory. */
void console_ring_rest(const struct console_ring *ring);

/* Whether `memory` (`size` bytes) holds a ring that this code can read; -EPROTO with a sentence
 * otherwise. console_ring_map has done this. */
int console_ring_check(const void *memory, size_t size, struct err *err);

/* Offset behind the last byte, and of the oldest byte that is still there. */
uint64_t console_ring_end(const struct console_ring *ring);
uint64_t console_ring_oldest(const struct console_ring *ring);

/* Copy up to `size` bytes from *offset on; returns how many, 0 when there is nothing new. *offset
 * goes forward behind the last byte copied. Bytes between the old *offset and the first byte
 * copied were overwritten: they are added to *lost (not reset here). An *offset behind the end (of
 * another instance, or the writer lies) is set to the end. */
size_t console_ring_read(const struct console_ring *ring, uint64_t *offset, void *buffer,
                         size_t size, uint64_t *lost);

#endif
