/* Loading the modules of vdevs: the only user of dlopen. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/conf/value.h"
#include "qvm-worker/vdev/private.h"

#define PREFIX "vdev-"
#define SUFFIX ".so"

/* What a module of the first release of this ABI has: tests/data/vdev-abi3.h is its header. Later
 * members come behind these; an older module has none of them. */
#define MODULE_SIZE_MIN (offsetof(struct vdev_module, default_intrs) + sizeof(const uint32_t *))
#define OPS_SIZE_MIN    (offsetof(struct vdev_ops, end_of_interrupt) + sizeof(void (*)(void)))

/* Rows of arrays never grow, and what stands before the end of the others stays where it is. */
_Static_assert(sizeof(struct vdev_option) == 48 && sizeof(struct vdev_value) == 40 &&
                   sizeof(struct vdev_region) == 24 && sizeof(struct vdev_bar) == 32 &&
                   sizeof(struct vdev_cap) == 32,
               "rows of the first release");
_Static_assert(QVM_VDEV_ABI != 3 || (MODULE_SIZE_MIN == 88 && OPS_SIZE_MIN == 152),
               "structures of the first release");

static const struct known_word {
    const char *word;
    int arguments;
} common_words[] = {{"loc", 1}, {"intr", 1}, {"intrmap", 1}, {"name", 1}, {"log", 2}};

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
    char list[512] = "", best[VDEV_HOST_NAME_MAX + 1] = "";
    size_t used = 0;
    struct conf_nearest nearest = {.word = name};
    struct dirent **entries = NULL;
    int count = scandirat(host->directory_fd, ".", &entries, is_module_file, alphasort);

    for (int i = 0; i < count; i++) {
        const char *file = entries[i]->d_name + strlen(PREFIX);
        int size = (int)(strlen(file) - strlen(SUFFIX));

        char candidate[VDEV_HOST_NAME_MAX + 1];
        const char *nearest_so_far = nearest.best;

        (void)snprintf(candidate, sizeof(candidate), "%.*s", size, file);
        conf_nearest_offer(&nearest, candidate);
        if (nearest.best != nearest_so_far) {
            (void)snprintf(best, sizeof(best), "%s", candidate);
            nearest.best = best;
        }
        if (used + (size_t)size + 2 < sizeof(list)) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, " %.*s", size, file);
        }
        free(entries[i]);
    }
    free(entries);
    if (nearest.best != NULL) {
        return err_set(err, -ENOENT, "%s: there is no vdev '%s'; did you mean '%s'?", where, name,
                       best);
    }
    return err_set(err, -ENOENT, "%s: there is no vdev '%s'; there are:%s", where, name,
                   used > 0 ? list : " none");
}

/* Lines and timers; `why` says what is wrong. */
static const char *check_counts(const struct vdev_module *module)
{
    if (module->line_count > VDEV_LINES_MAX) {
        return "it has too many interrupt lines";
    }
    for (uint32_t i = 1; i < module->line_count && module->default_intrs != NULL; i++) {
        uint32_t line = module->default_intrs[i - 1];

        if (line != QVM_VDEV_NO_INTR && line >= VDEV_HOST_GSI_COUNT) {
            return "its interrupt line does not exist";
        }
    }
    return module->timer_count > VDEV_TIMERS_MAX ? "it has too many timers" : NULL;
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
    return check_counts(module);
}

static int find_arguments(const struct known_word *words, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i].word) == 0) {
            return words[i].arguments;
        }
    }
    return -ENOENT;
}

/* Whether a user could not say which option he means. */
static const char *check_option_name(const struct loaded_module *loaded, uint32_t row)
{
    const struct vdev_option *options = loaded->module.options;

    if (find_arguments(common_words, ARRAY_LEN(common_words), options[row].name) >= 0) {
        return "an option has the name of one that all vdevs have";
    }
    for (uint32_t i = 0; i < row; i++) {
        if (strcmp(options[i].name, options[row].name) == 0) {
            return "two options have the same name";
        }
    }
    return NULL;
}

/* Whether a row before this one is of that kind. */
static bool comes_before(const struct vdev_option *options, uint32_t row,
                         enum vdev_option_kind kind)
{
    for (uint32_t i = 0; i < row; i++) {
        if (options[i].kind == kind) {
            return true;
        }
    }
    return false;
}

static bool is_second(const struct vdev_option *options, uint32_t row)
{
    return comes_before(options, row, options[row].kind);
}

/* Of some kinds a module has one, and what belongs to it. */
static const char *check_option_kind(const struct loaded_module *loaded, uint32_t row)
{
    const struct vdev_option *options = loaded->module.options, *option = &options[row];

    switch (option->kind) {
    case VDEV_OPTION_TEXT:
    case VDEV_OPTION_BOOL:
    case VDEV_OPTION_NUMBER:
    case VDEV_OPTION_PAIR:
    case VDEV_OPTION_FLAG:
    case VDEV_OPTION_ON_ERROR:
    case VDEV_OPTION_FORMAT:
        return NULL;
    case VDEV_OPTION_SHMEM:
        return loaded->ops.shmem_changed == NULL ? "its shared memory is wrong" : NULL;
    case VDEV_OPTION_HOSTDEV:
        return is_second(options, row) || loaded->ops.receive == NULL ? "its host device is wrong"
                                                                      : NULL;
    case VDEV_OPTION_PORT:
        return loaded->ops.port_receive == NULL ? "its ports are wrong" : NULL;
    case VDEV_OPTION_IMAGE:
        return is_second(options, row) || loaded->ops.io_done == NULL ? "its image is wrong" : NULL;
    case VDEV_OPTION_TAP:
        return is_second(options, row) || loaded->ops.event == NULL ? "its tap is wrong" : NULL;
    case VDEV_OPTION_PEER:
        return is_second(options, row) || loaded->ops.event == NULL ? "its peer is wrong" : NULL;
    case VDEV_OPTION_USER:
        return is_second(options, row) || loaded->ops.event == NULL ? "its user network is wrong"
                                                                    : NULL;
    case VDEV_OPTION_NETWORK_QUEUES:
        return is_second(options, row) || option->min < 1 || option->max > VDEV_NETWORK_QUEUES_MAX
                   ? "the queues of its network are wrong"
                   : NULL;
    case VDEV_OPTION_VHOST:
        return is_second(options, row) || loaded->ops.event == NULL || !loaded->module.has_io_thread
                   ? "its part of the kernel is wrong"
                   : NULL;
    case VDEV_OPTION_CID:
        return is_second(options, row) || option->min <= VDEV_CID_HOST || option->max >= UINT32_MAX
                   ? "its address is wrong"
                   : NULL;
    case VDEV_OPTION_BACKEND:
    case VDEV_OPTION_FOLDER:
    case VDEV_OPTION_LISTEN: /* the words of each are said on an I/O thread */
        return comes_before(options, row, VDEV_OPTION_BACKEND) ||
                       comes_before(options, row, VDEV_OPTION_FOLDER) ||
                       comes_before(options, row, VDEV_OPTION_LISTEN) ||
                       loaded->ops.event == NULL || !loaded->module.has_io_thread
                   ? "its back end or its socket is wrong"
                   : NULL;
    default:
        return "an option is of an unknown kind";
    }
}

static const char *count_options(struct loaded_module *loaded)
{
    const struct vdev_option *options = loaded->module.options;
    const char *why = NULL;

    loaded->hostdev_option = UINT32_MAX;
    for (loaded->option_count = 0; why == NULL && options[loaded->option_count].name != NULL;
         loaded->option_count++) {
        uint32_t row = loaded->option_count;

        if (row == MODULE_OPTIONS_MAX) {
            return "it has too many options";
        }
        why = check_option_name(loaded, row);
        why = why == NULL ? check_option_kind(loaded, row) : why;
        if (options[row].kind == VDEV_OPTION_HOSTDEV) {
            loaded->hostdev_option = row;
        }
    }
    return why;
}

/* What an older module does not have stays 0, what a newer one has besides is left out. */
static void copy_known(void *to, size_t to_size, const void *from, size_t from_size)
{
    memcpy(to, from, from_size < to_size ? from_size : to_size);
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
    copy_known(&loaded->module, sizeof(loaded->module), module, module->size);
    copy_known(&loaded->ops, sizeof(loaded->ops), module->ops, module->ops->size);
    why = check_module(loaded);
    why = why != NULL ? why : count_options(loaded);
    if (why != NULL) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' is broken: %s", where, loaded->name, why);
    }
    return 0;
}

/* Load `file` of the folder. The loader knows names only, and there may be no /proc that could name
 * the descriptor: the folder is the working directory for that moment. */
static void *load_library(int directory_fd, const char *file, struct err *err)
{
    char path[sizeof("./") + NAME_MAX];
    auto_close int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    void *library = NULL;

    (void)snprintf(path, sizeof(path), "./%s", file);
    if (back < 0 || fchdir(directory_fd) != 0) {
        (void)err_set(err, -ELIBBAD, "cannot enter the folder of vdevs: %s",
                      strerrordesc_np(errno));
        return NULL;
    }
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        (void)err_set(err, -ELIBBAD, "%s", dlerror());
    }
    if (fchdir(back) != 0 && library != NULL) {
        (void)err_set(err, -ELIBBAD, "cannot leave the folder of vdevs: %s",
                      strerrordesc_np(errno));
        (void)dlclose(library);
        return NULL;
    }
    return library;
}

int vdev_host_load(struct vdev_host *host, const char *module, const char *where, struct err *err)
{
    char file[sizeof(PREFIX SUFFIX) + VDEV_HOST_NAME_MAX];
    struct err why = {0};
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
    library = load_library(host->directory_fd, file, &why);
    if (library == NULL) {
        return err_set(err, -ELIBBAD, "%s: vdev '%s' cannot be loaded: %s", where, loaded->name,
                       why.msg);
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

void vdev_host_offer_options(const struct vdev_host *host, const char *module,
                             struct conf_nearest *nearest)
{
    const struct loaded_module *loaded = vdev_host_find_module(host, module);

    for (size_t i = 0; i < ARRAY_LEN(common_words); i++) {
        conf_nearest_offer(nearest, common_words[i].word);
    }
    for (uint32_t i = 0; loaded != NULL && i < loaded->option_count; i++) {
        conf_nearest_offer(nearest, loaded->module.options[i].name);
    }
    if (loaded != NULL && loaded->hostdev_option != UINT32_MAX) {
        conf_nearest_offer(nearest, "batch");
        conf_nearest_offer(nearest, "delayed");
    }
}

int vdev_host_option_arguments(const struct vdev_host *host, const char *module, const char *word)
{
    const struct loaded_module *loaded = vdev_host_find_module(host, module);
    int arguments = find_arguments(common_words, ARRAY_LEN(common_words), word);

    for (uint32_t i = 0; arguments < 0 && loaded != NULL && i < loaded->option_count; i++) {
        if (strcmp(word, loaded->module.options[i].name) == 0) {
            arguments = loaded->module.options[i].kind == VDEV_OPTION_FLAG ||
                                loaded->module.options[i].kind == VDEV_OPTION_USER
                            ? 0
                            : 1;
        }
    }
    if (arguments < 0 && loaded != NULL && loaded->hostdev_option != UINT32_MAX &&
        strcmp(word, "batch") == 0) {
        return 1;
    }
    return arguments >= 0 ? arguments : vdev_host_refused_arguments(word, NULL);
}
