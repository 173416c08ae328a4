#include "daemon/rooms.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/config.h"
#include "daemon/events.h"
#include "daemon/guest.h"
#include "daemon/hand.h"
#include "daemon/host/clock.h"
#include "daemon/host/cpus.h"
#include "daemon/host/memory.h"
#include "daemon/lend.h"
#include "daemon/ops.h"
#include "daemon/server.h"
#include "daemon/store.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"

#define GUESTS_DIR "guests"

struct rooms {
    const struct config *config;
    struct reserve_limits limits;
    char *socket_path, *store_path;
    char started[CLOCK_TEXT_SIZE];
    int run_fd, guests_fd, log_fd;
    struct store *store;
    struct events *events;
    struct hands *hands;
    struct guests *guests;
    struct ops *ops;
    struct server *server;
};

/* ---- directories ---- */

static int make_with_parents(const char *path, mode_t mode)
{
    auto_free char *copy = strdup(path);

    if (copy == NULL) {
        return -ENOMEM;
    }
    for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST) {
            return -errno;
        }
        *slash = '/';
    }
    return mkdir(copy, mode) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_dir(const char *path, mode_t mode, int *result, struct err *err)
{
    int r = make_with_parents(path, mode);
    int fd;

    if (r < 0) {
        return err_sys(err, r, "cannot make the directory '%s'", path);
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_sys(err, -errno, "cannot open the directory '%s'", path);
    }
    *result = fd;
    return 0;
}

static int open_dirs(struct rooms *rooms, struct err *err)
{
    const struct config *config = rooms->config;
    int state_fd = -1;
    int r = open_dir(config->state_dir, 0700, &state_fd, err);

    cleanup_close(&state_fd); /* it is there: that is all we want */
    if (r == 0) {
        r = open_dir(config->run_dir, 0755, &rooms->run_fd, err);
    }
    if (r == 0) {
        r = open_dir(config->log_dir, 0750, &rooms->log_fd, err);
    }
    if (r == 0 && mkdirat(rooms->run_fd, GUESTS_DIR, 0700) < 0 && errno != EEXIST) {
        r = err_sys(err, -errno, "cannot make the directory '%s/" GUESTS_DIR "'", config->run_dir);
    }
    if (r == 0) {
        rooms->guests_fd =
            openat(rooms->run_fd, GUESTS_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (rooms->guests_fd < 0) {
            r = err_sys(err, -errno, "cannot open the directory '%s/" GUESTS_DIR "'",
                        config->run_dir);
        }
    }
    return r;
}

/* ---- what the host has and who may ask for it ---- */

static int find_group(const char *name, gid_t *gid, struct err *err)
{
    FILE *file;
    const struct group *entry;
    bool is_found = false;

    *gid = PEER_NO_GROUP;
    if (name[0] == '\0') {
        return 0;
    }
    file = fopen("/etc/group", "re");
    if (file == NULL) {
        return err_sys(err, -errno, "cannot read /etc/group");
    }
    while (!is_found && (entry = fgetgrent(file)) != NULL) {
        is_found = strcmp(entry->gr_name, name) == 0;
        *gid = entry->gr_gid;
    }
    (void)fclose(file); /* only read from */
    return is_found ? 0 : err_set(err, -EINVAL, "there is no group '%s' in /etc/group", name);
}

static int read_policy(const struct config *config, struct peer_policy *policy, struct err *err)
{
    int r = find_group(config->viewer_group, &policy->viewer_gid, err);

    policy->daemon_uid = geteuid();
    if (r == 0) {
        r = find_group(config->operator_group, &policy->operator_gid, err);
    }
    if (r == 0) {
        r = find_group(config->admin_group, &policy->admin_gid, err);
    }
    return r;
}

static int read_limits(const struct config *config, struct reserve_limits *limits, struct err *err)
{
    int64_t total = 0;
    int cpus = 0;
    int r = memory_total(&total, err);

    if (r == 0) {
        r = cpus_online(&cpus, err);
    }
    if (r == 0) {
        int64_t kept = (int64_t)config->memory_reserve;

        limits->memory = total > kept ? total - kept : 0;
        limits->cpus =
            config->cpus != 0 ? (int64_t)config->cpus : (int64_t)cpus * CONFIG_CPUS_FACTOR;
    }
    return r;
}

/* ---- the rooms themselves ---- */

static int open_store(struct rooms *rooms, struct err *err)
{
    rooms->socket_path = config_socket_path(rooms->config);
    rooms->store_path = config_store_path(rooms->config);
    if (rooms->socket_path == NULL || rooms->store_path == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    return store_open(rooms->store_path, &rooms->store, err);
}

static int open_guests(struct uv_loop_s *loop, struct rooms *rooms, struct err *err)
{
    const struct config *config = rooms->config;
    const struct guests_env env = {
        .loop = loop,
        .store = rooms->store,
        .hands = rooms->hands,
        .events = rooms->events,
        .limits = rooms->limits,
        .guests_max = config->guests,
        .uid_first = (uid_t)config->uid_first,
        .uid_count = config->uid_count,
        .run_fd = rooms->guests_fd,
        .log_fd = rooms->log_fd,
        .qvm_path = config->qvm_path,
        .vdev_dir = config->vdev_dir,
        .is_wanted = ops_is_wanted,
    };

    return guests_create(&env, &rooms->guests, err);
}

static void on_event(void *context, const struct msg_event *event)
{
    const struct rooms *rooms = context;

    if (rooms->ops != NULL) {
        ops_on_event(rooms->ops, event);
    }
}

static int open_ops(struct rooms *rooms, struct err *err)
{
    const struct ops_env env = {
        .store = rooms->store,
        .guests = rooms->guests,
        .limits = &rooms->limits,
        .socket_path = rooms->socket_path,
        .store_path = rooms->store_path,
        .started = rooms->started,
    };

    return ops_create(&env, &rooms->ops, err);
}

static int open_server(struct uv_loop_s *loop, struct rooms *rooms, struct err *err)
{
    const struct config *config = rooms->config;
    struct server_settings settings = {
        .path = rooms->socket_path,
        .mode = 0600,
        .clients_max = config->connections,
        .user_clients_max = config->user_connections,
    };
    int r = read_policy(config, &settings.policy, err);

    if (r < 0) {
        return r;
    }
    /* Without groups nobody else may do anything, and the kernel can refuse them for us. */
    if (settings.policy.viewer_gid != PEER_NO_GROUP ||
        settings.policy.operator_gid != PEER_NO_GROUP ||
        settings.policy.admin_gid != PEER_NO_GROUP) {
        settings.mode = 0666;
    }
    return server_create(loop, &settings, &ops_server_hooks, rooms->ops, &rooms->server, err);
}

static void tell(struct rooms *rooms, const char *what)
{
    struct msg_event event = {.what = lend(what), .pid = getpid()};

    events_tell(rooms->events, &event);
}

int rooms_open(struct uv_loop_s *loop, const struct config *config, struct rooms **result,
               struct err *err)
{
    struct rooms *rooms = calloc(1, sizeof(*rooms));
    int r;

    if (rooms == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    *result = rooms;
    rooms->config = config;
    rooms->run_fd = rooms->guests_fd = rooms->log_fd = -1;
    (void)clock_now_text(rooms->started);
    r = read_limits(config, &rooms->limits, err);
    if (r == 0) {
        r = open_dirs(rooms, err);
    }
    if (r == 0) {
        r = open_store(rooms, err);
    }
    if (r == 0) {
        r = events_create(rooms->store, on_event, rooms, &rooms->events, err);
    }
    if (r == 0) {
        r = hands_create(loop, config->hands, &rooms->hands, err);
    }
    if (r == 0) {
        r = open_guests(loop, rooms, err);
    }
    if (r == 0) {
        r = open_ops(rooms, err);
    }
    if (r == 0) {
        r = open_server(loop, rooms, err);
    }
    if (r == 0) {
        log_info("qvmd: listens socket=%s store=%s", rooms->socket_path, rooms->store_path);
        tell(rooms, "daemon-start");
        guests_adopt(rooms->guests);
    }
    return r;
}

void rooms_close(struct rooms *rooms)
{
    if (rooms->server != NULL) {
        tell(rooms, "daemon-end");
    }
    guests_destroy(take_ptr(rooms->guests)); /* answers those who wait, as long as there is a way */
    server_destroy(take_ptr(rooms->server));
    if (rooms->hands != NULL) {
        hands_destroy(take_ptr(rooms->hands), NULL, NULL);
    }
}

void rooms_free(struct rooms *rooms)
{
    ops_destroy(rooms->ops);
    events_destroy(rooms->events);
    if (rooms->store != NULL) {
        store_close(rooms->store);
    }
    cleanup_close(&rooms->guests_fd);
    cleanup_close(&rooms->run_fd);
    cleanup_close(&rooms->log_fd);
    free(rooms->socket_path);
    free(rooms->store_path);
    free(rooms);
}
