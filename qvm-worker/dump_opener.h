/* Who opens the files of dumps for a qvm alone, behind whose door nobody opens anything: a child,
 * made before the door closes, that knows the `dump` of the configuration and takes no other words.
 *
 * Control thread. The child ends with its socket, that is with the qvm. */
#ifndef QVM_WORKER_DUMP_OPENER_H
#define QVM_WORKER_DUMP_OPENER_H

#include <stddef.h>

struct dump_opener;
struct err;
struct plan_dump;

#define DUMP_OPENER_MAX 64 /* dumps of one qvm: a guest may ask for them without end */

/* -ENOTDIR ...: the directory is none, or nobody may write there; with its FILE:LINE. */
int dump_opener_create(const struct plan_dump *dump, const char *guest, struct dump_opener **opener,
                       struct err *err);
void dump_opener_destroy(struct dump_opener *opener);

/* Open the next one: a new file NAME-YYYYMMDD-hhmmss.gcore of the directory, or a pipe to the
 * command. `name` is where it goes, for people. */
int dump_opener_open(struct dump_opener *opener, int *fd, char *name, size_t size, struct err *err);

#endif
