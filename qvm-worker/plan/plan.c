/* What a configuration asks for: the words of .qvmconf. */
#include "qvm-worker/plan/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "qvm-worker/plan/private.h"

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

int plan_warn(struct plan *plan, const struct conf_word *word, struct err *err, const char *format,
              ...)
{
    char place[CONF_PLACE_SIZE];
    struct err words = {0};
    va_list args;
    const char *text;

    va_start(args, format);
    (void)err_vset(&words, 0, format, args);
    va_end(args);
    text = plan_keep(plan, err, "%s: %s", conf_place(word, place), words.msg);
    if (text != NULL && plan->warning_count < PLAN_WARNINGS_MAX) {
        plan->warnings[plan->warning_count++] = text;
    }
    return text != NULL ? 0 : -ENOMEM;
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

/* Opens another context: the one that is open ends. */
static int on_cpu(struct conf_scope *scope, const struct conf_word *option)
{
    int r = close_context(scope);

    return r == 0 ? plan_cpu_open(scope, option) : r;
}

static int on_reserve(struct conf_scope *scope, const struct conf_word *option)
{
    int r = close_context(scope);

    return r == 0 ? plan_reserve_open(scope, option) : r;
}

static int on_pass(struct conf_scope *scope, const struct conf_word *option)
{
    int r = close_context(scope);

    return r == 0 ? plan_pass_open(scope, option) : r;
}

static int on_fdt(struct conf_scope *scope, const struct conf_word *option)
{
    return conf_fail(scope->err, option,
                     "'fdt' is not supported: device trees are for ARM, and this is a VM of x86");
}

static int on_vdev(struct conf_scope *scope, const struct conf_word *option)
{
    int r = close_context(scope);

    return r == 0 ? plan_vdev_open(scope, option) : r;
}

/* Options common to all vdevs: those of one kind alone are asked of the vdev (on_other). */
static int on_dryrun(struct conf_scope *scope, const struct conf_word *option)
{
    (void)option;
    plan_of(scope)->is_dryrun = true;
    return 0;
}

/* Words that no row of the open context knows: `system` must have come, then the vdev is asked. */
static int on_other(struct conf_scope *scope, const struct conf_word *word)
{
    if (plan_of(scope)->name == NULL && strcmp(word->text, "system") != 0 &&
        strcmp(word->text, "set") != 0 && strcmp(word->text, "dryrun") != 0) {
        return conf_fail(scope->err, word, "'%s' stands before 'system NAME', which comes first",
                         word->text);
    }
    return scope->context == PLAN_IN_VDEV ? plan_vdev_option(scope, word) : -ENOENT;
}

static const char *const context_names[] = {"cpu", "vdev", "pass", "reserve"};

/* The language. Options of vdevs are asked of the vdevs (plan_vdev_option). */
static const struct conf_option options[] = {
    CONF_HANDLER("system", CONF_ANYWHERE, on_system, "the VM's name"),
    CONF_HANDLER("cpu", CONF_ANYWHERE, on_cpu, "one vCPU"),
    CONF_HANDLER("sched", PLAN_IN_CPU, plan_cpu_sched, "its scheduling"),
    CONF_HANDLER("runmask", PLAN_IN_CPU, plan_cpu_runmask, "the host's CPUs that it may use"),
    CONF_HANDLER("cluster", PLAN_IN_CPU, plan_cpu_cluster, "the same, by name"),
    CONF_HANDLER("partition", PLAN_IN_CPU, plan_cpu_partition, "its partition"),
    CONF_HANDLER("ram", CONF_ANYWHERE, plan_ram, "guest RAM"),
    CONF_HANDLER("rom", CONF_ANYWHERE, plan_ram, "memory that the guest cannot write"),
    CONF_HANDLER("load", CONF_ANYWHERE, plan_load, "put a file into guest memory"),
    CONF_HANDLER("guest", CONF_ANYWHERE, plan_load_kind, "the bootimage"),
    CONF_HANDLER("initrd", CONF_ANYWHERE, plan_load_kind, "the kernel's first file system"),
    CONF_HANDLER("data", CONF_ANYWHERE, plan_load_kind, "bytes at an address"),
    CONF_HANDLER("acpi", CONF_ANYWHERE, plan_load_kind, "one more ACPI table"),
    CONF_HANDLER("fdt", CONF_ANYWHERE, on_fdt, "a device tree"),
    CONF_HANDLER("cmdline", CONF_ANYWHERE, plan_cmdline, "the kernel's command line"),
    CONF_HANDLER("vdev", CONF_ANYWHERE, on_vdev, "a virtual device"),
    CONF_HANDLER("loc", PLAN_IN_VDEV, on_other, "where it answers"),
    CONF_HANDLER("intr", PLAN_IN_VDEV, on_other, "its interrupt line"),
    CONF_HANDLER("name", PLAN_IN_VDEV, on_other, "its name"),
    CONF_HANDLER("log", PLAN_IN_VDEV, on_other, "what it logs"),
    CONF_HANDLER("hostdev", PLAN_IN_VDEV, on_other, "the host's end of it"),
    CONF_HANDLER("reserve", CONF_ANYWHERE, on_reserve, "keep a place or an interrupt free"),
    CONF_HANDLER("loc", PLAN_IN_RESERVE, plan_reserve_loc, "the place"),
    CONF_HANDLER("intr", PLAN_IN_RESERVE, plan_reserve_intr, "the interrupt line"),
    CONF_HANDLER("pass", CONF_ANYWHERE, on_pass, "pass a device of the host through"),
    CONF_HANDLER("loc", PLAN_IN_PASS, plan_pass_loc, "which, and where the guest finds it"),
    CONF_HANDLER("intr", PLAN_IN_PASS, plan_pass_intr, "its interrupt line"),
    CONF_HANDLER("set", CONF_ANYWHERE, plan_set, "a variable"),
    CONF_HANDLER("logger", CONF_ANYWHERE, plan_logger, "where log lines go"),
    CONF_HANDLER("dump", CONF_ANYWHERE, plan_dump_option, "where core dumps of the guest go"),
    CONF_HANDLER("unsupported", CONF_ANYWHERE, plan_unsupported, "what such an access does"),
    CONF_HANDLER("safety", CONF_ANYWHERE, plan_safety, "about certified components"),
    CONF_HANDLER("dryrun", CONF_ANYWHERE, on_dryrun, "say what would be built, and end"),
};

static const struct conf_grammar grammar = {
    .options = options,
    .option_count = ARRAY_LEN(options),
    .context_names = context_names,
    .context_count = ARRAY_LEN(context_names),
    .other = on_other,
    .offer = plan_vdev_offer,
};

/* Whether RAM may be given back while the guest runs, if a vdev wants to. */
static int check_discards(const struct plan *plan, struct err *err)
{
    const char *where = vdev_host_discards(plan->vdevs, 0);
    const char *second = where != NULL ? vdev_host_discards(plan->vdevs, 1) : NULL;

    if (where == NULL) {
        return 0;
    }
    if (second != NULL) {
        return err_set(err, -ENOEXEC, "%s: the VM has a balloon at %s already", second, where);
    }
    if (plan->pass_count > 0) {
        return err_set(err, -ENOEXEC,
                       "%s: a balloon gives memory back to the host, and the device that is passed "
                       "through at %s may write to all of it",
                       where, plan->passes[0].where);
    }
    if (plan_page_size(plan) > MEMORY_PAGE_SIZE) {
        return err_set(err, -ENOEXEC,
                       "%s: a balloon gives pages of 4 KiB back to the host, and the memory of "
                       "partition '%s' is in huge pages",
                       where, plan->partition);
    }
    if (plan_is_populated(plan)) {
        return err_set(err, -ENOEXEC,
                       "%s: a balloon gives memory back to the host, and all of this VM's is to be "
                       "there before it runs%s",
                       where, plan->settings.is_populated ? " ('set populate on')" : "");
    }
    return 0;
}

/* What every VM must have, once all is read. */
static int complete(struct plan *plan, const char *first_file, struct err *err)
{
    struct topology topology;
    bool has_ram = false;

    if (plan->name == NULL) {
        return err_set(err, -ENOEXEC, "%s%sthe configuration is empty: 'system NAME' comes first",
                       first_file != NULL ? first_file : "", first_file != NULL ? ":1: " : "");
    }
    for (uint32_t i = 0; i < plan->ram_count; i++) {
        has_ram = has_ram || !plan->ram[i].is_rom;
    }
    if (!has_ram) {
        return err_set(err, -ENOEXEC, "%s: VM '%s' has no 'ram'", plan->where, plan->name);
    }
    if (plan->cpu_count == 0) {
        plan->cpu_count = 1;
        plan->cpus[0].where = plan->where;
    }
    topology = (struct topology){plan->cpu_count, (uint32_t)plan->settings.cores,
                                 (uint32_t)plan->settings.threads};
    if (topology_check(&topology, err) != 0) {
        (void)err_prefix(err, "%s: ", plan->topology_where);
        return -ENOEXEC;
    }
    if (plan_add_board(plan, err) != 0 || vdev_host_settle_chips(plan->vdevs, err) != 0 ||
        check_discards(plan, err) != 0) {
        return -ENOEXEC;
    }
    return plan_add_needs(plan, err);
}

int plan_read(struct plan *plan, const struct conf_part *parts, size_t part_count,
              const struct plan_host *host, struct vdev_host *vdevs, struct err *err)
{
    struct plan_reading reading = {.plan = plan};
    struct conf_scope scope = {
        .grammar = &grammar, .words = &plan->words, .root = &reading, .err = err};
    int r;

    plan->parts = parts;
    plan->part_count = part_count;
    plan->host = host;
    plan->vdevs = vdevs;
    plan->unsupported = (struct plan_unsupported){
        .instruction = PLAN_FAIL, .reference = PLAN_IGNORE, .msr = PLAN_FAIL};
    plan_set_fallbacks(&plan->settings);
    r = conf_words_read_regions(&plan->words, parts, part_count, host->env, host->regions, err);
    if (r == 0) {
        r = conf_read(&scope);
    }
    if (r == 0 && !plan->wants_settings) {
        r = plan_vdev_close(&reading, err);
    }
    free(reading.vdev);
    r = r == 0 && !plan->wants_settings ? complete(plan, part_count > 0 ? parts[0].name : NULL, err)
                                        : r;
    if (r != 0) {
        conf_one_line(err); /* vdevs quote words, too */
    }
    return r;
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
