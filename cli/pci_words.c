/* What PCI functions are called by people. */
#include "cli/pci_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/cleanup.h"

#define LIST_MOST (16u << 20) /* bytes of a list; today's has less than 2 MiB */
#define ANY       0x100

/* Base class and subclass: PCI Code and ID Assignment Specification, 1. */
static const struct {
    int base, sub;
    const char *word;
} classes[] = {
    {0x01, 0x01, "ide"},        {0x01, 0x04, "raid"},        {0x01, 0x06, "sata"},
    {0x01, 0x07, "sas"},        {0x01, 0x08, "nvme"},        {0x01, ANY, "storage"},
    {0x02, 0x00, "ethernet"},   {0x02, ANY, "network"},      {0x03, 0x00, "vga"},
    {0x03, ANY, "display"},     {0x04, 0x01, "audio"},       {0x04, 0x03, "audio"},
    {0x04, ANY, "multimedia"},  {0x05, ANY, "memory"},       {0x06, 0x00, "host-bridge"},
    {0x06, 0x01, "isa-bridge"}, {0x06, 0x04, "pci-bridge"},  {0x06, ANY, "bridge"},
    {0x07, 0x00, "serial"},     {0x07, 0x01, "parallel"},    {0x07, ANY, "communication"},
    {0x08, 0x05, "sd-card"},    {0x08, 0x06, "iommu"},       {0x08, ANY, "system"},
    {0x09, ANY, "input"},       {0x0a, ANY, "docking"},      {0x0b, ANY, "processor"},
    {0x0c, 0x03, "usb"},        {0x0c, 0x05, "smbus"},       {0x0c, 0x09, "can"},
    {0x0c, ANY, "bus"},         {0x0d, ANY, "wireless"},     {0x0e, ANY, "intelligent"},
    {0x0f, ANY, "satellite"},   {0x10, ANY, "encryption"},   {0x11, ANY, "signal"},
    {0x12, ANY, "accelerator"}, {0x40, ANY, "co-processor"},
};

const char *pci_class_word(int64_t class)
{
    int base = (int)(class >> 16 & 0xff), sub = (int)(class >> 8 & 0xff);

    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (classes[i].base == base && (classes[i].sub == sub || classes[i].sub == ANY)) {
            return classes[i].word;
        }
    }
    return "other";
}

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    long end;

    if (file == NULL) {
        return NULL;
    }
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0 && end <= (long)LIST_MOST &&
        fseek(file, 0, SEEK_SET) == 0 && (text = malloc((size_t)end + 2)) != NULL) {
        text[0] = '\n'; /* before each line is one */
        size = fread(text + 1, 1, (size_t)end, file);
        text[size + 1] = '\0';
    }
    (void)fclose(file); /* only read from */
    return text;
}

void pci_names_load(struct pci_names *names, const char *const *paths)
{
    static const char *const usual[] = {"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids",
                                        NULL};

    names->text = NULL;
    for (paths = paths != NULL ? paths : usual; *paths != NULL && names->text == NULL; paths++) {
        names->text = read_whole(*paths);
    }
}

void pci_names_fini(struct pci_names *names)
{
    free(names->text);
    names->text = NULL;
}

/* What stands behind `head`, up to the line's end; returns how much was added. */
static size_t copy_rest(const char *line, const char *head, char *to, size_t size)
{
    const char *rest = line + strlen(head);
    int length;

    rest += strspn(rest, " ");
    length = snprintf(to, size, "%.*s", (int)strcspn(rest, "\r\n"), rest);
    return (size_t)length < size ? (size_t)length : size - 1;
}

/* A line for each vendor, "1234  NAME"; below it its devices, "<tab>5678  NAME". */
void pci_names_find(const struct pci_names *names, int64_t vendor, int64_t device,
                    char name[PCI_NAME_SIZE])
{
    char head[16];
    const char *line, *next;
    size_t used;

    name[0] = '\0';
    (void)snprintf(head, sizeof(head), "\n%04x  ", (unsigned)(vendor & 0xffff));
    line = names->text != NULL ? strstr(names->text, head) : NULL;
    if (line == NULL) {
        return;
    }
    used = copy_rest(line, head, name, PCI_NAME_SIZE);
    (void)snprintf(head, sizeof(head), "\n\t%04x  ", (unsigned)(device & 0xffff));
    for (line = strchr(line + 1, '\n'); line != NULL && (line[1] == '\t' || line[1] == '#');
         line = next) {
        next = strchr(line + 1, '\n');
        if (strncmp(line, head, strlen(head)) == 0 && used + 2 < PCI_NAME_SIZE) {
            name[used++] = ' ';
            (void)copy_rest(line, head, name + used, PCI_NAME_SIZE - used);
            return;
        }
    }
}
