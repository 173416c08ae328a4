/* What the guest does with virtio devices when it is told to. */
#include "tests/guests/bare/console.h"
#include "tests/guests/bare/interrupts.h"
#include "tests/guests/bare/machine.h"
#include "tests/guests/bare/text.h"
#include "tests/guests/bare/virtio.h"
#include "tests/guests/bare/virtio_registers.h"

#define SECTOR          512U
#define PATTERN_PRIME   0x9e3779b97f4a7c15ULL
#define BLK_HEADER      VIRTIO_BUFFER
#define BLK_STATUS      (VIRTIO_BUFFER + 0x100)
#define BLK_DATA        (VIRTIO_BUFFER + 0x1000)
#define BLK_SECTORS_MAX 2048U
#define RNG_MAX         64U
#define FLIGHT          4U
#define QUIET_TICKS     50U

enum { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_ID_SIZE = 20 };
enum { BLK_DISCARD = 11, BLK_WRITE_ZEROES = 13 };

struct blk_header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};

struct blk_range {
    uint64_t sector;
    uint32_t count, flags;
};

/* ADDRESS (hex; below 20 a device of PCI bus 0) and GSI (decimal; there 1: by MSI-X), which each
 * command begins with. */
static bool parse_place(const char **arguments, uint64_t *address, uint8_t *gsi)
{
    uint64_t value;

    if (!text_number(*arguments, 16, address, arguments) ||
        !text_number(*arguments, 10, &value, arguments) || value > 23) {
        print("where? ADDRESS GSI\n");
        return false;
    }
    *gsi = (uint8_t)value;
    *arguments = text_skip_blanks(*arguments);
    return true;
}

/* rng ADDRESS GSI N: N random bytes in one request of two pieces. */
void virtio_command_rng(const char *arguments)
{
    struct virtio_piece pieces[] = {{VIRTIO_BUFFER, 1, true}, {VIRTIO_BUFFER + 1, 0, true}};
    const uint8_t *bytes = (const uint8_t *)VIRTIO_BUFFER;
    uint64_t address, count;
    uint32_t size;
    uint8_t gsi;

    if (!parse_place(&arguments, &address, &gsi) || !text_number(arguments, 10, &count, NULL) ||
        count < 2 || count > RNG_MAX) {
        print("how many bytes? 2 to 64\n");
        return;
    }
    pieces[1].size = (uint32_t)count - 1;
    if (!virtio_open(address, VIRTIO_ID_RNG, gsi)) {
        return;
    }
    size = virtio_request(pieces, 2);
    if (size == UINT32_MAX) {
        return;
    }
    print("rng: %u bytes:", (uint64_t)size);
    for (uint32_t i = 0; i < size && i < RNG_MAX; i++) {
        print(" %x", (uint64_t)bytes[i]);
    }
    print("\n");
}

/* master ADDRESS GSI: a request of random bytes while the device is no bus master, which it answers
 * when it is one again. */
void virtio_command_master(const char *arguments)
{
    const struct virtio_piece piece = {VIRTIO_BUFFER, RNG_MAX, true};
    volatile uint64_t *bytes = (volatile uint64_t *)VIRTIO_BUFFER;
    bool is_touched = false;
    uint64_t address;
    uint8_t gsi;

    if (!parse_place(&arguments, &address, &gsi) || !virtio_open(address, VIRTIO_ID_RNG, gsi) ||
        !virtio_set_master(false)) {
        return;
    }
    for (unsigned i = 0; i < RNG_MAX / sizeof(*bytes); i++) {
        bytes[i] = 0;
    }
    virtio_offer(&piece, 1);
    virtio_notify();
    timer_start();
    timer_wait(QUIET_TICKS);
    timer_stop();
    for (unsigned i = 0; i < RNG_MAX / sizeof(*bytes); i++) {
        is_touched = is_touched || bytes[i] != 0;
    }
    print("master: %s before\n", virtio_is_done() || is_touched ? "an answer" : "nothing");
    (void)virtio_set_master(true);
    print("master: %s after\n", virtio_wait_all() && bytes[0] != 0 ? "an answer" : "nothing");
}

/* One request of a disk; returns its status byte, 255: it did not end. */
static uint8_t blk(uint32_t type, uint64_t sector, uint32_t size)
{
    struct virtio_piece pieces[3] = {{BLK_HEADER, sizeof(struct blk_header), false}};
    struct blk_header *header = (struct blk_header *)BLK_HEADER;
    volatile uint8_t *status = (volatile uint8_t *)BLK_STATUS;
    unsigned count = 1;

    header->type = type;
    header->reserved = 0;
    header->sector = sector;
    *status = 255;
    if (size > 0) {
        bool is_written = type == BLK_IN || type == BLK_GET_ID;

        pieces[count++] = (struct virtio_piece){BLK_DATA, size, is_written};
    }
    pieces[count++] = (struct virtio_piece){BLK_STATUS, 1, true};
    (void)virtio_request(pieces, count);
    return *status;
}

/* The first word of each sector tells where it is, and all of them who wrote it. */
static void fill(uint64_t sector, uint64_t count, uint64_t seed)
{
    uint64_t *word = (uint64_t *)BLK_DATA;

    for (uint64_t i = 0; i < count; i++) {
        uint64_t qwords = SECTOR / 8;

        __asm__ volatile("rep stosq"
                         : "+D"(word), "+c"(qwords)
                         : "a"((seed + sector + i) * PATTERN_PRIME)
                         : "memory");
    }
}

/* How many sectors are as `fill` made them. */
static uint64_t check(uint64_t sector, uint64_t count, uint64_t seed)
{
    const uint64_t *word = (const uint64_t *)BLK_DATA;
    uint64_t good = 0;

    for (uint64_t i = 0; i < count; i++) {
        uint64_t qwords = SECTOR / 8;
        uint8_t is_same;

        __asm__ volatile("repe scasq\n\tsete %2"
                         : "+D"(word), "+c"(qwords), "=q"(is_same)
                         : "a"((seed + sector + i) * PATTERN_PRIME)
                         : "memory", "cc");
        word = (const uint64_t *)(BLK_DATA + (i + 1) * SECTOR);
        good += is_same;
    }
    return good;
}

static void blk_transfer(const char *verb, const char *arguments)
{
    uint64_t sector, count, seed, most = BLK_SECTORS_MAX;
    uint8_t status;

    if (!text_number(arguments, 10, &sector, &arguments) ||
        !text_number(arguments, 10, &count, &arguments) || count == 0 || count > most ||
        !text_number(arguments, 10, &seed, NULL)) {
        print("what? SECTOR COUNT SEED\n");
        return;
    }
    if (text_equals(verb, "write")) {
        fill(sector, count, seed);
        status = blk(BLK_OUT, sector, (uint32_t)count * SECTOR);
        print("blk: wrote %u sectors at %u: status %u\n", count, sector, (uint64_t)status);
    } else {
        status = blk(BLK_IN, sector, (uint32_t)count * SECTOR);
        print("blk: read %u sectors at %u: status %u, %u good\n", count, sector, (uint64_t)status,
              check(sector, count, seed));
    }
}

/* Sectors that nobody wants any more, or that are to be zero (1: and may be a hole). */
static void blk_give_back(uint32_t type, const char *arguments)
{
    struct blk_range *range = (struct blk_range *)BLK_DATA;
    uint64_t sector, count, flags = 0;

    if (!text_number(arguments, 10, &sector, &arguments) ||
        !text_number(arguments, 10, &count, &arguments) ||
        (type == BLK_WRITE_ZEROES && !text_number(arguments, 10, &flags, NULL))) {
        print("what? SECTOR COUNT, and 0 or 1\n");
        return;
    }
    *range = (struct blk_range){sector, (uint32_t)count, (uint32_t)flags};
    print("blk: %u sectors at %u: status %u\n", count, sector,
          (uint64_t)blk(type, 0, sizeof(*range)));
}

/* Offer FLIGHT requests that together are `count` sectors at `sector`, and ring; nobody waits. */
static void take_off(uint32_t type, uint64_t sector, uint64_t count)
{
    struct blk_header *headers = (struct blk_header *)BLK_HEADER;
    uint32_t each = (uint32_t)count / FLIGHT;

    for (unsigned i = 0; i < FLIGHT; i++) {
        const struct virtio_piece pieces[] = {
            {BLK_HEADER + i * sizeof(*headers), sizeof(*headers), false},
            {BLK_DATA + (uint64_t)i * each * SECTOR, each * SECTOR, type != BLK_OUT},
            {BLK_STATUS + i, 1, true}};

        headers[i].type = type;
        headers[i].reserved = 0;
        headers[i].sector = sector + (uint64_t)i * each;
        virtio_offer(pieces, ARRAY_LEN(pieces));
    }
    virtio_notify();
}

/* Requests are in flight when this ends: writes; or reads, and the device was reset. What a reset
 * took back, the device does not write to any more. */
static void blk_flight(const char *verb, const char *arguments)
{
    uint64_t sector, count, seed;

    if (!text_number(arguments, 10, &sector, &arguments) ||
        !text_number(arguments, 10, &count, &arguments) || count == 0 || count > BLK_SECTORS_MAX ||
        count % FLIGHT != 0 || !text_number(arguments, 10, &seed, NULL)) {
        print("what? SECTOR COUNT SEED\n");
        return;
    }
    if (text_equals(verb, "flight")) {
        fill(sector, count, seed);
        take_off(BLK_OUT, sector, count);
        print("blk: %u sectors in flight\n", count);
        return;
    }
    take_off(BLK_IN, sector, count);
    virtio_stop();
    fill(sector, count, seed);
    timer_start();
    timer_wait(QUIET_TICKS);
    timer_stop();
    print("blk: after the reset %u of %u are ours\n", check(sector, count, seed), count);
}

static uint64_t blk_capacity(void)
{
    return (uint64_t)virtio_config(4) << 32 | virtio_config(0);
}

/* Asleep until an interrupt tells of another capacity; then the last sector is written. */
static void blk_await_growth(void)
{
    uint64_t before = blk_capacity();
    uint64_t last;

    print("blk: waits with %u sectors\n", before);
    interrupts_off();
    while (blk_capacity() == before) {
        interrupts_wait();
        interrupts_off();
    }
    interrupts_on();
    last = blk_capacity() - 1;
    for (uint64_t i = 0; i < SECTOR; i++) {
        ((uint8_t *)BLK_DATA)[i] = (uint8_t)i;
    }
    print("blk: grew to %u sectors, the last one: status %u\n", last + 1,
          (uint64_t)blk(BLK_OUT, last, SECTOR));
}

/* blk ADDRESS GSI info | id | grow | flush | write SECTOR COUNT SEED | read SECTOR COUNT SEED |
 * flight SECTOR COUNT SEED | recall SECTOR COUNT SEED | discard SECTOR COUNT |
 * zero SECTOR COUNT UNMAP */
void virtio_command_blk(const char *arguments)
{
    char id[BLK_ID_SIZE + 1] = {0};
    uint64_t address;
    uint8_t gsi;

    if (!parse_place(&arguments, &address, &gsi) || !virtio_open(address, VIRTIO_ID_BLK, gsi)) {
        return;
    }
    if (text_equals(arguments, "info")) {
        print("blk: %u sectors\n", blk_capacity());
    } else if (text_equals(arguments, "grow")) {
        blk_await_growth();
    } else if (text_equals(arguments, "flush")) {
        print("blk: flushed: status %u\n", (uint64_t)blk(BLK_FLUSH, 0, 0));
    } else if (text_equals(arguments, "id")) {
        uint8_t status = blk(BLK_GET_ID, 0, BLK_ID_SIZE);

        for (unsigned i = 0; i < BLK_ID_SIZE; i++) {
            id[i] = ((const char *)BLK_DATA)[i];
        }
        print("blk: id '%s': status %u\n", id, (uint64_t)status);
    } else if (text_starts(arguments, "write ")) {
        blk_transfer("write", arguments + sizeof("write"));
    } else if (text_starts(arguments, "read ")) {
        blk_transfer("read", arguments + sizeof("read"));
    } else if (text_starts(arguments, "flight ")) {
        blk_flight("flight", arguments + sizeof("flight"));
    } else if (text_starts(arguments, "recall ")) {
        blk_flight("recall", arguments + sizeof("recall"));
    } else if (text_starts(arguments, "discard ")) {
        blk_give_back(BLK_DISCARD, arguments + sizeof("discard"));
    } else if (text_starts(arguments, "zero ")) {
        blk_give_back(BLK_WRITE_ZEROES, arguments + sizeof("zero"));
    } else {
        print("info, id, grow, flush, write, read, flight, recall, discard or zero\n");
    }
}

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Something that a ring could hold: mostly small, often at a border. */
static uint64_t nonsense(void)
{
    static const uint64_t liked[] = {0,           1,          15,         16,
                                     17,          0xff,       0xffff,     VIRTIO_AREA,
                                     0xa0000,     0xfeb00000, 0xfffffff0, 0xffffffff,
                                     0x100000000, 0x7fffffff, 0x80000000, 0xffffffffffffffff};
    uint64_t random = next_random();

    switch (random & 3) {
    case 0:
        return liked[random >> 2 & 15];
    case 1:
        return random >> 2 & 0x1f;
    case 2:
        return VIRTIO_AREA + (random >> 2 & 0x3ffff);
    default:
        return random >> 2;
    }
}

/* storm ADDRESS GSI SEED ROUNDS: each round writes nonsense into a register, or into the rings. */
void virtio_command_storm(const char *arguments)
{
    uint64_t address, rounds, id;
    uint8_t gsi;

    if (!parse_place(&arguments, &address, &gsi) ||
        !text_number(arguments, 10, &random_state, &arguments) || random_state == 0 ||
        !text_number(arguments, 10, &rounds, NULL)) {
        print("what? SEED ROUNDS\n");
        return;
    }
    id = virtio_find(address) ? virtio_get(VIRTIO_DEVICE) : 0;
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t random = next_random();

        if (i % 64 == 0) {
            (void)virtio_open(address, (uint32_t)id, 0); /* so that it goes deep */
            virtio_open_others();
        }
        if ((random & 3) == 0) {
            virtio_write_anywhere(random, (uint32_t)nonsense());
        } else if ((random & 3) == 1) {
            virtio_read_anywhere(random);
        } else {
            volatile uint64_t *ring = (volatile uint64_t *)VIRTIO_AREA;

            ring[(random >> 8) % (0x3000 / 8)] = nonsense();
            ring[0x1000 / 8] = nonsense(); /* flags, index, the first heads */
            virtio_set(VIRTIO_NOTIFY, random >> 40 & 7);
        }
    }
    virtio_stop();
    print("storm: %u rounds, device %u of %u\n", rounds, (uint64_t)virtio_get(VIRTIO_DEVICE), id);
}
