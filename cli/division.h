/* How the host is divided: what `partition`, `cpus` and `memory` show. */
#ifndef QVM_CLI_DIVISION_H
#define QVM_CLI_DIVISION_H

#include "cli/cli.h"
#include "proto/msg.h"

/* Ask, and print the answer as it came, or by `print`, which may fail for want of memory. Returns
 * the status. */
int division_show(const struct cli *cli,
                  int (*print)(const struct cli *cli, const struct msg_partitions *division));

struct table;

/* Two cells: the memory node that its RAM comes from, and the size of huge pages. NULL: neither. */
void division_add_memory(struct table *table, const struct msg_partition *partition);

#endif
