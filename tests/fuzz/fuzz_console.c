/* The console ring with a header and a reader's wishes that a stranger made up; and, with an honest
 * header, the ring against a plain model of it. */
#include "proto/console.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADER_SIZE 32

/* How much one input may write and read in all: what is checked byte by byte takes its time under
 * the sanitizers. The ring begins shortly before its end, so that a few bytes go around it. */
#define WORK_MAX 4096u

static uint8_t memory[CONSOLE_RING_SIZE] __attribute__((aligned(4096)));

static void expect(bool is_so)
{
    if (!is_so) {
        abort();
    }
}

static void read_once(const struct console_ring *ring, uint64_t offset, size_t size)
{
    uint8_t *buffer = malloc(size + 1); /* exact, so that one byte too many is seen */
    uint64_t lost = 0;
    uint64_t before = offset;
    size_t n;

    expect(buffer != NULL);
    n = console_ring_read(ring, &offset, buffer, size, &lost);
    expect(n <= size && offset >= n && (n == 0 || offset >= before));
    free(buffer);
}

/* A stranger's header: the first bytes of the page are the input. */
static void read_strangers(const uint8_t *data, size_t size)
{
    struct err err = {0};
    uint64_t offset;
    uint16_t want;

    if (size < HEADER_SIZE + sizeof(offset) + sizeof(want)) {
        return;
    }
    memcpy(memory, data, HEADER_SIZE);
    memcpy(&offset, data + HEADER_SIZE, sizeof(offset));
    memcpy(&want, data + HEADER_SIZE + sizeof(offset), sizeof(want));
    if (console_ring_check(memory, CONSOLE_RING_SIZE, &err) != 0) {
        expect(err.msg[0] != '\0');
    }
    /* Reading must be safe even if the header became garbage after the check. */
    read_once((const struct console_ring *)memory, offset, want % (2 * WORK_MAX));
}

static size_t scaled(uint8_t byte)
{
    return byte < 0xf0 ? byte : (size_t)(byte - 0xe0) * 64;
}

/* An honest ring: each two input bytes are a write and a read of so many (scaled) bytes. */
static void write_and_read(const uint8_t *data, size_t size)
{
    struct console_ring *ring = console_ring_init(memory);
    static uint8_t bytes[WORK_MAX];
    uint64_t written = CONSOLE_RING_CAPACITY - 100, offset = written, lost = 0, got = written;
    uint64_t known = written; /* from here on the ring holds what we wrote */

    memcpy(memory + 16, &written, sizeof(written)); /* `begun` and `written`, see console.c */
    memcpy(memory + 24, &written, sizeof(written));
    for (size_t i = 0, work = 0; i + 1 < size && work < WORK_MAX; i += 2) {
        size_t count = scaled(data[i]), wanted = scaled(data[i + 1]);
        size_t n;

        work += count + wanted;
        for (size_t j = 0; j < count; j++) {
            bytes[j] = (uint8_t)((written + j) * 37);
        }
        console_ring_write(ring, bytes, count);
        written += count;
        if (data[i + 1] == 0xff) { /* a jump: as if much had been written that nobody read */
            written += CONSOLE_RING_CAPACITY;
            memcpy(memory + 16, &written, sizeof(written));
            memcpy(memory + 24, &written, sizeof(written));
            known = written;
        }
        n = console_ring_read(ring, &offset, bytes, wanted, &lost);
        for (size_t j = 0; j < n; j++) {
            expect(offset - n + j < known || bytes[j] == (uint8_t)((offset - n + j) * 37));
        }
        got += n;
        expect(offset == got + lost && offset <= written && console_ring_end(ring) == written);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && (data[0] & 1) != 0) {
        write_and_read(data + 1, size - 1);
    } else if (size > 0) {
        read_strangers(data + 1, size - 1);
    }
    return 0;
}
