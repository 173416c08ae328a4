/* Lists of CPUs as people and the kernel write them: "0-3,8". Any thread. */
#ifndef QVM_PROTO_BASE_CPU_LIST_H
#define QVM_PROTO_BASE_CPU_LIST_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

#define CPU_LIST_MAX       1024u /* CPU numbers are below */
#define CPU_LIST_TEXT_SIZE 256u  /* of a list that is shown */

/* -EINVAL: not such a list, or one that names a CPU twice. A newline may end it; it may go up and
 * down; empty is none. `set` is written on success alone. */
int cpu_list_parse(const char *text, cpu_set_t *set);

/* The shortest form; one that does not fit ends in "..". Returns `text`. */
const char *cpu_list_print(const cpu_set_t *set, char *text, size_t size);

/* Whether all of `part` is in `whole`; the first CPU that both have, or -1; `set` without `part`.
 */
bool cpu_list_has_all(const cpu_set_t *whole, const cpu_set_t *part);
int cpu_list_common(const cpu_set_t *one, const cpu_set_t *other);
void cpu_list_remove(cpu_set_t *set, const cpu_set_t *part);

#endif
