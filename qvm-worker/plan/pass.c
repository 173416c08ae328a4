/* `pass`: what of the host's hardware a VM gets for itself. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/conf/value.h"
#include "qvm-worker/pci/pci.h"
#include "qvm-worker/plan/private.h"

#define PCI_PREFIX "pci:"
#define ID_SIZE    24 /* of "DDDD:BB:DD.F", "VVVV:DDDD/N" */

int plan_pass_open(struct conf_scope *scope, const struct conf_word *option)
{
    const struct conf_word *next =
        scope->next < scope->words->count ? &scope->words->list[scope->next] : NULL;

    if (next == NULL || (strcmp(next->text, "loc") != 0 && strcmp(next->text, "intr") != 0)) {
        return conf_fail(scope->err, option, "'pass' wants 'loc PLACE' or 'intr LINE' behind it");
    }
    scope->context = PLAN_IN_PASS;
    return 0;
}

static int refuse(struct conf_scope *scope, const struct conf_word *word)
{
    return conf_fail(
        scope->err, word,
        "loc '%s' is not pci:[BUS:]DEVICE[.FUNCTION] or pci:VENDOR/DEVICE[/N], with or "
        "without pci:[BUS:]DEVICE[.FUNCTION]= before it",
        word->text);
}

/* VENDOR/DEVICE[/N], hexadecimal but for N. */
static int name_by_ids(const char *text, char id[ID_SIZE])
{
    const char *device = strchr(text, '/') + 1;
    const char *number = strchrnul(device, '/');
    uint64_t values[3] = {0};

    if (conf_parse_number(text, (size_t)(device - 1 - text), CONF_HEX, &values[0]) != 0 ||
        conf_parse_number(device, (size_t)(number - device), CONF_HEX, &values[1]) != 0 ||
        (*number != '\0' &&
         conf_parse_number(number + 1, strlen(number + 1), CONF_DECIMAL, &values[2]) != 0) ||
        values[0] > UINT16_MAX || values[1] > UINT16_MAX || values[2] > UINT8_MAX) {
        return -EINVAL;
    }
    (void)snprintf(id, ID_SIZE, "%04x:%04x/%u", (unsigned)values[0], (unsigned)values[1],
                   (unsigned)values[2]);
    return 0;
}

/* Where the function is on the host; `text` begins with "pci:". */
static int name_device(struct conf_scope *scope, const struct conf_word *word, const char *text,
                       char id[ID_SIZE])
{
    struct err words = {0};
    struct loc loc = {0};

    if (strncmp(text, PCI_PREFIX, strlen(PCI_PREFIX)) != 0) {
        return refuse(scope, word);
    }
    if (strchr(text, '/') != NULL) {
        return name_by_ids(text + strlen(PCI_PREFIX), id) == 0 ? 0 : refuse(scope, word);
    }
    if (loc_parse(text, &loc, &words) != 0) {
        return words.code == -ERANGE ? conf_fail(scope->err, word, "%s", words.msg)
                                     : refuse(scope, word);
    }
    if (!loc.pci.has_device) {
        return refuse(scope, word);
    }
    (void)snprintf(id, ID_SIZE, "0000:%02x:%02x.%x", loc.pci.bus, loc.pci.device, loc.pci.function);
    return 0;
}

/* The part before '=': where the guest finds it. */
static int place_device(struct conf_scope *scope, const struct conf_word *word, size_t size,
                        struct plan_pass *pass)
{
    char text[64];
    struct err words = {0};
    struct loc loc = {0};

    (void)snprintf(text, sizeof(text), "%.*s", (int)(size < sizeof(text) ? size : sizeof(text)),
                   word->text);
    if (loc_parse(text, &loc, &words) != 0) {
        return words.code == -ERANGE ? conf_fail(scope->err, word, "%s", words.msg)
                                     : refuse(scope, word);
    }
    if (loc.kind != LOC_PCI || !loc.pci.has_device) {
        return refuse(scope, word);
    }
    pass->guest = loc.pci;
    return 0;
}

static int add_device(struct conf_scope *scope, const struct conf_word *word)
{
    struct plan *plan = plan_of(scope);
    struct plan_pass *pass = &plan->passes[plan->pass_count];
    const char *equals = strchr(word->text, '=');
    char id[ID_SIZE];
    int r;

    if (plan->pass_count == PLAN_PASSES_MAX) {
        return conf_fail(scope->err, word, "more than %u functions of the host", PLAN_PASSES_MAX);
    }
    *pass = (struct plan_pass){0};
    r = name_device(scope, word, equals != NULL ? equals + 1 : word->text, id);
    if (r == 0 && equals != NULL) {
        r = place_device(scope, word, (size_t)(equals - word->text), pass);
    }
    for (uint32_t i = 0; r == 0 && i < plan->pass_count; i++) {
        if (strcmp(plan->passes[i].id, id) == 0) {
            r = conf_fail(scope->err, word, "device '%s' is passed through at %s already", id,
                          plan->passes[i].where);
        }
    }
    if (r != 0) {
        return r;
    }
    pass->id = plan_keep(plan, scope->err, "%s", id);
    pass->name = plan_keep(plan, scope->err, "device '%s' of the host", id);
    pass->where = plan_where(plan, word, scope->err);
    plan->pass_count++;
    return pass->id != NULL && pass->name != NULL && pass->where != NULL ? 0 : -ENOMEM;
}

/* `io:PORT[,LEN]`: one port if there is no length. */
static int add_ports(struct conf_scope *scope, const struct conf_word *word)
{
    struct plan *plan = plan_of(scope);
    struct plan_ports *ports = &plan->ports[plan->ports_count];
    struct err words = {0};
    struct loc loc = {0};

    if (loc_parse(word->text, &loc, &words) != 0) {
        return conf_fail(scope->err, word, "%s", words.msg);
    }
    if (plan->ports_count == PLAN_PORTS_MAX) {
        return conf_fail(scope->err, word, "more than %u ranges of the host's ports",
                         PLAN_PORTS_MAX);
    }
    *ports = (struct plan_ports){.start = (uint16_t)loc.start,
                                 .size = loc.has_size ? (uint32_t)loc.size : 1};
    ports->name = plan_keep(plan, scope->err, "ports '%s' of the host", word->text);
    ports->where = plan_where(plan, word, scope->err);
    plan->ports_count++;
    return ports->name != NULL && ports->where != NULL ? 0 : -ENOMEM;
}

int plan_pass_loc(struct conf_scope *scope, const struct conf_word *option)
{
    const struct conf_word *word = conf_argument(scope, option);

    if (word == NULL) {
        return -ENOEXEC;
    }
    if (strncmp(word->text, "mem:", 4) == 0) {
        return plan_pass_memory(scope, word);
    }
    if (strncmp(word->text, "io:", 3) == 0) {
        return add_ports(scope, word);
    }
    return add_device(scope, word);
}

int plan_pass_intr(struct conf_scope *scope, const struct conf_word *option)
{
    const struct conf_word *word = conf_argument(scope, option);

    if (word == NULL) {
        return -ENOEXEC;
    }
    return conf_fail(scope->err, word,
                     "intr '%s': an interrupt of the host is given to a VM with its device alone "
                     "(pass loc pci:...): what gives one by its number, CONFIG_VFIO_PLATFORM or "
                     "CONFIG_UIO_PDRV_GENIRQ, is not in kernels of PCs",
                     word->text);
}

int plan_reserve_passes(const struct plan *plan, struct pci *pci, struct err *err)
{
    for (uint32_t i = 0; i < plan->pass_count; i++) {
        const struct plan_pass *pass = &plan->passes[i];
        int r = pass->guest.has_device ? pci_reserve(pci, &pass->guest, pass->name, err) : 0;

        if (r != 0) {
            (void)err_prefix(err, "%s: %s: ", pass->where, pass->name);
            return r;
        }
    }
    return 0;
}
