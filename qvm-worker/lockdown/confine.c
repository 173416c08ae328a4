/* Giving up the host. */
#include "qvm-worker/lockdown/confine.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define LANDLOCK_VERSION_FLAG 1u /* of landlock_create_ruleset */

/* The kernel's structure as its newest version has it; older ones take the beginning of it. */
struct ruleset {
    uint64_t files;  /* accesses that need a rule, and there will be none */
    uint64_t net;    /* version 4 */
    uint64_t scoped; /* version 6 */
};

/* How many kinds of access to files each version knows. */
static const unsigned file_accesses[] = {[1] = 13, [2] = 14, [3] = 15, [4] = 15, [5] = 16};

#define ALL_NET    3u /* bind and connect of TCP */
#define ALL_SCOPED 3u /* abstract sockets, signals */

int confine_landlock_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_FLAG);

    return version > 0 ? (int)version : 0;
}

static size_t fill(struct ruleset *ruleset, int version)
{
    int last = (int)ARRAY_LEN(file_accesses) - 1;

    ruleset->files = (UINT64_C(1) << file_accesses[version < last ? version : last]) - 1;
    ruleset->net = ALL_NET;
    ruleset->scoped = ALL_SCOPED;
    if (version >= 6) {
        return sizeof(*ruleset);
    }
    return version >= 4 ? offsetof(struct ruleset, scoped) : offsetof(struct ruleset, net);
}

int confine_from_host(struct err *err)
{
    struct ruleset ruleset;
    auto_close int fd = -1;
    int version = confine_landlock_version();

#ifdef QVM_NO_LANDLOCK /* sanitizers open files at their end, tests try what is left without it */
    version = 0;
#endif
    if (version == 0) {
        return 0;
    }
    fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, fill(&ruleset, version), 0);
    if (fd < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_landlock_restrict_self, fd, 0) != 0) {
        return err_sys(err, -errno, "this kernel cannot take files away (landlock)");
    }
    return 0;
}
