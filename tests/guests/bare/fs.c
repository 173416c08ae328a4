/* Requests go by queue 0, which is for the urgent ones: a device takes the same on all. */
#include "tests/guests/bare/fs.h"

#include <stdbool.h>
#include <stdint.h>

#include "tests/guests/bare/console.h"
#include "tests/guests/bare/text.h"
#include "tests/guests/bare/virtio.h"
#include "tests/guests/bare/virtio_registers.h"

enum { ID_FS = 26, ROOT = 1, CREATE_FLAGS = 01101 /* write, create, truncate */, MODE = 0644 };
enum { LOOKUP = 1, OPEN = 14, READ = 15, WRITE = 16, INIT = 26, CREATE = 35 };
enum { NAME_MAX = 64, DATA_MAX = 2048, MAJOR = 7, MINOR = 31 };

/* include/uapi/linux/fuse.h has these. */
struct in {
    uint32_t size, opcode;
    uint64_t unique, node;
    uint32_t uid, gid, pid, padding;
    union {
        struct {
            uint32_t major, minor, readahead, flags;
        } init;
        struct {
            uint32_t flags, open_flags;
        } open;
        struct {
            uint32_t flags, mode, umask, open_flags;
            char name[NAME_MAX];
        } create;
        struct {
            uint64_t handle, offset;
            uint32_t size, transfer_flags;
            uint64_t owner;
            uint32_t flags, padding;
            char bytes[DATA_MAX];
        } transfer;
        char name[NAME_MAX];
    } body;
};

struct out {
    uint32_t size;
    int32_t error;
    uint64_t unique;
    union {
        struct {
            uint64_t node;
            uint8_t rest[120];
            uint64_t handle; /* of `create` */
        } entry;
        uint64_t handle;
        uint32_t written;
        char bytes[DATA_MAX];
    } body;
};

#define IN_HEAD  40U
#define OUT_HEAD 16U

static struct in *const in = (struct in *)VIRTIO_BUFFER;
static struct out *const out = (struct out *)(VIRTIO_BUFFER + 0x2000);

/* The error that it tells, or that it asks for a reset: -1000. */
static int32_t ask(uint32_t opcode, uint64_t node, uint32_t size)
{
    const struct virtio_piece pieces[] = {{VIRTIO_BUFFER, IN_HEAD + size, false},
                                          {VIRTIO_BUFFER + 0x2000, OUT_HEAD, true},
                                          {VIRTIO_BUFFER + 0x2000 + OUT_HEAD, DATA_MAX, true}};

    in->size = IN_HEAD + size;
    in->opcode = opcode;
    in->unique++;
    in->node = node;
    in->uid = in->gid = in->pid = 0;
    out->error = -1000;
    (void)virtio_request(pieces, 3);
    return out->error;
}

/* Up to a blank, with its NUL: how many bytes. */
static uint32_t copy_word(char *to, const char *from)
{
    uint32_t size = 0;

    while (from[size] != '\0' && from[size] != ' ' && size < NAME_MAX - 1) {
        to[size] = from[size];
        size++;
    }
    to[size] = '\0';
    return size + 1;
}

static int32_t read_file(const char *name)
{
    uint64_t node;
    int32_t error = ask(LOOKUP, ROOT, copy_word(in->body.name, name));

    node = out->body.entry.node;
    if (error == 0) {
        in->body.open.flags = in->body.open.open_flags = 0;
        error = ask(OPEN, node, sizeof(in->body.open));
    }
    if (error == 0) {
        uint64_t handle = out->body.handle;

        in->body.transfer.handle = handle;
        in->body.transfer.offset = in->body.transfer.owner = 0;
        in->body.transfer.size = DATA_MAX;
        in->body.transfer.transfer_flags = in->body.transfer.flags = 0;
        error = ask(READ, node, 40);
    }
    print("fs: read: error %u, %u bytes: ", (uint64_t)-error,
          error == 0 ? (uint64_t)(out->size - OUT_HEAD) : 0);
    for (uint32_t i = 0; error == 0 && i < out->size - OUT_HEAD; i++) {
        print("%c", (int)out->body.bytes[i]);
    }
    print("\n");
    return error;
}

static int32_t write_file(const char *name, const char *text)
{
    uint64_t node, handle;
    uint32_t size = 0;
    int32_t error;

    in->body.create.flags = CREATE_FLAGS;
    in->body.create.mode = 0100000 | MODE;
    in->body.create.umask = in->body.create.open_flags = 0;
    error = ask(CREATE, ROOT, 16 + copy_word(in->body.create.name, name));
    node = out->body.entry.node;
    handle = out->body.entry.handle;
    if (error == 0) {
        in->body.transfer.handle = handle;
        in->body.transfer.offset = in->body.transfer.owner = 0;
        in->body.transfer.transfer_flags = in->body.transfer.flags = 0;
        size = copy_word(in->body.transfer.bytes, text) - 1;
        in->body.transfer.size = size;
        error = ask(WRITE, node, 40 + size);
    }
    print("fs: write: error %u, %u bytes\n", (uint64_t)-error,
          error == 0 ? (uint64_t)out->body.written : 0);
    return error;
}

/* PLACE GSI tag, PLACE GSI read NAME, or PLACE GSI write NAME WORD */
void fs_command(const char *arguments)
{
    uint64_t place, gsi;

    if (!text_number(arguments, 16, &place, &arguments) ||
        !text_number(arguments, 10, &gsi, &arguments)) {
        print("fs: PLACE GSI tag, read NAME or write NAME WORD\n");
        return;
    }
    arguments = text_skip_blanks(arguments);
    if (!virtio_open(place, ID_FS, (uint8_t)gsi)) {
        return;
    }
    if (text_starts(arguments, "tag")) {
        print("fs: tag %x, %u queues\n", (uint64_t)virtio_config(0), (uint64_t)virtio_config(36));
        return;
    }
    in->body.init.major = MAJOR;
    in->body.init.minor = MINOR;
    in->body.init.readahead = in->body.init.flags = 0;
    if (ask(INIT, 0, sizeof(in->body.init)) != 0) {
        print("fs: no init: error %u\n", (uint64_t)-out->error);
    } else if (text_starts(arguments, "read ")) {
        (void)read_file(arguments + 5);
    } else if (text_starts(arguments, "write ")) {
        const char *name = arguments + 6, *text = name;

        while (*text != ' ' && *text != '\0') {
            text++;
        }
        (void)write_file(name, text_skip_blanks(text));
    }
}
