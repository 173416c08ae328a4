/* qvmd.conf is read again: what may change while qvmd runs, and what may not. */
#include <stdio.h>
#include <string.h>

#include "daemon/config_inside.h"
#include "proto/base/cleanup.h"

enum fixed_kind { FIXED_TEXT, FIXED_NUMBER, FIXED_FLAG };

#define FIXED_T(name, member)                                                                      \
    {                                                                                              \
        (name), FIXED_TEXT, CONF_MEMBER(struct config, member, const char *)                       \
    }
#define FIXED_N(name, member)                                                                      \
    {                                                                                              \
        (name), FIXED_NUMBER, CONF_MEMBER(struct config, member, uint64_t)                         \
    }
#define FIXED_F(name, member)                                                                      \
    {                                                                                              \
        (name), FIXED_FLAG, CONF_MEMBER(struct config, member, bool)                               \
    }

/* Those are opened, counted, or asked for once. */
static const struct {
    const char *name;
    enum fixed_kind kind;
    size_t offset;
} fixed[] = {
    FIXED_T("state-dir", state_dir),
    FIXED_T("run-dir", run_dir),
    FIXED_T("log-dir", log_dir),
    FIXED_T("vdev-dir", vdev_dir),
    FIXED_T("qvm", qvm_path),
    FIXED_T("cgroup", cgroup),
    FIXED_T("viewer-group", viewer_group),
    FIXED_T("operator-group", operator_group),
    FIXED_T("admin-group", admin_group),
    FIXED_T("metrics", metrics_path),
    FIXED_N("uid-first", uid_first),
    FIXED_N("uid-count", uid_count),
    FIXED_N("connections", connections),
    FIXED_N("user-connections", user_connections),
    FIXED_N("hands", hands),
    FIXED_N("spares", spares),
    FIXED_N("core-size", core_size),
    FIXED_F("real-time", real_time),
};

/* Keep the member of `now` in `fresh`; whether they differ. */
static bool keep(size_t row, const struct config *now, struct config *fresh)
{
    const void *from = (const char *)now + fixed[row].offset;
    void *to = (char *)fresh + fixed[row].offset;
    bool differs;

    if (fixed[row].kind == FIXED_TEXT) {
        const char *old_text, *new_text;

        memcpy(&old_text, from, sizeof(old_text));
        memcpy(&new_text, to, sizeof(new_text));
        differs = strcmp(old_text, new_text) != 0;
        memcpy(to, from, sizeof(old_text));
    } else {
        const size_t size = fixed[row].kind == FIXED_FLAG ? sizeof(bool) : sizeof(uint64_t);

        differs = memcmp(from, to, size) != 0;
        memcpy(to, from, size);
    }
    return differs;
}

void config_take(struct config *config, struct config *fresh, char *note, size_t size)
{
    size_t used = 0;

    note[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (keep(i, config, fresh) && used < size) {
            used += (size_t)snprintf(note + used, size - used, "%s%s",
                                     used == 0 ? "these want a restart of qvmd: " : ", ",
                                     fixed[i].name);
        }
    }
    fresh->partitions.binds_threads |= config->partitions.binds_threads;
    if (config->first == NULL) {
        fresh->first = config->texts; /* what never changes points into them */
    } else {
        fresh->first = config->first;
        config_texts_free(config->texts);
    }
    *config = *fresh;
    memset(fresh, 0, sizeof(*fresh));
}
