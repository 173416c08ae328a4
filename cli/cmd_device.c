/* qvmctl device: the host's PCI functions, who has which, and why one cannot be given. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/devices.h"
#include "cli/names.h"
#include "cli/pci_words.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#define CLEAR_MS 90000 /* longer than a reset may take */

/* ---- list ---- */

static const struct table_column columns[] = {
    {"BDF", false, 0},  {"ID", false, 0},    {"CLASS", false, 0}, {"DRIVER", false, 0},
    {"GROUP", true, 0}, {"RESET", false, 0}, {"STATE", false, 0}, {"GUEST", false, 0},
    {"PID", true, 0},   {"NAME", false, 0},  {"WHY", false, 0},
};
#define NARROW (ARRAY_LEN(columns) - 2) /* without -w */

static void add_row(const struct cli *cli, struct table *table, const struct msg_device *device,
                    const struct pci_names *names)
{
    char id[16], name[PCI_NAME_SIZE], reset[64];

    (void)snprintf(id, sizeof(id), "%04x:%04x", (unsigned)device->vendor, (unsigned)device->device);
    (void)snprintf(reset, sizeof(reset), "%s", device->reset != NULL ? device->reset : "");
    for (char *blank = reset; (blank = strchr(blank, ' ')) != NULL;) {
        *blank = ','; /* one word a column */
    }
    table_text(table, device->bdf);
    table_text(table, id);
    table_text(table, pci_class_word(device->class));
    table_text(table, device->driver);
    if (device->iommu_group >= 0) {
        table_number(table, device->iommu_group, false);
    } else {
        table_text(table, NULL);
    }
    table_text(table, reset);
    table_text(table, device_state(device));
    table_text(table, device->guest);
    table_number(table, device->pid, true);
    if (cli->wide) {
        pci_names_find(names, device->vendor, device->device, name);
        table_text(table, name);
        table_text(table, device->refusal);
    }
}

static int print_table(const struct cli *cli, const struct msg_device_list *list)
{
    struct pci_names names = {NULL};
    struct table table;
    int r;

    if (cli->wide) {
        pci_names_load(&names, NULL);
    }
    table_init(&table, columns, cli->wide ? ARRAY_LEN(columns) : NARROW);
    for (size_t i = 0; i < list->devices_count; i++) {
        add_row(cli, &table, &list->devices[i], &names);
    }
    r = table_print(&table, !cli->no_headers, stdout);
    table_fini(&table);
    pci_names_fini(&names);
    if (list->left_out > 0) {
        cli_note(cli, "%" PRId64 " more functions are not listed", list->left_out);
    }
    return r;
}

/* ---- show ---- */

#define TEXT(member)   REPORT_MEMBER_TEXT(struct msg_device, member)
#define NUMBER(member) REPORT_MEMBER_NUMBER(struct msg_device, member)

static const struct report_row device_rows[] = {
    {"serial number", TEXT(serial)},
    {"driver", TEXT(driver)},
    {"reset", TEXT(reset)},
    {"interrupt pin", NUMBER(interrupt_pin)},
    {"VFs", NUMBER(vfs)},
    {"VFs at most", NUMBER(vfs_max)},
    {"VF of", TEXT(physical)},
    {"name in the pool", TEXT(pool)},
    {"guest", TEXT(guest)},
    {"pid", NUMBER(pid)},
    {"host uses it", TEXT(use)},
    {"set aside", TEXT(trouble)},
    {"cannot be given", TEXT(refusal)},
};

/* A line of numbers; nothing when `number` is not known. */
static void report_number(const char *name, int64_t number)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRId64, number);
    report_text(name, number >= 0 ? text : NULL);
}

static void print_bars(const struct msg_device *device)
{
    for (size_t i = 0; i < device->bars_count; i++) {
        const struct msg_device_bar *bar = &device->bars[i];
        char name[32], text[128], size[TEXT_SHORT_SIZE];

        text_size(size, bar->size);
        (void)snprintf(name, sizeof(name), bar->bar == 6 ? "rom" : "bar %" PRId64, bar->bar);
        (void)snprintf(text, sizeof(text), "%s of %.40s at %" PRIx64, size, bar->kind,
                       (uint64_t)bar->start);
        report_text(name, text);
    }
}

static void print_one(const struct msg_device *device, const struct pci_names *names)
{
    char text[128], name[PCI_NAME_SIZE];

    report_text("device", device->bdf);
    (void)snprintf(text, sizeof(text), "%04x:%04x (board %04x:%04x, revision %" PRId64 ")",
                   (unsigned)device->vendor, (unsigned)device->device, (unsigned)device->subvendor,
                   (unsigned)device->subdevice, device->revision);
    report_text("id", text);
    pci_names_find(names, device->vendor, device->device, name);
    report_text("name", name);
    (void)snprintf(text, sizeof(text), "%s (%06x)", pci_class_word(device->class),
                   (unsigned)device->class);
    report_text("class", text);
    report_text("state", device_state(device));
    report_number("iommu group", device->iommu_group);
    report_number("node", device->node);
    report_rows(device_rows, ARRAY_LEN(device_rows), device);
    print_bars(device);
}

static void print_report(const struct msg_device_list *list)
{
    struct pci_names names = {NULL};

    pci_names_load(&names, NULL);
    for (size_t i = 0; i < list->devices_count; i++) {
        if (i > 0) {
            (void)putchar('\n'); /* main() looks at stdout's errors */
        }
        print_one(&list->devices[i], &names);
    }
    pci_names_fini(&names);
}

/* ---- both ---- */

static void print_data(const struct cli *cli, const struct msg_device_list *list)
{
    auto_free char *whole = cli->format == FORMAT_JSON ? msg_encode(MSG_device_list, list) : NULL;

    if (whole != NULL) {
        (void)puts(whole);
        return;
    }
    for (size_t i = 0; i < list->devices_count; i++) {
        auto_free char *line =
            cli->format == FORMAT_JSONL ? msg_encode(MSG_device, &list->devices[i]) : NULL;

        text_print(stdout, line != NULL ? line : list->devices[i].bdf);
        (void)putchar('\n');
    }
}

/* Move those that `patterns` name to the front, in their order; says which name nothing. Without
 * patterns all are meant. Returns how many are, and in `*is_whole` whether each named something. */
static size_t choose(const struct msg_device_list *list, char **patterns, int count, bool *is_whole)
{
    size_t meant = count == 0 ? list->devices_count : 0;

    for (int j = 0; j < count; j++) {
        bool is_hit = false;

        for (size_t i = 0; i < list->devices_count; i++) {
            struct msg_device device = list->devices[i];

            if (!names_match(patterns[j], device.bdf)) {
                continue;
            }
            is_hit = true;
            if (i >= meant) {
                list->devices[i] = list->devices[meant];
                list->devices[meant++] = device;
            }
        }
        if (!is_hit) {
            struct err err = {0};

            (void)err_set(&err, -ENODEV, "there is no PCI function '%s'", patterns[j]);
            (void)cli_fail(&err);
            *is_whole = false;
        }
    }
    return meant;
}

static int show(const struct cli *cli, bool is_report, char **patterns, int count)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLIENT_READ_MS;
    auto_client struct client client = CLIENT_CLOSED;
    struct msg_device_list all = {0}, meant;
    struct err err = {0};
    bool is_whole = true;
    int r = client_init(&client, cli, patience, &err);

    r = r == 0 ? client_ask(&client, METHOD_devices, &(struct msg_none){}, &all, &err) : r;
    if (r == 0) {
        meant = all;
        meant.devices_count = choose(&all, patterns, count, &is_whole);
        if (cli->format != FORMAT_TABLE) {
            print_data(cli, &meant);
        } else if (is_report) {
            print_report(&meant);
        } else if (print_table(cli, &meant) != 0) {
            r = err_set(&err, -ENOMEM, "out of memory");
        }
    }
    msg_fini(MSG_device_list, &all);
    return r != 0 ? cli_fail(&err) : is_whole ? STATUS_OK : STATUS_FAILED;
}

/* ---- clear ---- */

static int clear(const struct cli *cli, char **devices, int count)
{
    int64_t patience = cli->timeout_ms != 0 ? cli->timeout_ms : CLEAR_MS;
    auto_client struct client client = CLIENT_CLOSED;
    struct err err = {0};
    int r = client_init(&client, cli, patience, &err);
    int failures = 0;

    if (r != 0) {
        return cli_fail(&err);
    }
    for (int i = 0; i < count; i++) {
        struct msg_cleared cleared = {0};
        int status = STATUS_OK;

        if (client_ask(&client, METHOD_device_clear,
                       &(struct msg_device_params){.device = devices[i]}, &cleared, &err) != 0) {
            status = cli_fail(&err);
            failures++;
        } else if (cleared.note != NULL) {
            cli_note(cli, "device '%s': %s", devices[i], cleared.note);
        }
        msg_fini(MSG_cleared, &cleared);
        if (count == 1) {
            return status;
        }
    }
    return failures == 0 ? STATUS_OK : failures == count ? STATUS_FAILED : STATUS_SOME_FAILED;
}

static int run(const struct cli *cli, int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[0], "clear") == 0) {
        return clear(cli, argv + 1, argc - 1);
    }
    if (argc == 0 || strcmp(argv[0], "list") == 0) {
        return show(cli, false, argv + 1, argc > 0 ? argc - 1 : 0);
    }
    if (strcmp(argv[0], "show") != 0 && strcmp(argv[0], "clear") != 0) {
        return cli_usage("device knows 'list', 'show' and 'clear', not '%s'", argv[0]);
    }
    return argc > 1 ? show(cli, true, argv + 1, argc - 1)
                    : cli_usage("device %s: which? 'qvmctl device list' tells them", argv[0]);
}

const struct command command_device = {
    .name = "device",
    .synopsis = "[list [BDF ...] | show BDF ... | clear BDF ...]",
    .most = COMMAND_ANY_COUNT,
    .help = "the host's PCI functions: who has which, why one cannot be given",
    .formats = FORMATS_ALL,
    .run = run,
};
