/* What this machine has, followed. */
#include "daemon/host/inventory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "daemon/host/uevent.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define SETTLES_NS UINT64_C(2000000000) /* a new function gets attributes for so long */
#define TURN_MOST  64                   /* messages read at once: others want a turn, too */
#define ASKS_NS    UINT64_C(1000000000) /* who did not answer is not asked again before, at first */

struct inventory {
    struct inventory_env env;
    struct pci_table pci;
    struct topology topology;
    bool is_pci_stale;      /* attributes may have changed */
    bool is_topology_stale; /* a CPU came or went */
    uint64_t stale_until;   /* uv_hrtime() */
    uint64_t asks_again;    /* uv_hrtime(), of who did not answer */
    uint64_t asks_ns;       /* so long after: twice as long with each that hung */
    char looked_at[INVENTORY_LOOK_MAX][PCI_BDF_SIZE];
    size_t look_count; /* 0: nobody looks */
    int fd;            /* -1: deaf */
    struct err deaf;
    uv_poll_t poll;
};

static void tell(const struct inventory *inventory, const struct pci_function *function,
                 bool is_there)
{
    if (inventory->env.on_change != NULL) {
        inventory->env.on_change(inventory->env.context, function, is_there);
    }
}

/* ---- the table of functions ---- */

static bool is_same(const struct pci_function *a, const struct pci_function *b)
{
    return a->vendor == b->vendor && a->device == b->device && a->class == b->class;
}

/* What a function's configuration space told once holds as long as it is the same one. `before`:
 * what it was; NULL: it was not there. */
static void keep_config(const struct pci_function *before, struct pci_function *now)
{
    if (before != NULL && is_same(before, now)) {
        now->config = before->config;
        now->was_asked = before->was_asked;
    }
}

/* Reading configuration space waits for resets, and so somebody else does it, for some at a time.
 * `is_question`: somebody wants to know, so who did not answer is asked again in its time. */
static void look(struct inventory *inventory, bool is_question)
{
    bool asks_again = is_question && uv_hrtime() >= inventory->asks_again;
    size_t count = 0;

    if (inventory->env.look == NULL || inventory->look_count > 0) {
        return;
    }
    for (size_t i = 0; i < inventory->pci.count && count < INVENTORY_LOOK_MAX; i++) {
        struct pci_function *function = &inventory->pci.list[i];

        if (!function->config.is_known && (!function->was_asked || asks_again)) {
            function->was_asked = true;
            memcpy(inventory->looked_at[count++], function->bdf, sizeof(function->bdf));
        }
    }
    if (count > 0) {
        inventory->asks_again = uv_hrtime() + inventory->asks_ns;
        if (inventory->env.look(inventory->env.context, inventory->looked_at, count) == 0) {
            inventory->look_count = count;
        } /* else they are asked again as if they had not answered */
    }
}

static struct pci_function *find(struct inventory *inventory, const char *bdf)
{
    const struct pci_function *found = pci_find(&inventory->pci, bdf);

    return found != NULL ? &inventory->pci.list[found - inventory->pci.list] : NULL;
}

void inventory_looked(struct inventory *inventory, const struct pci_config *configs, size_t count)
{
    if (count < inventory->look_count) { /* and maybe its hand hangs for ever */
        inventory->asks_ns *= 2;
        inventory->asks_again = uv_hrtime() + inventory->asks_ns;
    }
    for (size_t i = 0; i < inventory->look_count; i++) {
        struct pci_function *function = find(inventory, inventory->looked_at[i]);

        if (function != NULL && function->was_asked && i < count) {
            function->config = configs[i];
        } else if (function != NULL && i > count) {
            function->was_asked = false;
        }
    }
    inventory->look_count = 0;
    look(inventory, false);
}

/* All of it anew; what differs is told. */
static int read_again(struct inventory *inventory)
{
    struct pci_table fresh = {0}, old;

    if (pci_read(inventory->env.root, &fresh, NULL) < 0) {
        return -ENOMEM;
    }
    old = inventory->pci;
    for (size_t i = 0; i < fresh.count; i++) {
        keep_config(pci_find(&old, fresh.list[i].bdf), &fresh.list[i]);
    }
    inventory->pci = fresh;
    for (size_t i = 0; i < old.count; i++) {
        const struct pci_function *now = pci_find(&fresh, old.list[i].bdf);

        if (now == NULL || !is_same(now, &old.list[i])) {
            tell(inventory, &old.list[i], false);
        }
    }
    for (size_t i = 0; i < fresh.count; i++) {
        const struct pci_function *before = pci_find(&old, fresh.list[i].bdf);

        if (before == NULL || !is_same(before, &fresh.list[i])) {
            tell(inventory, &fresh.list[i], true);
        }
    }
    pci_fini(&old);
    return 0;
}

/* The attributes of those that are there; who comes and goes is told by messages alone, since
 * sysfs may show a function for a moment after it was said to be gone. */
static void refresh(struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->pci.count; i++) {
        struct pci_function *function = &inventory->pci.list[i];
        struct pci_function now;

        if (pci_read_function(inventory->env.root, function->bdf, &now, NULL) == 0) {
            keep_config(function, &now);
            *function = now;
        } /* else it stays as it was */
    }
}

static void forget(struct inventory *inventory, const char *bdf)
{
    struct pci_table *table = &inventory->pci;
    const struct pci_function *found = pci_find(table, bdf);
    struct pci_function gone;
    size_t place;

    if (found != NULL) {
        gone = *found;
        place = (size_t)(found - table->list);
        memmove(&table->list[place], &table->list[place + 1],
                (table->count - place - 1) * sizeof(*table->list));
        table->count--;
        tell(inventory, &gone, false);
    }
}

/* One more, in its place; what cannot be read has gone again. */
static void learn(struct inventory *inventory, const char *bdf)
{
    struct pci_function function;

    forget(inventory, bdf); /* its end was not heard */
    if (pci_read_function(inventory->env.root, bdf, &function, NULL) == 0) {
        if (pci_insert(&inventory->pci, &function) == 0) {
            tell(inventory, &function, true);
            look(inventory, false);
        }
    }
}

/* ---- messages ---- */

void inventory_hear(struct inventory *inventory, char *text, size_t size)
{
    struct uevent event;

    if (!uevent_parse(text, size, &event)) {
        return;
    }
    if (strcmp(event.subsystem, "cpu") == 0) {
        inventory->is_topology_stale = true;
    }
    if (strcmp(event.subsystem, "pci") != 0) {
        return;
    }
    if (strcmp(event.action, "remove") == 0) {
        forget(inventory, event.slot);
    } else if (strcmp(event.action, "add") == 0) {
        learn(inventory, event.slot);
    }
    inventory->is_pci_stale = true;
    inventory->stale_until = uv_hrtime() + SETTLES_NS;
}

static void go_deaf(struct inventory *inventory, int code)
{
    (void)err_sys(&inventory->deaf, code, "the kernel's messages about devices cannot be heard");
    (void)uv_poll_stop(&inventory->poll); /* cannot fail */
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct inventory *inventory = poll->data;
    char text[UEVENT_SIZE + 1];
    int n = 1;

    (void)events;     /* there is one */
    if (status < 0) { /* libuv stops at an error of the socket, which may be that it was full */
        int r = uv_poll_start(&inventory->poll, UV_READABLE, on_readable);

        if (r < 0) {
            go_deaf(inventory, r);
            return;
        }
    }
    for (int i = 0; i < TURN_MOST && n > 0; i++) {
        n = uevent_next(inventory->fd, text);
        if (n > 0) {
            inventory_hear(inventory, text, (size_t)n);
        }
    }
    if (n == -ENOBUFS) {
        inventory->is_topology_stale = true;
        (void)read_again(inventory); /* without memory for it the next message is another chance */
    } else if (n < 0) {
        go_deaf(inventory, n);
    }
}

/* ---- its life ---- */

static void release(struct inventory *inventory)
{
    cleanup_close(&inventory->fd);
    pci_fini(&inventory->pci);
    topology_fini(&inventory->topology);
    free(inventory);
}

static void on_closed(uv_handle_t *handle)
{
    release(handle->data);
}

/* To be deaf is no failure. */
static int follow(struct inventory *inventory, struct err *err)
{
    if (inventory->env.is_told) {
        return 0;
    }
    if (inventory->env.root[0] != '\0') {
        (void)err_set(&inventory->deaf, -EOPNOTSUPP,
                      "'%s' is no machine whose kernel could be heard of its devices",
                      inventory->env.root);
        return 0;
    }
    if (uevent_open(&inventory->fd, &inventory->deaf) < 0) {
        inventory->fd = -1;
        return 0;
    }
    if (uv_poll_init(inventory->env.loop, &inventory->poll, inventory->fd) != 0) {
        return err_set(err, -ENOMEM, "cannot watch the kernel's messages about devices");
    }
    inventory->poll.data = inventory;
    return uv_poll_start(&inventory->poll, UV_READABLE, on_readable) == 0
               ? 0
               : err_set(err, -EIO, "cannot watch the kernel's messages about devices");
}

int inventory_create(const struct inventory_env *env, struct inventory **result, struct err *err)
{
    struct inventory *inventory = calloc(1, sizeof(*inventory));
    int r;

    if (inventory == NULL) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    inventory->env = *env;
    inventory->fd = -1;
    inventory->asks_ns = ASKS_NS;
    r = follow(inventory, err); /* first: nothing falls between hearing and reading */
    r = r == 0 ? pci_read(env->root, &inventory->pci, err) : r;
    r = r == 0 ? topology_read(env->root, &inventory->topology, err) : r;
    if (r < 0) {
        inventory_destroy(inventory);
        return r;
    }
    *result = inventory;
    look(inventory, false);
    return 0;
}

void inventory_destroy(struct inventory *inventory)
{
    if (inventory == NULL) {
        return;
    }
    inventory->env.on_change = NULL;
    if (inventory->poll.data != NULL) {
        uv_close((uv_handle_t *)&inventory->poll, on_closed);
        return;
    }
    release(inventory);
}

/* ---- questions ---- */

static int read_pci(struct inventory *inventory)
{
    if (inventory_deaf(inventory) != NULL) {
        int r = read_again(inventory);

        look(inventory, true);
        return r;
    }
    if (inventory->is_pci_stale) {
        refresh(inventory);
        inventory->is_pci_stale = uv_hrtime() < inventory->stale_until;
    }
    look(inventory, true);
    return pci_read_use(inventory->env.root, &inventory->pci);
}

const struct pci_table *inventory_pci(struct inventory *inventory)
{
    if (read_pci(inventory) != 0) {
        return NULL;
    }
    pci_read_addresses(inventory->env.root, &inventory->pci);
    return &inventory->pci;
}

const struct topology *inventory_topology(struct inventory *inventory)
{
    struct topology *fresh;

    if (inventory_deaf(inventory) == NULL && !inventory->is_topology_stale) {
        return &inventory->topology;
    }
    fresh = calloc(1, sizeof(*fresh));
    if (fresh == NULL || topology_read(inventory->env.root, fresh, NULL) < 0) {
        free(fresh);
        return NULL;
    }
    topology_fini(&inventory->topology);
    inventory->topology = *fresh;
    inventory->is_topology_stale = false;
    free(fresh);
    return &inventory->topology;
}

const char *inventory_root(const struct inventory *inventory)
{
    return inventory->env.root;
}

const char *inventory_deaf(const struct inventory *inventory)
{
    return inventory->deaf.code != 0 ? inventory->deaf.msg : NULL;
}
