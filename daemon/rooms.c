#include "daemon/rooms.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/cgroup/cgroup.h"
#include "daemon/config.h"
#include "daemon/crash_point.h"
#include "daemon/guest/events.h"
#include "daemon/guest/guest.h"
#include "daemon/hand/hand.h"
#include "daemon/host/clock.h"
#include "daemon/host/inventory.h"
#include "daemon/host/text.h"
#include "daemon/host/users.h"
#include "daemon/look.h"
#include "daemon/metrics/scrape.h"
#include "daemon/ops/ops.h"
#include "daemon/server/audit.h"
#include "daemon/server/server.h"
#include "daemon/store/store.h"
#include "daemon/worker/spawn.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/lend.h"
#include "proto/base/log.h"

#define GUESTS_DIR   "guests"
#define CORE_PATTERN "/proc/sys/kernel/core_pattern"

struct rooms {
    struct config *config;
    struct rooms_source source;
    struct reserve_limits limits;
    struct reserve_pool pools[PARTITIONS_MAX];
    char *socket_path, *store_path;
    char started[CLOCK_TEXT_SIZE];
    int run_fd, guests_fd, log_fd;
    struct audit *audit;
    struct store *store;
    struct events *events;
    struct hands *hands;
    struct inventory *inventory;
    struct look look;
    struct cgroups *cgroups;
    struct guests *guests;
    struct ops *ops;
    struct server *server;
    struct scrape *scrape; /* NULL: nobody scrapes */
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
        return err_set(err, r, "cannot make the directory '%s': %s%s", path, strerror(-r),
                       r == -EACCES ? "; run qvmd as root, or an instance of your own with "
                                      "--private DIR"
                                    : "");
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
    int r;

    *gid = PEER_NO_GROUP;
    if (name[0] == '\0') {
        return 0;
    }
    r = users_find_group(name, gid);
    if (r == -ENOENT) {
        return err_set(err, -EINVAL, "there is no group '%s' in /etc/group", name);
    }
    return r < 0 ? err_sys(err, r, "cannot read /etc/group") : 0;
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

/* The first partition is the default one, whose pools have other names. */
static void read_limits(struct rooms *rooms)
{
    const struct partitions *partitions = &rooms->config->partitions;

    rooms->limits = (struct reserve_limits){.memory = partitions->list[0].pool,
                                            .cpus = partitions->list[0].vcpus_most,
                                            .pools = rooms->pools,
                                            .pool_count = partitions->count - 1};
    for (size_t i = 1; i < partitions->count; i++) {
        rooms->pools[i - 1] = (struct reserve_pool){.name = partitions->list[i].name,
                                                    .memory = partitions->list[i].pool,
                                                    .cpus = partitions->list[i].vcpus_most};
    }
}

/* We and all that we make keep off the CPUs of guests; what a guest may use besides is said when it
 * is known. */
static void stand_aside(const struct partitions *partitions)
{
    if (partitions->binds_threads &&
        sched_setaffinity(0, sizeof(partitions->housekeeping), &partitions->housekeeping) < 0) {
        log_warn("qvmd: cannot run on the housekeeping CPUs why=\"%s\"", strerror(errno));
    }
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

static struct guests_env make_guests_env(struct uv_loop_s *loop, const struct rooms *rooms)
{
    const struct config *config = rooms->config;

    return (struct guests_env){
        .loop = loop,
        .store = rooms->store,
        .hands = rooms->hands,
        .events = rooms->events,
        .limits = &rooms->limits,
        .partitions = &config->partitions,
        .devices = &config->devices,
        .taps = &config->taps,
        .quotas = &config->quotas,
        .restarts = config->restarts,
        .stagger_ms = config->stagger_ms,
        .guests_max = config->guests,
        .guest_nice = (int)config->guest_nice,
        .is_urgent = config->real_time,
        .user_network_host = config->user_network_host,
        .uid_first = (uid_t)config->uid_first,
        .uid_count = config->uid_count,
        .run_fd = rooms->guests_fd,
        .log_fd = rooms->log_fd,
        .cgroups = rooms->cgroups,
        .log_bounds = {.size = config->log_size, .older = config->log_count},
        .is_console_kept = config->console_log,
        .qvm_path = config->qvm_path,
        .vdev_dir = config->vdev_dir,
        .spares = (unsigned)config->spares,
        .is_wanted = ops_is_wanted,
    };
}

static int open_guests(struct uv_loop_s *loop, struct rooms *rooms, struct err *err)
{
    const struct guests_env env = make_guests_env(loop, rooms);

    return guests_create(&env, &rooms->guests, err);
}

static void on_event(void *context, const struct msg_event *event)
{
    const struct rooms *rooms = context;

    if (rooms->ops != NULL) {
        ops_on_event(rooms->ops, event);
    }
}

/* A device has come, or gone: maybe from a guest that has it. */
static void on_device(void *context, const struct pci_function *function, bool is_there)
{
    const struct rooms *rooms = context;
    struct reserve_holder holder = {0};
    char message[256];
    struct msg_event event = {.what =
                                  events_what(is_there ? WHAT_device_added : WHAT_device_removed),
                              .message = message};

    (void)snprintf(message, sizeof(message), "PCI function '%s' (%04x:%04x, class %06x) %s",
                   function->bdf, function->vendor, function->device, function->class,
                   is_there ? "has appeared" : "has vanished");
    if (reserve_find(rooms->store, RESOURCE_device, function->bdf, &holder, NULL) == 0) {
        event.guest = holder.guest;
        event.pid = holder.pid;
    }
    events_tell(rooms->events, &event);
    if (!is_there && event.guest != NULL && rooms->guests != NULL) {
        guests_device_vanished(rooms->guests, event.guest, function->bdf);
    }
}

static int on_look(void *context, const char (*bdfs)[PCI_BDF_SIZE], size_t count)
{
    struct rooms *rooms = context;

    return look_at(&rooms->look, bdfs, count);
}

static int open_inventory(struct uv_loop_s *loop, struct rooms *rooms, struct err *err)
{
    const char *root = look_root();
    const struct inventory_env env = {.loop = loop,
                                      .root = root,
                                      .is_told = *root != '\0' && getenv("QVM_HOST_STILL") != NULL,
                                      .on_change = on_device,
                                      .look = on_look,
                                      .context = rooms};
    int r;

    rooms->look = (struct look){.hands = rooms->hands, .root = root};
    r = inventory_create(&env, &rooms->inventory, err);
    rooms->look.inventory = rooms->inventory;
    return r;
}

static int on_reload(void *context, char note[OPS_NOTE_SIZE], struct err *err)
{
    _Static_assert(OPS_NOTE_SIZE == ROOMS_NOTE_SIZE, "one note");
    return rooms_reload(context, note, err);
}

static int open_ops(struct uv_loop_s *loop, struct rooms *rooms, struct err *err)
{
    const struct ops_env env = {
        .loop = loop,
        .store = rooms->store,
        .guests = rooms->guests,
        .hands = rooms->hands,
        .inventory = rooms->inventory,
        .audit = rooms->audit,
        .limits = &rooms->limits,
        .partitions = &rooms->config->partitions,
        .devices = &rooms->config->devices,
        .reload = on_reload,
        .reload_context = rooms,
        .quotas = &rooms->config->quotas,
        .cgroups = rooms->cgroups,
        .socket_path = rooms->socket_path,
        .store_path = rooms->store_path,
        .qvm_path = rooms->config->qvm_path,
        .vdev_dir = rooms->config->vdev_dir,
        .started = rooms->started,
    };

    return ops_create(&env, &rooms->ops, err);
}

static int open_server(struct uv_loop_s *loop, struct rooms *rooms, int listen_fd, struct err *err)
{
    const struct config *config = rooms->config;
    struct server_settings settings = {
        .path = rooms->socket_path,
        .fd = listen_fd,
        .mode = 0600,
        .clients_max = config->connections,
        .user_clients_max = config->user_connections,
        .audit = rooms->audit,
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

static int open_scrape(struct uv_loop_s *loop, struct rooms *rooms, struct err *err)
{
    gid_t gid = PEER_NO_GROUP;
    int r;

    if (rooms->config->metrics_path[0] == '\0') {
        return 0;
    }
    r = find_group(rooms->config->viewer_group, &gid, err);
    if (r == 0) {
        r = scrape_create(loop, rooms->config->metrics_path, gid, ops_on_scrape, rooms->ops,
                          &rooms->scrape, err);
    }
    return r;
}

static void tell(struct rooms *rooms, enum event_what what)
{
    struct msg_event event = {.what = events_what(what), .pid = getpid()};

    events_tell(rooms->events, &event);
}

/* What becomes of a core file, the kernel's setting says; a qvm itself can make no file. */
static void allow_core(const struct config *config)
{
    char pattern[8] = "";

    spawn_allow_core(config->core_size);
    if (config->core_size != 0 &&
        (text_read(CORE_PATTERN, pattern, sizeof(pattern), NULL) < 0 || pattern[0] != '|')) {
        log_warn(
            "qvmd: there will be no core files, though core-size permits them why=\"" CORE_PATTERN
            " names a file, and a qvm can make none; '|PROGRAM' can\"");
    }
}

int rooms_reload(struct rooms *rooms, char *note, struct err *err)
{
    struct config *fresh = calloc(1, sizeof(*fresh));
    int r = fresh != NULL ? rooms->source.read(rooms->source.context, fresh, err)
                          : err_set(err, -ENOMEM, "out of memory");

    if (r == 0) {
        r = guests_check_partitions(rooms->guests, &fresh->partitions, err);
    }
    if (r == 0) {
        r = guests_check_devices(rooms->guests, &fresh->devices, err);
    }
    if (r == 0) {
        struct guests_env env;

        config_take(rooms->config, fresh, note, ROOMS_NOTE_SIZE);
        read_limits(rooms);
        stand_aside(&rooms->config->partitions);
        env = make_guests_env(NULL, rooms);
        guests_configure(rooms->guests, &env);
        log_info("qvmd: read its configuration again note=\"%s\"", note);
        tell(rooms, WHAT_daemon_reload);
    } else {
        log_warn("qvmd: configuration refused why=\"%s\"", err->msg);
    }
    config_fini(fresh);
    free(fresh);
    return r == -ENOENT ? err_set(err, -ENOEXEC, "%s", err->msg) : r;
}

int rooms_open(struct uv_loop_s *loop, struct config *config, int listen_fd,
               const struct rooms_source *source, struct rooms **result, struct err *err)
{
    struct rooms *rooms = calloc(1, sizeof(*rooms));
    int r;

    if (rooms == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    *result = rooms;
    rooms->config = config;
    rooms->source = *source;
    rooms->run_fd = rooms->guests_fd = rooms->log_fd = -1;
    (void)clock_now_text(rooms->started);
    allow_core(config);
    read_limits(rooms);
    stand_aside(&config->partitions);
    r = open_dirs(rooms, err);
    if (r == 0) {
        r = audit_open(rooms->log_fd, &rooms->audit, err);
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
        r = open_inventory(loop, rooms, err);
    }
    if (r == 0) {
        r = cgroups_create(config->cgroup, &rooms->cgroups, err);
    }
    if (r == 0) {
        r = open_guests(loop, rooms, err);
    }
    if (r == 0) {
        r = open_ops(loop, rooms, err);
    }
    if (r == 0) {
        r = open_server(loop, rooms, listen_fd, err);
    }
    if (r == 0) {
        r = open_scrape(loop, rooms, err);
    }
    if (r == 0) {
        log_info("qvmd: listens socket=%s store=%s", rooms->socket_path, rooms->store_path);
        crash_point("socket made");
        tell(rooms, WHAT_daemon_start);
        guests_adopt(rooms->guests);
    }
    return r;
}

void rooms_close(struct rooms *rooms)
{
    if (rooms->server != NULL) {
        tell(rooms, WHAT_daemon_end);
    }
    ops_end(rooms->ops);
    scrape_destroy(take_ptr(rooms->scrape));
    guests_destroy(take_ptr(rooms->guests)); /* answers those who wait, as long as there is a way */
    server_destroy(take_ptr(rooms->server));
    rooms->look.inventory = NULL;
    inventory_destroy(take_ptr(rooms->inventory));
    if (rooms->hands != NULL) {
        hands_destroy(take_ptr(rooms->hands), NULL, NULL);
    }
}

void rooms_free(struct rooms *rooms)
{
    ops_destroy(rooms->ops);
    events_destroy(rooms->events);
    cgroups_destroy(rooms->cgroups);
    if (rooms->store != NULL) {
        store_close(rooms->store);
    }
    audit_close(rooms->audit);
    cleanup_close(&rooms->guests_fd);
    cleanup_close(&rooms->run_fd);
    cleanup_close(&rooms->log_fd);
    free(rooms->socket_path);
    free(rooms->store_path);
    free(rooms);
}
