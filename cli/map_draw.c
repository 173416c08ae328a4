/* The host as a picture, SVG 1.1: boxes for CPUs and devices, bars for memory, a colour for each
 * guest, which is that of its name. What does not fit into a box is its <title>. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/devices.h"
#include "cli/map.h"
#include "cli/pci_words.h"
#include "cli/text.h"
#include "proto/base/cleanup.h"

#define WIDTH       960
#define MARGIN      20
#define INNER       (WIDTH - 2 * MARGIN)
#define CPU_WIDTH   56
#define CPU_HEIGHT  34
#define CPUS_A_ROW  (INNER / CPU_WIDTH)
#define BAR_HEIGHT  26
#define BOX_WIDTH   220
#define BOX_HEIGHT  40
#define BOXES_A_ROW (INNER / (BOX_WIDTH + 8))
#define NAME_WIDTH  152
#define NAMES_A_ROW (INNER / NAME_WIDTH)
#define LINE        18

#define FREE_COLOUR   "#ffffff"
#define HOST_COLOUR   "#c8c8c8"
#define SHARED_COLOUR "#e8eef6"

struct picture {
    const struct map *map;
    FILE *out;
    int y; /* what comes next begins there */
};

/* ---- texts and colours ---- */

static void put_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            (void)fputs("&lt;", out);
            break;
        case '>':
            (void)fputs("&gt;", out);
            break;
        case '&':
            (void)fputs("&amp;", out);
            break;
        case '"':
            (void)fputs("&quot;", out);
            break;
        default: /* XML knows no control characters, and we no letters beyond ASCII here */
            (void)putc(*text >= ' ' && *text <= '~' ? *text : '?', out);
        }
    }
}

/* A light colour that a name always has. */
static void colour_of(const char *name, char colour[8])
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    unsigned hue, rest, part[3] = {150, 150, 150};

    for (const char *at = name; *at != '\0'; at++) {
        hash = (hash ^ (uint8_t)*at) * 16777619u;
    }
    hue = hash % 360;
    rest = hue % 120 * 105 / 120; /* on the way from one basic colour to the next */
    part[hue / 120] += 105 - rest;
    part[(hue / 120 + 1) % 3] += rest;
    part[2] -= (hash >> 16) % 40;
    (void)snprintf(colour, 8, "#%02x%02x%02x", part[0], part[1], part[2]);
}

static void heading(struct picture *picture, const char *text)
{
    picture->y += LINE + 10;
    (void)fprintf(picture->out, "<text x=\"%d\" y=\"%d\" class=\"h\">%s</text>\n", MARGIN,
                  picture->y, text);
    picture->y += 8;
}

/* A box with a title; it stays open for the texts in it, and ends by end_box(). */
static void begin_box(const struct picture *picture, int x, int width, int height,
                      const char *colour, const char *class)
{
    (void)fprintf(picture->out,
                  "<g><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"%s%s%s/>", x,
                  picture->y, width, height, colour, *class != '\0' ? " class=\"" : "", class,
                  *class != '\0' ? "\"" : "");
}

static void put_title(const struct picture *picture, const char *what, const char *who,
                      const char *more)
{
    (void)fputs("<title>", picture->out);
    put_text(picture->out, what);
    (void)fputs(who != NULL ? ": " : "", picture->out);
    put_text(picture->out, who != NULL ? who : "");
    (void)fputs(more != NULL ? ", " : "", picture->out);
    put_text(picture->out, more != NULL ? more : "");
    (void)fputs("</title>", picture->out);
}

static void put_label(const struct picture *picture, int x, int dy, size_t most, const char *text)
{
    char cut[32];

    (void)snprintf(cut, sizeof(cut), "%.*s", (int)most, text);
    (void)fprintf(picture->out, "<text x=\"%d\" y=\"%d\">", x, picture->y + dy);
    put_text(picture->out, cut);
    (void)fputs("</text>", picture->out);
}

static void end_box(const struct picture *picture)
{
    (void)fputs("</g>\n", picture->out);
}

/* ---- CPUs ---- */

static void draw_cpu(const struct picture *picture, const struct msg_host_cpu *cpu, int x)
{
    bool is_exclusive = strcmp(cpu->use, "exclusive") == 0;
    char colour[8], what[64];

    (void)snprintf(colour, sizeof(colour), "%s",
                   is_exclusive             ? FREE_COLOUR
                   : cpu->partition != NULL ? SHARED_COLOUR
                                            : HOST_COLOUR);
    if (cpu->guest != NULL) {
        colour_of(cpu->guest, colour);
    }
    begin_box(picture, x, CPU_WIDTH - 4, CPU_HEIGHT - 4, colour, cpu->housekeeping ? "k" : "");
    (void)snprintf(what, sizeof(what), "CPU %" PRId64 " (node %" PRId64 "), %.20s", cpu->cpu,
                   cpu->node, cpu->use);
    put_title(picture, what, cpu->guest != NULL ? cpu->guest : cpu->partition,
              cpu->housekeeping ? "housekeeping" : NULL);
    (void)snprintf(what, sizeof(what), "%" PRId64, cpu->cpu);
    put_label(picture, x + 4, 13, 6, what);
    put_label(picture, x + 4, 26, 8,
              cpu->guest != NULL       ? cpu->guest
              : cpu->partition != NULL ? cpu->partition
                                       : "-");
    end_box(picture);
}

static void draw_cpus(struct picture *picture)
{
    const struct msg_partitions *division = picture->map->division;
    int column = 0;

    heading(picture, "CPUs");
    for (size_t i = 0; i < division->cpus_count; i++) {
        bool is_next_node = i > 0 && division->cpus[i].node != division->cpus[i - 1].node;

        if (column == CPUS_A_ROW || is_next_node) {
            picture->y += CPU_HEIGHT + (is_next_node ? 6 : 0);
            column = 0;
        }
        draw_cpu(picture, &division->cpus[i], MARGIN + column * CPU_WIDTH);
        column++;
    }
    picture->y += CPU_HEIGHT;
}

/* ---- memory ---- */

static int draw_partition(struct picture *picture, const struct msg_partition *partition)
{
    double total = partition->memory > 0 ? (double)partition->memory : 1, sum = 0;
    char size[TEXT_SHORT_SIZE], colour[8];
    size_t count;
    auto_free const struct msg_share **shares =
        map_shares(picture->map->division, partition->name, &count);

    if (shares == NULL) {
        return -ENOMEM;
    }
    text_size(size, partition->memory - partition->memory_claimed);
    picture->y += LINE;
    (void)fprintf(picture->out, "<text x=\"%d\" y=\"%d\">", MARGIN, picture->y - 4);
    put_text(picture->out, partition->name);
    (void)fprintf(picture->out, ": %s left of ", size);
    text_size(size, partition->memory);
    (void)fprintf(picture->out, "%s</text>\n", size);
    begin_box(picture, MARGIN, INNER, BAR_HEIGHT, FREE_COLOUR, "");
    end_box(picture);
    for (size_t i = 0; i < count; i++) {
        int x = (int)(sum / total * INNER), next;

        sum += (double)shares[i]->memory;
        next = (int)(sum / total * INNER);
        next = next > INNER ? INNER : next;
        colour_of(shares[i]->guest, colour);
        begin_box(picture, MARGIN + x, next > x ? next - x : 1, BAR_HEIGHT, colour, "");
        text_size(size, shares[i]->memory);
        put_title(picture, shares[i]->guest, size, NULL);
        if (next - x > 60) {
            put_label(picture, MARGIN + x + 4, 17, (size_t)(next - x) / 8, shares[i]->guest);
        }
        end_box(picture);
    }
    picture->y += BAR_HEIGHT;
    return 0;
}

static int draw_memory(struct picture *picture)
{
    const struct msg_partitions *division = picture->map->division;
    int r = 0;

    heading(picture, "Memory");
    for (size_t i = 0; r == 0 && i < division->partitions_count; i++) {
        r = draw_partition(picture, &division->partitions[i]);
    }
    return r;
}

/* ---- devices ---- */

static void draw_device(const struct picture *picture, const struct msg_device *device, int x)
{
    const char *state = device_state(device);
    char colour[8] = HOST_COLOUR, text[64];

    if (device->guest != NULL) {
        colour_of(device->guest, colour);
    } else if (strcmp(state, "free") == 0) {
        memcpy(colour, FREE_COLOUR, sizeof(colour));
    }
    begin_box(picture, x, BOX_WIDTH, BOX_HEIGHT - 6, colour, "");
    put_title(picture, device->bdf, device->guest != NULL ? device->guest : state, device->refusal);
    (void)snprintf(text, sizeof(text), "%s %s", device->bdf, pci_class_word(device->class));
    put_label(picture, x + 4, 13, 28, text);
    if (device->iommu_group >= 0) {
        (void)snprintf(text, sizeof(text), "group %" PRId64 ": %.20s", device->iommu_group,
                       device->guest != NULL ? device->guest : state);
    } else {
        (void)snprintf(text, sizeof(text), "%.20s", device->guest != NULL ? device->guest : state);
    }
    put_label(picture, x + 4, 27, 28, text);
    end_box(picture);
}

/* Functions of one group stand side by side, close to each other. */
static void draw_devices(struct picture *picture)
{
    const struct msg_device_list *devices = picture->map->devices;
    int column = 0;

    heading(picture, "Devices");
    for (size_t i = 0; i < devices->devices_count; i++) {
        if (column == BOXES_A_ROW) {
            picture->y += BOX_HEIGHT;
            column = 0;
        }
        draw_device(picture, &devices->devices[i], MARGIN + column * (BOX_WIDTH + 8));
        column++;
    }
    picture->y += BOX_HEIGHT;
}

/* ---- who is who ---- */

static void draw_guests(struct picture *picture)
{
    const struct msg_partitions *division = picture->map->division;
    int column = 0;

    heading(picture, "Guests");
    for (size_t i = 0; i < division->shares_count; i++) {
        const struct msg_share *share = &division->shares[i];
        int x = MARGIN + column * NAME_WIDTH;
        char colour[8], size[TEXT_SHORT_SIZE];

        colour_of(share->guest, colour);
        text_size(size, share->memory);
        begin_box(picture, x, 12, 12, colour, "");
        put_title(picture, share->guest, size, share->partition);
        put_label(picture, x + 16, 10, 18, share->guest);
        end_box(picture);
        column++;
        if (column == NAMES_A_ROW) {
            picture->y += LINE;
            column = 0;
        }
    }
    picture->y += LINE;
}

/* How high all of it becomes is known when it is drawn: the parts go into memory first. */
int map_draw(const struct map *map, FILE *out)
{
    auto_free char *parts = NULL;
    size_t size = 0;
    struct picture picture = {.map = map, .out = open_memstream(&parts, &size)};
    int r;

    if (picture.out == NULL) {
        return -ENOMEM;
    }
    draw_cpus(&picture);
    r = draw_memory(&picture);
    if (r == 0) {
        draw_devices(&picture);
        draw_guests(&picture);
    }
    if (fclose(picture.out) != 0 || r < 0) {
        return -ENOMEM;
    }
    (void)fprintf(out,
                  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"%d\" "
                  "height=\"%d\" viewBox=\"0 0 %d %d\">\n"
                  "<style>text{font:11px sans-serif}.h{font:bold 14px sans-serif}"
                  "rect{stroke:#505050;stroke-width:1}.k{stroke-width:3}</style>\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"#fcfcfc\"/>\n%s</svg>\n",
                  WIDTH, picture.y + MARGIN, WIDTH, picture.y + MARGIN, parts);
    return 0;
}
