/* Loading the modules of vdevs: the only user of dlopen. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "qvm-worker/vdev_host_private.h"

#define PREFIX "vdev-"
#define SUFFIX ".so"

/* What a module of the first version of this ABI has at least. */
#define MODULE_SIZE_MIN sizeof(struct vdev_module)
#define OPS_SIZE_MIN    sizeof(struct vdev_ops)

/* The bare name of a module in any of its spellings: letters, digits, `-`, `_`. */
static int bare_name(const char *text, char name[VDEV_HOST_NAME_MAX + 1])
{
    size_t size;

    if (strncmp(text, PREFIX, strlen(PREFIX)) == 0) {
        text += strlen(PREFIX);
    }
    size = strlen(text);
    if (size > strlen(SUFFIX) && strcmp(text + size - strlen(SUFFIX), SUFFIX) == 0) {
        size -= strlen(SUFFIX);
    }
    if (size == 0 || size > VDEV_HOST_NAME_MAX) {
        return -EINVAL;
    }
    for (size_t i = 0; i < size; i++) {
        char c = text[i];

        if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' &&
            c != '_') {
            return -EINVAL;
        }
    }
    memcpy(name, text, size);
    name[size] = '\0';
    return 0;
}

const struct loaded_module *vdev_host_find_module(const struct vdev_host *host, const char *name)
{
    char bare[VDEV_HOST_NAME_MAX + 1];

    if (bare_name(name, bare) != 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < host->module_count; i++) {
        if (strcmp(host->modules[i]->name, bare) == 0) {
            return host->modules[i];
        }
    }
    return NULL;
}

static int is_module_file(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);

    return size > strlen(PREFIX SUFFIX) && strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 &&
           strcmp(entry->d_name + size - strlen(SUFFIX), SUFFIX) == 0;
}

static int refuse_unknown(const struct vdev_host *host, const char *name, const char *where,
                          struct err *err)
{
    char list[512] = "";
    size_t used = 0;
    struct dirent **entries = NULL;
    int count = scandirat(host->directory_fd, ".", &entries, is_module_file, alphasort);

    for (int i = 0; i < count; i++) {
        const char *file = entries[i]->d_name + strlen(PREFIX);
        int size = (int)(strlen(file) - strlen(SUFFIX));

        if (used + (size_t)size + 2 < sizeof(list)) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, " %.*s", size, file);
        }
        free(entries[i]);
    }
    free(entries);
    return err_set(err, -ENOENT, "%s: there is no vdev '%s'; there are:%s", where, name,
                   used > 0 ? list : " none");
}

/* Whether the module keeps its side of the contract; `why` says what is wrong. */
static const char *check_module(const struct loaded_module *loaded)
{
    const struct vdev_module *module = &loaded->module;
    const struct vdev_ops *ops = &loaded->ops;

    if (module->name == NULL || strcmp(module->name, loaded->name) != 0) {
        return "its name is not that of its file";
    }
    if (module->doc == NULL || module->options == NULL) {
        return "it does not describe itself";
    }
    if (ops->create == NULL || ops->destroy == NULL || ops->reset == NULL || ops->read == NULL ||
        ops->write == NULL || ops->state == NULL) {
        return "an operation is missing";
    }
    if (module->default_region_count > VDEV_HOST_REGIONS_MAX ||
        (module->default_region_count > 0 && module->default_regions == NULL)) {
        return "its regions are wrong";
    }
    if (module->default_intr != QVM_VDEV_NO_INTR && module->default_intr >= VDEV_HOST_GSI_COUNT) {
        return "its interrupt line does not exist";
    }
    return NULL;
}

static const char *count_options(struct loaded_module *loaded)
{
    const struct vdev_option *options = loaded->module.options;

    loaded->hostdev_option = UINT32_MAX;
    for (loaded->option_count = 0; options[loaded->option_count].name != NULL;
         loaded->option_count++) {
        if (loaded->option_count == MODULE_OPTIONS_MAX) {
            return "it has too many options";
        }
        switch (options[loaded->option_count].kind) {
        case VDEV_OPTION_TEXT:
        case VDEV_OPTION_BOOL:
        case VDEV_OPTION_NUMBER:
        case VDEV_OPTION_PAIR:
            break;
        case VDEV_OPTION_HOSTDEV:
            if (loaded->hostdev_option != UINT32_MAX || loaded->ops.receive == NULL) {
                return "its host device is wrong";
            }
            loaded->hostdev_option = loaded->option_count;
            break;
        default:
            return "an option is of an unknown kind";
        }
    }
    return NULL;
}

/* Copy what module and we both know of its structures. */
static int adopt(struct loaded_module *loaded, const struct vdev_module *module, const char *where,
                 struct err *err)
{
    const char *why;

    if (module == NULL || module->size < offsetof(struct vdev_module, abi) + sizeof(uint32_t)) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' is broken: its symbol says nothing", where,
                       loaded->name);
    }
    if (module->abi != QVM_VDEV_ABI) {
        return err_set(err, -ELIBBAD,
                       "%s: vdev '%s' is built for version %u of the vdev interface, this qvm has"
                       " version %u: build it anew",
                       where, loaded->name, module->abi, QVM_VDEV_ABI);
    }
    if (module->size < MODULE_SIZE_MIN || module->ops == NULL || module->ops->size < OPS_SIZE_MIN) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' is broken: its structures are too small",
                       where, loaded->name);
    }
    memcpy(&loaded->module, module, sizeof(loaded->module));
    memcpy(&loaded->ops, module->ops, sizeof(loaded->ops));
    why = check_module(loaded);
    why = why != NULL ? why : count_options(loaded);
    if (why != NULL) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' is broken: %s", where, loaded->name, why);
    }
    return 0;
}

int vdev_host_load(struct vdev_host *host, const char *module, const char *where, struct err *err)
{
    char file[sizeof(PREFIX SUFFIX) + VDEV_HOST_NAME_MAX];
    char path[sizeof("/proc/self/fd/-2147483648/") + sizeof(file)];
    auto_free struct loaded_module *loaded = calloc(1, sizeof(*loaded));
    const struct vdev_module *const *symbol;
    void *library;
    int r;

    if (loaded == NULL) {
        return err_set(err, -ENOMEM, "no memory for a vdev");
    }
    if (bare_name(module, loaded->name) != 0) {
        return err_set(err, -EINVAL,
                       "%s: '%s' is no name of a vdev: it has letters, digits, '-' and '_', at "
                       "most %u",
                       where, module, VDEV_HOST_NAME_MAX);
    }
    if (vdev_host_find_module(host, loaded->name) != NULL) {
        return 0;
    }
    if (host->module_count == MODULES_MAX) {
        return err_set(err, -E2BIG, "%s: there are %u different vdevs already", where, MODULES_MAX);
    }
    (void)snprintf(file, sizeof(file), PREFIX "%s" SUFFIX, loaded->name);
    if (faccessat(host->directory_fd, file, F_OK, 0) != 0) {
        return refuse_unknown(host, loaded->name, where, err);
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", host->directory_fd, file);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' cannot be loaded: %s", where, loaded->name,
                       dlerror());
    }
    symbol = dlsym(library, QVM_VDEV_SYMBOL);
    if (symbol == NULL) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' is no vdev: it does not export '%s'", where,
                       loaded->name, QVM_VDEV_SYMBOL);
    }
    r = adopt(loaded, *symbol, where, err);
    if (r == 0) {
        host->modules[host->module_count++] = take_ptr(loaded);
    }
    return r;
}

/* A word of the language and how many arguments it has. */
struct known_word {
    const char *word;
    int arguments;
};

static int find_arguments(const struct known_word *words, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i].word) == 0) {
            return words[i].arguments;
        }
    }
    return -ENOENT;
}

int vdev_host_option_arguments(const struct vdev_host *host, const char *module, const char *word)
{
    static const struct known_word common[] = {{"loc", 1}, {"intr", 1}, {"name", 1}, {"log", 2}};
    /* Refused by name, unless the module itself has such an option. */
    static const struct known_word later[] = {
        {"sched", 1}, {"hostvector", 1}, {"delayed", 1}, {"batch", 1}, {"legacy", 0}};
    const struct loaded_module *loaded = vdev_host_find_module(host, module);
    int arguments = find_arguments(common, ARRAY_LEN(common), word);

    for (uint32_t i = 0; arguments < 0 && loaded != NULL && i < loaded->option_count; i++) {
        if (strcmp(word, loaded->module.options[i].name) == 0) {
            arguments = 1;
        }
    }
    return arguments >= 0 ? arguments : find_arguments(later, ARRAY_LEN(later), word);
}
