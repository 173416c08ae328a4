/* ELF executables of both classes: the System V ABI, chapters 4 and 5. */
#include <elf.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/image.h"
#include "qvm-worker/loader/multiboot.h"
#include "qvm-worker/loader/place.h"
#include "qvm-worker/loader/pvh.h"

#define SEGMENTS_MAX 64u /* program headers of one image */
#define LIMIT_32BIT  (1ull << 32)

/* Our copy of what the headers say, whichever class they are of: read once. */
struct elf {
    bool is_64bit;
    uint64_t entry, headers_at;
    uint32_t header_count, header_size;
    uint32_t segment_count, note_count;
    Elf64_Phdr segments[SEGMENTS_MAX]; /* PT_LOAD */
    Elf64_Phdr notes[SEGMENTS_MAX];    /* PT_NOTE */
};

static void take_header_64(const uint8_t *head, struct elf *elf)
{
    Elf64_Ehdr header;

    memcpy(&header, head, sizeof(header));
    elf->is_64bit = true;
    elf->entry = header.e_entry;
    elf->headers_at = header.e_phoff;
    elf->header_count = header.e_phnum;
    elf->header_size = header.e_phentsize;
}

static void take_header_32(const uint8_t *head, struct elf *elf)
{
    Elf32_Ehdr header;

    memcpy(&header, head, sizeof(header));
    elf->entry = header.e_entry;
    elf->headers_at = header.e_phoff;
    elf->header_count = header.e_phnum;
    elf->header_size = header.e_phentsize;
}

/* What lies at the same place in both classes. */
static bool is_for_x86(const uint8_t *head)
{
    Elf32_Ehdr header;

    memcpy(&header, head, sizeof(header));
    return header.e_ident[EI_DATA] == ELFDATA2LSB &&
           ((header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_machine == EM_X86_64) ||
            (header.e_ident[EI_CLASS] == ELFCLASS32 && header.e_machine == EM_386));
}

static int read_header(const struct image *image, const uint8_t *head, struct elf *elf,
                       struct err *err)
{
    bool is_64bit = head[EI_CLASS] == ELFCLASS64;
    size_t size = is_64bit ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
    size_t wanted = is_64bit ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    uint16_t type;

    if (image->size < size) {
        return image_refuse(image, err, "is cut short: an ELF header has %zu bytes", size);
    }
    if (!is_for_x86(head)) {
        return image_refuse(image, err, "is an ELF file, but not for x86");
    }
    memcpy(&type, head + EI_NIDENT, sizeof(type));
    if (type != ET_EXEC) {
        return image_refuse(image, err, "is an ELF file, but not an executable at fixed addresses");
    }
    if (is_64bit) {
        take_header_64(head, elf);
    } else {
        take_header_32(head, elf);
    }
    if (elf->header_size != wanted || elf->header_count == 0 || elf->header_count > SEGMENTS_MAX) {
        return image_refuse(image, err, "has %u program headers of %u bytes; 1-%u of %zu can be",
                            elf->header_count, elf->header_size, SEGMENTS_MAX, wanted);
    }
    return 0;
}

/* Header number `i` of those at `from`, in the form of the wide class. */
static Elf64_Phdr widen(const struct elf *elf, const uint8_t *from, uint32_t i)
{
    Elf64_Phdr wide;
    Elf32_Phdr narrow;

    if (elf->is_64bit) {
        memcpy(&wide, from + i * sizeof(wide), sizeof(wide));
        return wide;
    }
    memcpy(&narrow, from + i * sizeof(narrow), sizeof(narrow));
    return (Elf64_Phdr){.p_type = narrow.p_type,
                        .p_offset = narrow.p_offset,
                        .p_vaddr = narrow.p_vaddr,
                        .p_paddr = narrow.p_paddr,
                        .p_filesz = narrow.p_filesz,
                        .p_memsz = narrow.p_memsz};
}

static int read_segments(const struct image *image, struct elf *elf, struct err *err)
{
    uint8_t all[SEGMENTS_MAX * sizeof(Elf64_Phdr)];
    int r = image_read(image, elf->headers_at, all, (uint64_t)elf->header_count * elf->header_size,
                       err);

    for (uint32_t i = 0; r == 0 && i < elf->header_count; i++) {
        Elf64_Phdr header = widen(elf, all, i);

        if (header.p_type == PT_LOAD && header.p_memsz != 0) {
            elf->segments[elf->segment_count++] = header;
        } else if (header.p_type == PT_NOTE) {
            elf->notes[elf->note_count++] = header;
        }
    }
    if (r == 0 && elf->segment_count == 0) {
        return image_refuse(image, err, "has nothing to load");
    }
    return r;
}

static int load_segments(const struct image *image, const struct elf *elf, struct places *places,
                         struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        struct guest_piece piece = {.offset = segment->p_offset,
                                    .file_size = segment->p_filesz,
                                    .address = segment->p_paddr,
                                    .size = segment->p_memsz};

        if (segment->p_filesz > segment->p_memsz) {
            return image_refuse(image, err,
                                "has a segment with %" PRIu64 " bytes for %" PRIu64 " of memory",
                                segment->p_filesz, segment->p_memsz);
        }
        r = guest_load_piece(image, &piece, places, err);
    }
    return r;
}

static bool is_in(uint64_t address, uint64_t start, uint64_t size)
{
    return address >= start && address - start < size;
}

/* The entry as a physical address: it may be given so, or in the segments' virtual addresses. */
static int find_entry(const struct image *image, const struct elf *elf, bool may_be_virtual,
                      uint64_t entry, uint64_t *address, struct err *err)
{
    for (uint32_t i = 0; i < elf->segment_count; i++) {
        if (is_in(entry, elf->segments[i].p_paddr, elf->segments[i].p_memsz)) {
            *address = entry;
            return 0;
        }
    }
    for (uint32_t i = 0; may_be_virtual && i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];

        if (is_in(entry, segment->p_vaddr, segment->p_memsz)) {
            *address = segment->p_paddr + (entry - segment->p_vaddr);
            return 0;
        }
    }
    return image_refuse(image, err, "starts at 0x%" PRIx64 ", where none of its segments is",
                        entry);
}

static int find_pvh(const struct image *image, const struct elf *elf, bool *is_found,
                    uint64_t *entry, struct err *err)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && !*is_found && i < elf->note_count; i++) {
        r = pvh_find_entry(image, elf->notes[i].p_offset, elf->notes[i].p_filesz, is_found, entry,
                           err);
    }
    return r;
}

/* How it starts: by a PVH note, as multiboot, or at its entry in the mode of its class. */
static int choose_entry(const struct image *image, const struct elf *elf, bool is_pvh,
                        uint64_t pvh_entry, bool is_multiboot, struct guest_boot *boot,
                        struct err *err)
{
    int r = find_entry(image, elf, !is_pvh, is_pvh ? pvh_entry : elf->entry, &boot->entry, err);

    if (r != 0) {
        return r;
    }
    boot->is_32bit = is_pvh || is_multiboot || !elf->is_64bit;
    if (boot->is_32bit && boot->entry >= LIMIT_32BIT) {
        return image_refuse(image, err, "starts in 32-bit mode at 0x%" PRIx64, boot->entry);
    }
    if (is_pvh) {
        pvh_fill(boot);
    } else if (is_multiboot) {
        multiboot_fill(image, boot);
    }
    return 0;
}

int guest_load_elf(const struct image *image, const struct guest_request *request,
                   const uint8_t *head, struct places *places, struct guest_boot *boot,
                   struct err *err)
{
    struct multiboot_header multiboot = {0};
    struct elf elf = {0};
    uint64_t pvh_entry = 0;
    bool is_pvh = false;
    int r = read_header(image, head, &elf, err);

    if (r == 0 && request->has_address) {
        r = image_refuse(image, err, "is an ELF image and says itself where it is loaded");
    }
    r = r == 0 ? read_segments(image, &elf, err) : r;
    r = r == 0 ? find_pvh(image, &elf, &is_pvh, &pvh_entry, err) : r;
    if (r == 0 && !is_pvh) {
        r = multiboot_find(image, &multiboot, err);
    }
    if (r == 0 && multiboot.has_addresses) {
        return multiboot_load(image, &multiboot, places, boot, err);
    }
    r = r == 0 ? load_segments(image, &elf, places, err) : r;
    return r == 0 ? choose_entry(image, &elf, is_pvh, pvh_entry, multiboot.is_found, boot, err) : r;
}
