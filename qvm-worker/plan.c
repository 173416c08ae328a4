/* What a configuration asks for: the words of .qvmconf. */
#include "qvm-worker/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/plan_private.h"

struct plan_text {
    struct plan_text *next;
    char text[];
};

const char *plan_keep(struct plan *plan, struct err *err, const char *format, ...)
{
    struct plan_text *text;
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    text = size >= 0 ? malloc(sizeof(*text) + (size_t)size + 1) : NULL;
    if (text == NULL) {
        (void)err_set(err, -ENOMEM, "no memory left to read the configuration");
        return NULL;
    }
    va_start(args, format);
    (void)vsnprintf(text->text, (size_t)size + 1, format, args);
    va_end(args);
    text->next = plan->texts;
    plan->texts = text;
    return text->text;
}

const char *plan_where(struct plan *plan, const struct conf_word *word, struct err *err)
{
    char place[CONF_PLACE_SIZE];

    return plan_keep(plan, err, "%s", conf_place(word, place));
}

const char *plan_path(struct plan *plan, const struct conf_word *word, const char *path,
                      struct err *err)
{
    const char *directory = word->part->directory;

    if (path[0] == '\0' || strpbrk(path, "\t\n") != NULL) {
        (void)conf_fail(err, word, "'%s' is no path of a file", path);
        return NULL;
    }
    if (path[0] == '/') {
        return plan_keep(plan, err, "%s", path);
    }
    if (directory == NULL) {
        (void)conf_fail(err, word,
                        "path '%s' is relative, and there is no folder that it could "
                        "start from: give it from '/' on",
                        path);
        return NULL;
    }
    return plan_keep(plan, err, "%s/%s", strcmp(directory, "/") == 0 ? "" : directory, path);
}

static struct plan *plan_of(const struct conf_scope *scope)
{
    return ((struct plan_reading *)scope->root)->plan;
}

/* The open context ends: a vdev is complete now. */
static int close_context(struct conf_scope *scope)
{
    scope->context = 0;
    scope->object = NULL;
    return plan_vdev_close(scope->root, scope->err);
}

static int on_system(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = plan_of(scope);
    const struct conf_word *name = conf_argument(scope, option);

    if (name == NULL) {
        return -ENOEXEC;
    }
    if (plan->name != NULL) {
        return conf_fail(scope->err, option, "'system' was given at %s; a VM has one name",
                         plan->where);
    }
    if (!guest_name_is_valid(name->text)) {
        return conf_fail(scope->err, name,
                         "'%s' is no name for a VM: a letter, then letters, digits, '.', '-', "
                         "'_', at most %d",
                         name->text, GUEST_NAME_MAX);
    }
    plan->where = plan_where(plan, option, scope->err);
    plan->name = name->text;
    return plan->where != NULL ? 0 : -ENOMEM;
}

static int on_cpu(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = plan_of(scope);
    int r = close_context(scope);

    if (r != 0) {
        return r;
    }
    if (plan->cpu_count == MACHINE_CPUS_MAX) {
        return conf_fail(scope->err, option, "more than %u vCPUs", MACHINE_CPUS_MAX);
    }
    if (plan->cpu_count++ == 0) {
        plan->cpu_where = plan_where(plan, option, scope->err);
    }
    scope->context = PLAN_IN_CPU;
    return plan->cpu_where != NULL ? 0 : -ENOMEM;
}

static int on_ram(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = plan_of(scope);
    const struct conf_word *argument = conf_argument(scope, option);
    struct memory_range range = {0};
    const char *length, *comma;
    int r = 0;

    if (argument == NULL) {
        return -ENOEXEC;
    }
    if (plan->ram_count == MEMORY_RANGES_MAX) {
        return conf_fail(scope->err, option, "more than %u times 'ram'", MEMORY_RANGES_MAX);
    }
    comma = strchr(argument->text, ',');
    length = comma != NULL ? comma + 1 : argument->text;
    range.has_start = comma != NULL;
    if (comma != NULL) {
        r = conf_number_in(argument, argument->text, (size_t)(comma - argument->text), CONF_HEX, 0,
                           MEMORY_ADDRESS_MAX - 1, &range.start, scope->err);
    }
    if (r == 0) {
        r = conf_number_in(argument, length, strlen(length), CONF_DECIMAL, MEMORY_PAGE_SIZE,
                           MEMORY_ADDRESS_MAX, &range.size, scope->err);
    }
    if (r != 0) {
        return r;
    }
    range.where = plan_where(plan, argument, scope->err);
    if (range.where == NULL) {
        return -ENOMEM;
    }
    plan->ram[plan->ram_count++] = range;
    return memory_check(plan->ram, plan->ram_count, scope->err) == 0 ? 0 : -ENOEXEC;
}

/* [ADDR,]PATH: what stands before the first comma is an address if it can be one. */
static int add_load(struct conf_scope *scope, const struct conf_word *option,
                    enum machine_load_kind kind)
{
    struct plan *plan = plan_of(scope);
    const struct conf_word *argument = conf_argument(scope, option);
    struct machine_load load = {.kind = kind, .fd = -1};
    const char *path, *comma;

    if (argument == NULL) {
        return -ENOEXEC;
    }
    if (plan->load_count == MACHINE_LOADS_MAX) {
        return conf_fail(scope->err, option, "more than %u times 'load'", MACHINE_LOADS_MAX);
    }
    path = argument->text;
    comma = strchr(path, ',');
    if (comma != NULL &&
        conf_parse_number(path, (size_t)(comma - path), CONF_HEX, &load.address) == 0) {
        load.has_address = true;
        path = comma + 1;
    }
    if (kind == MACHINE_LOAD_DATA && !load.has_address) {
        return conf_fail(scope->err, argument, "'data load' wants an address: ADDR,PATH");
    }
    load.path = plan_path(plan, argument, path, scope->err);
    load.where = load.path != NULL ? plan_where(plan, argument, scope->err) : NULL;
    if (load.where == NULL) {
        return -ENOEXEC;
    }
    plan->loads[plan->load_count++] = load;
    return 0;
}

static int on_load(struct conf_scope *scope, const struct conf_word *option)
{
    return add_load(scope, option, MACHINE_LOAD_DETECT);
}

/* The kinds that stand before `load`. */
static const struct {
    const char *name;
    enum machine_load_kind kind;
} load_kinds[] = {
    {"guest", MACHINE_LOAD_GUEST},
    {"initrd", MACHINE_LOAD_INITRD},
    {"data", MACHINE_LOAD_DATA},
    {"acpi", MACHINE_LOAD_ACPI},
};

static int on_load_kind(struct conf_scope *scope, const struct conf_word *option)
{
    const struct conf_word *load = conf_next(scope);

    if (load == NULL || strcmp(load->text, "load") != 0) {
        return conf_fail(scope->err, option, "'%s' wants 'load' behind it: %s load [ADDR,]PATH",
                         option->text, option->text);
    }
    for (size_t i = 0; i < ARRAY_LEN(load_kinds); i++) {
        if (strcmp(load_kinds[i].name, option->text) == 0) {
            return add_load(scope, load, load_kinds[i].kind);
        }
    }
    return conf_fail(scope->err, option, "'%s' is no kind of file", option->text);
}

static int on_cmdline(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan *plan = plan_of(scope);
    const struct conf_word *text = conf_argument(scope, option);

    if (text == NULL) {
        return -ENOEXEC;
    }
    plan->cmdline = text->text;
    plan->cmdline_where = plan_where(plan, text, scope->err);
    return plan->cmdline_where != NULL ? 0 : -ENOMEM;
}

static int on_vdev(struct conf_scope *scope, const struct conf_word *option)
{
    int r = close_context(scope);

    return r == 0 ? plan_vdev_open(scope, option) : r;
}

/* Options common to all vdevs: those of one kind alone are asked of the vdev (on_other). */
static int on_vdev_option(struct conf_scope *scope, const struct conf_word *option)
{
    int r = plan_vdev_option(scope, option);

    return r != -ENOENT
               ? r
               : conf_fail(scope->err, option, "this vdev has no option '%s'", option->text);
}

static int read_log_set(struct conf_scope *scope, const struct conf_word *word, unsigned *set)
{
    const char *at = word->text;

    for (;;) {
        size_t size = strcspn(at, ",");
        char name[16] = "";
        int level;

        if (size < sizeof(name)) {
            memcpy(name, at, size);
        }
        level = log_level_find(name);
        if (level < 0) {
            return conf_fail(scope->err, word,
                             "'%.*s' is no filter: fatal internal error warn info debug verbose",
                             (int)size, at);
        }
        *set |= LOG_BIT((unsigned)level);
        if (at[size] == '\0') {
            return 0;
        }
        at += size + 1;
    }
}

static int on_logger(struct conf_scope *scope, const struct conf_word *option)
{
    struct plan_log *log = &plan_of(scope)->log;
    const struct conf_word *filters = conf_argument(scope, option);
    const struct conf_word *to = filters != NULL ? conf_argument(scope, option) : NULL;
    unsigned set = 0;
    int r;

    if (to == NULL) {
        return -ENOEXEC;
    }
    r = read_log_set(scope, filters, &set);
    if (r != 0) {
        return r;
    }
    if (strcmp(to->text, "stdout") == 0) {
        log->to_stdout = set;
    } else if (strcmp(to->text, "stderr") == 0) {
        log->to_stderr = set;
    } else if (strcmp(to->text, "slog") == 0) {
        return conf_fail(scope->err, to, "'slog' is not supported yet; use stderr");
    } else if (strcmp(to->text, "none") != 0) {
        return conf_fail(scope->err, to, "'%s' is no destination: stdout stderr slog none",
                         to->text);
    }
    log->is_given = true;
    return 0;
}

static int on_dryrun(struct conf_scope *scope, const struct conf_word *option)
{
    (void)option;
    plan_of(scope)->is_dryrun = true;
    return 0;
}

static const char *const context_names[] = {"cpu", "vdev", "pass", "reserve"};

/* The language. Options of vdevs are asked of the vdevs (plan_vdev_option). */
static const struct conf_option options[] = {
    CONF_HANDLER("system", CONF_ANYWHERE, on_system, "the VM's name"),
    CONF_HANDLER("cpu", CONF_ANYWHERE, on_cpu, "one vCPU"),
    CONF_LATER("sched", PLAN_IN_CPU, "its scheduling"),
    CONF_LATER("runmask", PLAN_IN_CPU, "the host's CPUs that it may use"),
    CONF_LATER("cluster", PLAN_IN_CPU, "the named set of CPUs that it may use"),
    CONF_LATER("partition", PLAN_IN_CPU, "its partition"),
    CONF_HANDLER("ram", CONF_ANYWHERE, on_ram, "guest RAM"),
    CONF_HANDLER("load", CONF_ANYWHERE, on_load, "put a file into guest memory"),
    CONF_HANDLER("guest", CONF_ANYWHERE, on_load_kind, "the bootimage"),
    CONF_HANDLER("initrd", CONF_ANYWHERE, on_load_kind, "the kernel's first file system"),
    CONF_HANDLER("data", CONF_ANYWHERE, on_load_kind, "bytes at an address"),
    CONF_HANDLER("acpi", CONF_ANYWHERE, on_load_kind, "one more ACPI table"),
    CONF_LATER("fdt", CONF_ANYWHERE, "a device tree"),
    CONF_HANDLER("cmdline", CONF_ANYWHERE, on_cmdline, "the kernel's command line"),
    CONF_HANDLER("vdev", CONF_ANYWHERE, on_vdev, "a virtual device"),
    CONF_HANDLER("loc", PLAN_IN_VDEV, on_vdev_option, "where it answers"),
    CONF_HANDLER("intr", PLAN_IN_VDEV, on_vdev_option, "its interrupt line"),
    CONF_HANDLER("name", PLAN_IN_VDEV, on_vdev_option, "its name"),
    CONF_HANDLER("log", PLAN_IN_VDEV, on_vdev_option, "what it logs"),
    CONF_HANDLER("hostdev", PLAN_IN_VDEV, on_vdev_option, "the host's end of it"),
    CONF_HANDLER("set", CONF_ANYWHERE, plan_set, "a variable"),
    CONF_HANDLER("logger", CONF_ANYWHERE, on_logger, "where log lines go"),
    CONF_HANDLER("dryrun", CONF_ANYWHERE, on_dryrun, "say what would be built, and end"),
    CONF_LATER("rom", CONF_ANYWHERE, "memory that the guest cannot write"),
    CONF_LATER("reserve", CONF_ANYWHERE, "keep an address or interrupt free"),
    CONF_LATER("pass", CONF_ANYWHERE, "pass a device through"),
    CONF_LATER("dump", CONF_ANYWHERE, "where core dumps of the guest go"),
    CONF_LATER("unsupported", CONF_ANYWHERE, "what an unsupported access does"),
    CONF_LATER("safety", CONF_ANYWHERE, "certified components"),
};

/* Words that no row of the open context knows: `system` must have come, then the vdev is asked. */
static int on_other(struct conf_scope *scope, const struct conf_word *word)
{
    if (plan_of(scope)->name == NULL && strcmp(word->text, "system") != 0 &&
        strcmp(word->text, "set") != 0) {
        return conf_fail(scope->err, word, "'%s' stands before 'system NAME', which comes first",
                         word->text);
    }
    return scope->context == PLAN_IN_VDEV ? plan_vdev_option(scope, word) : -ENOENT;
}

static const struct conf_grammar grammar = {
    .options = options,
    .option_count = ARRAY_LEN(options),
    .context_names = context_names,
    .context_count = ARRAY_LEN(context_names),
    .other = on_other,
};

/* What every VM must have, once all is read. */
static int complete(struct plan *plan, struct err *err)
{
    if (plan->name == NULL) {
        return err_set(err, -ENOEXEC, "the configuration is empty: 'system NAME' comes first");
    }
    if (plan->ram_count == 0) {
        return err_set(err, -ENOEXEC, "%s: VM '%s' has no 'ram'", plan->where, plan->name);
    }
    if (plan->cpu_count == 0) {
        plan->cpu_count = 1;
        plan->cpu_where = plan->where;
    }
    return plan_add_needs(plan, err);
}

int plan_read(struct plan *plan, const struct conf_part *parts, size_t part_count,
              const char *const *env, struct vdev_host *vdevs, struct err *err)
{
    struct plan_reading reading = {.plan = plan};
    struct conf_scope scope = {
        .grammar = &grammar, .words = &plan->words, .root = &reading, .err = err};
    int r;

    *plan = (struct plan){.parts = parts, .part_count = part_count, .vdevs = vdevs};
    plan_set_fallbacks(&plan->settings);
    r = conf_words_read(&plan->words, parts, part_count, env, err);
    if (r == 0) {
        r = conf_read(&scope);
    }
    if (r == 0 && !plan->wants_settings) {
        r = plan_vdev_close(&reading, err);
    }
    free(reading.vdev);
    return r == 0 && !plan->wants_settings ? complete(plan, err) : r;
}

void plan_fini(struct plan *plan)
{
    while (plan->texts != NULL) {
        struct plan_text *text = plan->texts;

        plan->texts = text->next;
        free(text);
    }
    conf_words_fini(&plan->words);
}
