/* ELF64 executables: the System V ABI, chapter 5. */
#include <elf.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/err.h"
#include "qvm-worker/loader/guest.h"
#include "qvm-worker/loader/image.h"
#include "qvm-worker/loader/place.h"

#define SEGMENTS_MAX 64u /* program headers of one image */

struct segments {
    uint32_t count;
    Elf64_Phdr list[SEGMENTS_MAX]; /* our copy: read once */
};

static int check_header(const struct image *image, const Elf64_Ehdr *header, struct err *err)
{
    if (image->size < sizeof(*header)) {
        return image_refuse(image, err, "is cut short: an ELF header has %zu bytes",
                            sizeof(*header));
    }
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_machine != EM_X86_64) {
        return image_refuse(image, err, "is an ELF file, but not for 64-bit x86");
    }
    if (header->e_type != ET_EXEC) {
        return image_refuse(image, err, "is an ELF file, but not an executable at fixed addresses");
    }
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
        header->e_phnum > SEGMENTS_MAX) {
        return image_refuse(image, err, "has %u program headers of %u bytes; 1-%u of %zu can be",
                            header->e_phnum, header->e_phentsize, SEGMENTS_MAX, sizeof(Elf64_Phdr));
    }
    return 0;
}

static int load_segment(const struct image *image, const Elf64_Phdr *segment, struct places *places,
                        struct err *err)
{
    uint8_t *to;
    int r;

    if (segment->p_filesz > segment->p_memsz) {
        return image_refuse(image, err,
                            "has a segment with %" PRIu64 " bytes for %" PRIu64 " of memory",
                            segment->p_filesz, segment->p_memsz);
    }
    r = places_take(places, image, segment->p_paddr, segment->p_memsz, err);
    if (r == 0) {
        r = image_read_to_guest(image, segment->p_offset, places->memory, segment->p_paddr,
                                segment->p_filesz, err);
    }
    if (r == 0) {
        to = memory_span(places->memory, gpa(segment->p_paddr), segment->p_memsz);
        memset(to + segment->p_filesz, 0, segment->p_memsz - segment->p_filesz);
    }
    return r;
}

static bool is_in(uint64_t address, uint64_t start, uint64_t size)
{
    return address >= start && address - start < size;
}

/* The entry as a physical address: it may be given so, or in the segments' virtual addresses. */
static bool find_entry(const struct segments *segments, uint64_t entry, uint64_t *address)
{
    for (uint32_t i = 0; i < segments->count; i++) {
        if (is_in(entry, segments->list[i].p_paddr, segments->list[i].p_memsz)) {
            *address = entry;
            return true;
        }
    }
    for (uint32_t i = 0; i < segments->count; i++) {
        const Elf64_Phdr *segment = &segments->list[i];

        if (is_in(entry, segment->p_vaddr, segment->p_memsz)) {
            *address = segment->p_paddr + (entry - segment->p_vaddr);
            return true;
        }
    }
    return false;
}

static int read_segments(const struct image *image, const Elf64_Ehdr *header,
                         struct segments *segments, struct err *err)
{
    Elf64_Phdr all[SEGMENTS_MAX];
    int r = image_read(image, header->e_phoff, all, header->e_phnum * sizeof(all[0]), err);

    for (uint32_t i = 0; r == 0 && i < header->e_phnum; i++) {
        if (all[i].p_type == PT_LOAD && all[i].p_memsz != 0) {
            segments->list[segments->count++] = all[i];
        }
    }
    if (r == 0 && segments->count == 0) {
        return image_refuse(image, err, "has nothing to load");
    }
    return r;
}

int guest_load_elf(const struct image *image, const struct guest_request *request,
                   const uint8_t *head, struct places *places, struct guest_boot *boot,
                   struct err *err)
{
    struct segments segments = {0};
    Elf64_Ehdr header;
    int r;

    memcpy(&header, head, sizeof(header));
    r = check_header(image, &header, err);
    if (r == 0 && request->has_address) {
        r = image_refuse(image, err, "is an ELF image and says itself where it is loaded");
    }
    if (r == 0) {
        r = read_segments(image, &header, &segments, err);
    }
    for (uint32_t i = 0; r == 0 && i < segments.count; i++) {
        r = load_segment(image, &segments.list[i], places, err);
    }
    if (r == 0 && !find_entry(&segments, header.e_entry, &boot->entry)) {
        r = image_refuse(image, err, "starts at 0x%" PRIx64 ", where none of its segments is",
                         header.e_entry);
    }
    if (r == 0) {
        boot->kind = GUEST_ELF;
    }
    return r;
}
