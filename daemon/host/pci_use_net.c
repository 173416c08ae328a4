/* What the host itself does with its network cards. */
#include <ifaddrs.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/host/pci_use.h"
#include "daemon/host/sysfs.h"
#include "proto/base/cleanup.h"

/* The interface `name` is used like that, and what it stands on with it: bonds and bridges have
 * links lower_NAME. */
static void use_interface(const struct pci_search *search, const char *name,
                          const struct pci_use *use, int depth)
{
    static const char lower[] = "lower_";
    char target[PATH_MAX], path[PATH_MAX], below[PCI_USE_SIZE];
    const struct pci_use next = {.how = below, .cure = use->cure};
    struct pci_function *function;
    const char *entry;

    pci_use_link(search, "/sys/class/net", name, target);
    function = pci_use_function(search, target);
    if (function != NULL) {
        pci_use_set(function, use->cure, "interface '%s' %s", name, use->how);
    }
    if (depth == PCI_USE_DEPTH) {
        return;
    }
    (void)snprintf(path, sizeof(path), "/sys/class/net/%s", name);
    (void)snprintf(below, sizeof(below), "carries '%s', which %s", name, use->how);
    auto_dir DIR *dir = sysfs_list(search->root, path);
    while ((entry = sysfs_next(dir)) != NULL) {
        if (strncmp(entry, lower, strlen(lower)) == 0) {
            use_interface(search, entry + strlen(lower), depth == 0 ? &next : use, depth + 1);
        }
    }
}

static const struct pci_use way = {.how = "has the default route",
                                   .cure = "give the host another one first"};
static const struct pci_use address = {
    .how = "has an address of the host's, or a route",
    .cure = "take them from it first (ip address flush, ip route flush)"};

/* IFACE DESTINATION GATEWAY FLAGS REFCNT USE METRIC MASK ... in hexadecimal. An address brings a
 * route to its network. */
static void use_routes4(const struct pci_search *search, bool is_way)
{
    auto_use_text FILE *text = pci_use_text(search->root, "net/route");
    auto_free char *line = NULL;
    size_t size = 0;

    while (text != NULL && getline(&line, &size, text) > 0) {
        char name[32], destination[16], mask[16];

        if (sscanf(line, "%31s %15s %*s %*s %*s %*s %*s %15s", name, destination, mask) == 3 &&
            (strcmp(destination, "00000000") == 0 && strcmp(mask, "00000000") == 0) == is_way) {
            use_interface(search, name, is_way ? &way : &address, 0);
        }
    }
}

/* DESTINATION PREFIX SOURCE PREFIX GATEWAY METRIC REFCNT USE FLAGS IFACE; each namespace has a
 * route of that kind that refuses (RTF_REJECT). */
static void use_routes6(const struct pci_search *search)
{
    static const unsigned rtf_reject = 0x200;
    auto_use_text FILE *text = pci_use_text(search->root, "net/ipv6_route");
    auto_free char *line = NULL;
    size_t size = 0;

    while (text != NULL && getline(&line, &size, text) > 0) {
        char name[32], destination[40];
        unsigned prefix, flags;

        if (sscanf(line, "%39s %x %*s %*s %*s %*s %*s %*s %x %31s", destination, &prefix, &flags,
                   name) == 4 &&
            prefix == 0 && strspn(destination, "0") == 32 && (flags & rtf_reject) == 0) {
            use_interface(search, name, &way, 0);
        }
    }
}

/* ADDRESS INDEX PREFIX SCOPE FLAGS IFACE. One of the link's own comes by itself with an interface
 * that is switched on. */
static void use_addresses6(const struct pci_search *search)
{
    static const unsigned of_the_link = 0x20;
    auto_use_text FILE *text = pci_use_text(search->root, "net/if_inet6");
    auto_free char *line = NULL;
    size_t size = 0;

    while (text != NULL && getline(&line, &size, text) > 0) {
        char name[32];
        unsigned scope;

        if (sscanf(line, "%*s %*s %*s %x %*s %31s", &scope, name) == 2 && scope != of_the_link) {
            use_interface(search, name, &address, 0);
        }
    }
}

static void use_masters(const struct pci_search *search)
{
    auto_dir DIR *dir = sysfs_list(search->root, "/sys/class/net");
    char path[PATH_MAX], target[PATH_MAX], master[64], how[PCI_USE_SIZE];
    const struct pci_use use = {.how = how, .cure = "take it out of that first"};
    const char *name;

    while ((name = sysfs_next(dir)) != NULL) {
        auto_close int fd = -1;
        const struct pci_function *function;

        pci_use_link(search, "/sys/class/net", name, target);
        function = pci_use_function(search, target);
        if (function != NULL) {
            search->has_interface[function - search->table->list] = true;
        }
        (void)snprintf(path, sizeof(path), "/sys/class/net/%s", name);
        fd = sysfs_open(search->root, path);
        if (fd >= 0 && sysfs_link_base(fd, "master", master, sizeof(master)) == 0) {
            (void)snprintf(how, sizeof(how), "is a member of '%s'", master);
            use_interface(search, name, &use, 0);
        }
    }
}

/* A card with a driver whose interface we do not see: somebody has it in his network namespace, or
 * we live in one of our own, and who knows what the host does with it. */
static void use_unseen(const struct pci_search *search)
{
    static const char *const idle[] = {"", "vfio-pci", "pci-stub", "uio_pci_generic"};

    for (size_t i = 0; i < search->table->count; i++) {
        struct pci_function *function = &search->table->list[i];
        bool is_idle = function->class >> 16 != PCI_CLASS_NETWORK || search->has_interface[i];

        for (size_t j = 0; !is_idle && j < ARRAY_LEN(idle); j++) {
            is_idle = strcmp(function->driver, idle[j]) == 0;
        }
        if (!is_idle) {
            pci_use_set(function,
                        "if nobody needs it, give it to '" PCI_VFIO_DRIVER
                        "' by hand first (driverctl set-override)",
                        "its driver '%s' has it, and its interface cannot be seen: it may be in "
                        "another network namespace",
                        function->driver);
        }
    }
}

void pci_use_networks(const struct pci_search *search)
{
    use_routes4(search, true);
    use_routes6(search);
    use_masters(search);
    use_routes4(search, false);
    use_addresses6(search);
    use_unseen(search);
}

void pci_read_addresses(const char *root, struct pci_table *table)
{
    const struct pci_search search = {.root = root, .table = table};
    struct ifaddrs *all = NULL;

    if (*root != '\0' || getifaddrs(&all) != 0) {
        return;
    }
    for (const struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
        if (one->ifa_addr != NULL && one->ifa_addr->sa_family == AF_INET) {
            one->ifa_name[strcspn(one->ifa_name, ":")] = '\0'; /* a label may follow: eth0:1 */
            use_interface(&search, one->ifa_name, &address, 0);
        }
    }
    freeifaddrs(all);
}
