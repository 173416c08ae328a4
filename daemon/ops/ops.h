/* What each method of the API does. One function a method; the list is proto/messages.def.
 *
 * Operators act on guests of their own, admins on all. Each change and each refusal is a line in
 * the audit log. Loop thread. */
#ifndef QVM_DAEMON_OPS_H
#define QVM_DAEMON_OPS_H

#include <stdbool.h>

#include "daemon/server/server.h"

struct audit;
struct cgroups;
struct device_pool;
struct err;
struct guests;
struct hands;
struct inventory;
struct msg_event;
struct ops;
struct partitions;
struct quotas;
struct reserve_limits;
struct scraper;
struct store;
struct uv_loop_s;

#define OPS_NOTE_SIZE 1024 /* of what a reload has to say */

/* All borrowed. */
struct ops_env {
    struct uv_loop_s *loop;
    struct store *store;
    struct guests *guests;
    const struct hands *hands;
    struct inventory *inventory;
    const struct audit *audit;
    const struct reserve_limits *limits;
    const struct partitions *partitions;
    const struct device_pool *devices;
    const struct quotas *quotas;
    int (*reload)(void *context, char note[OPS_NOTE_SIZE], struct err *err); /* qvmd.conf */
    void *reload_context;
    struct cgroups *cgroups;
    const char *socket_path, *store_path;
    const char *qvm_path, *vdev_dir;
    const char *started; /* RFC 3339 */
};

int ops_create(const struct ops_env *env, struct ops **ops, struct err *err);
void ops_destroy(struct ops *ops);

/* Answer those who still wait, before the guests and the server go. NULL is fine. */
void ops_end(struct ops *ops);

/* To be given to server_create() with the ops as context. */
extern const struct server_hooks ops_server_hooks;

/* To be given to guests_create(): `data` is that of a call, which is a reply. */
bool ops_is_wanted(const void *data);

/* To be given to scrape_create() with the ops as context. */
void ops_on_scrape(void *context, struct scraper *scraper);

/* To be given to events_create(): tells subscribers. */
void ops_on_event(void *context, const struct msg_event *event);

#endif
