/* fw_cfg: QEMU's docs/specs/fw_cfg.rst, rule by rule. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "tests/fake/vdev_slot.h"
#include "tests/unit/unit.h"

extern const struct vdev_module *const vdev_fw_cfg_module;

#define MEMORY_START 0x10000u
#define MEMORY_SIZE  0x3000000u /* 48 MiB: more than one transfer may have */
#define DMA_AT       MEMORY_START
#define TO           (MEMORY_START + 0x1000)
#define DMA_MAX      (16u << 20)

enum { SELECT = 8, READ = 2, SKIP = 4, WRITE = 16 };
enum { SERCON, BOOT_MENU, BOOT_MENU_WAIT, BOOT_FAIL_WAIT, BOOTORDER };

static struct vdev_slot slot;
static uint8_t memory[MEMORY_SIZE];

static void set_up_with(const struct vdev_value *values, uint32_t count)
{
    ck_assert_int_eq(fake_slot_create(&slot, vdev_fw_cfg_module, values, count, NULL, 0), 0);
    slot.memory[0] = (struct fake_memory){MEMORY_START, memory, sizeof(memory)};
    slot.files[0].name = "etc/e820";
    slot.files[0].bytes = "0123456789";
    slot.files[0].size = 10;
    slot.file_count = 1;
}

static void set_up(void)
{
    set_up_with(NULL, 0);
}

static void out16(uint16_t value)
{
    slot.module->ops->write(slot.device, 0, 0, 2, value);
}

/* The next `size` bytes of what is selected, by the data port. */
static const char *bytes(uint32_t size)
{
    static char read[8192];

    ck_assert_uint_lt(size, sizeof(read));
    for (uint32_t i = 0; i < size; i++) {
        read[i] = (char)fake_slot_in(&slot, 0, 1);
    }
    read[size] = '\0';
    return read;
}

static uint64_t little(uint32_t size)
{
    uint64_t value = 0;

    memcpy(&value, bytes(size), size);
    return le64toh(value);
}

static uint32_t big32(void)
{
    uint32_t value;

    memcpy(&value, bytes(4), 4);
    return be32toh(value);
}

/* The key and size of a file, by the directory. */
static uint16_t find(const char *name, uint32_t *size)
{
    uint32_t count;

    out16(0x19);
    count = big32();
    for (uint32_t i = 0; i < count; i++) {
        uint32_t of = big32();
        const char *entry = bytes(60);

        if (strcmp(entry + 4, name) == 0) {
            *size = of;
            return (uint16_t)((uint8_t)entry[0] << 8 | (uint8_t)entry[1]);
        }
    }
    ck_abort_msg("no file %s", name);
    return 0;
}

static uint64_t file_number(const char *name)
{
    uint32_t size = 0;
    uint16_t key = find(name, &size);

    out16(key);
    return little(size);
}

/* Returns what stands in `control` afterwards. */
static uint32_t dma(uint32_t control, uint32_t length, uint64_t address)
{
    const uint32_t words[2] = {htobe32(control), htobe32(length)};
    const uint64_t to = htobe64(address);
    uint32_t result;

    memcpy(memory, words, 8);
    memcpy(memory + 8, &to, 8);
    slot.module->ops->write(slot.device, 1, 0, 4, 0);
    slot.module->ops->write(slot.device, 1, 4, 4, htobe32(DMA_AT));
    memcpy(&result, memory, sizeof(result));
    return be32toh(result);
}

START_TEST(signature_and_id_tell_ports_and_dma)
{
    set_up();
    out16(0);
    ck_assert_str_eq(bytes(4), "QEMU");
    ck_assert_uint_eq(little(4), 0); /* behind its end */
    out16(1);
    ck_assert_uint_eq(little(4), 3);
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 1, 0, 8), htobe64(0x51454d5520434647));
    ck_assert_uint_eq(slot.module->ops->read(slot.device, 1, 4, 4), htobe32(0x20434647));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(selecting_begins_at_the_first_byte)
{
    set_up();
    out16(0);
    ck_assert_str_eq(bytes(2), "QE");
    out16(0);
    ck_assert_str_eq(bytes(2), "QE");
    ck_assert_str_eq(bytes(2), "MU");
    fake_slot_out(&slot, 0, 0, 1); /* a byte selects nothing */
    fake_slot_out(&slot, 0, 1, 1); /* and nothing can be written */
    out16(0);
    ck_assert_str_eq(bytes(4), "QEMU");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(unknown_keys_read_zeroes)
{
    set_up();
    for (uint32_t key = 0x40; key < 0x10000; key += 0x3f) {
        out16((uint16_t)key);
        ck_assert_uint_eq(little(8), 0);
    }
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(numbers_of_the_machine_are_told)
{
    set_up();
    out16(5);
    ck_assert_uint_eq(little(2), 2);
    out16(0x0f);
    ck_assert_uint_eq(little(2), 2);
    out16(3);
    ck_assert_uint_eq(little(8), UINT64_C(8) << 30);
    ck_assert_uint_eq(file_number("etc/boot-cpus"), 2);
    ck_assert_uint_eq(file_number("etc/system-states"), 0x850000000080);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(options_become_files)
{
    const struct vdev_value values[] = {
        {.option = SERCON, .number = {0x2f8}},
        {.option = BOOT_MENU, .boolean = true},
        {.option = BOOT_MENU_WAIT, .number = {1500}},
        {.option = BOOT_FAIL_WAIT, .number = {7000}},
        {.option = BOOTORDER, .text = "/pci@i0cf8/scsi@3/disk@0,0"},
        {.option = BOOTORDER, .text = "HALT"},
    };
    uint32_t size = 0;

    set_up_with(values, 6);
    ck_assert_uint_eq(file_number("etc/sercon-port"), 0x2f8);
    ck_assert_uint_eq(file_number("etc/show-boot-menu"), 1);
    ck_assert_uint_eq(file_number("etc/boot-menu-wait"), 1500);
    ck_assert_uint_eq(file_number("etc/boot-fail-wait"), 7000);
    out16(find("bootorder", &size));
    ck_assert_uint_eq(size, 32);
    ck_assert_str_eq(bytes(size), "/pci@i0cf8/scsi@3/disk@0,0\nHALT");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(bootorder_has_a_limit)
{
    static char line[1023];
    struct vdev_value values[2] = {{.option = BOOTORDER, .text = line}};

    memset(line, 'x', sizeof(line) - 1);
    set_up_with(values, 1);
    fake_slot_destroy(&slot);
    values[1] = (struct vdev_value){.option = BOOTORDER, .text = "y"};
    ck_assert_int_eq(fake_slot_create(&slot, vdev_fw_cfg_module, values, 2, NULL, 0), -EINVAL);
    ck_assert_str_eq(slot.failure, "all lines of 'bootorder' have 1023 bytes at most");
}
END_TEST

START_TEST(files_of_the_vm_are_read_as_they_are_now)
{
    uint32_t size = 0;
    uint16_t key;

    set_up();
    key = find("etc/e820", &size);
    ck_assert_uint_eq(size, 10);
    out16(key);
    ck_assert_str_eq(bytes(10), "0123456789");
    ck_assert_uint_eq(little(4), 0);
    slot.files[0].size = 4; /* a reset made others */
    ck_assert_uint_eq(find("etc/e820", &size), key);
    ck_assert_uint_eq(size, 4);
    slot.file_count = 0;
    out16(key);
    ck_assert_uint_eq(little(8), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(directory_has_a_limit)
{
    set_up();
    for (uint32_t i = 0; i < FAKE_FILES_MAX; i++) {
        slot.files[i].name = "f";
        slot.files[i].bytes = "";
    }
    slot.file_count = FAKE_FILES_MAX;
    out16(0x19);
    ck_assert_uint_eq(big32(), 32);
    (void)bytes(32 * 64);
    ck_assert_uint_eq(little(8), 0);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(dma_selects_skips_and_reads)
{
    uint32_t size = 0;
    uint32_t key;

    set_up();
    key = find("etc/e820", &size);
    memset(memory + 0x1000, 0x55, 16);
    ck_assert_uint_eq(dma(key << 16 | SELECT | READ, 4, TO), 0);
    ck_assert_mem_eq(memory + 0x1000, "0123UUUU", 8);
    ck_assert_uint_eq(dma(SKIP, 2, 0), 0);
    ck_assert_uint_eq(dma(READ, 6, TO), 0);
    ck_assert_mem_eq(memory + 0x1000, "6789\0\0UU", 8);
    ck_assert_uint_eq(dma(key << 16 | SELECT, 0, 0), 0);
    ck_assert_str_eq(bytes(3), "012"); /* one place for both ways */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(dma_by_one_write_of_8_bytes)
{
    const uint32_t words[2] = {htobe32(SELECT | READ), htobe32(4)};
    const uint64_t to = htobe64(TO);

    set_up();
    memcpy(memory, words, 8);
    memcpy(memory + 8, &to, 8);
    slot.module->ops->write(slot.device, 1, 0, 8, htobe64(DMA_AT));
    ck_assert_mem_eq(memory + 0x1000, "QEMU", 4);
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(dma_that_cannot_be_says_so)
{
    set_up();
    ck_assert_uint_eq(dma(SELECT | READ, DMA_MAX, TO), 0);
    ck_assert_uint_eq(dma(SELECT | READ, DMA_MAX + 1, TO), 1);
    ck_assert_uint_eq(dma(SELECT | READ, UINT32_MAX, TO), 1);
    ck_assert_uint_eq(dma(SKIP, DMA_MAX + 1, 0), 1);
    ck_assert_uint_eq(dma(SELECT | WRITE, 4, TO), 1);
    ck_assert_uint_eq(dma(SELECT | READ, 4, 0), 1); /* no memory there */
    ck_assert_uint_eq(dma(SELECT | READ, 4, UINT64_MAX - 1), 1);
    ck_assert_uint_eq(dma(SELECT | READ, 8192, MEMORY_START + MEMORY_SIZE - 4096), 1);
    ck_assert_uint_eq(dma(SELECT, 0, UINT64_MAX), 0);
    slot.module->ops->write(slot.device, 1, 0, 4, UINT32_MAX); /* where there is no memory */
    slot.module->ops->write(slot.device, 1, 4, 4, UINT32_MAX);
    ck_assert_uint_eq(dma(SELECT, 0, 0), 0); /* the high half is forgotten after each */
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(narrow_writes_to_the_dma_register_do_nothing)
{
    set_up();
    memset(memory, 0xff, 16);
    for (uint32_t i = 0; i < 8; i++) {
        fake_slot_out(&slot, 1, i, 0);
        slot.module->ops->write(slot.device, 1, i & ~1u, 2, 0);
    }
    ck_assert_uint_eq(memory[0], 0xff);
    ck_assert_ptr_nonnull(strstr(fake_slot_state(&slot), "transfers=0"));
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(reset_forgets_what_was_selected)
{
    set_up();
    out16(5);
    (void)bytes(1);
    fake_slot_reset(&slot);
    ck_assert_str_eq(bytes(4), "QEMU");
    fake_slot_destroy(&slot);
}
END_TEST

START_TEST(regions_must_be_its_own)
{
    static const struct vdev_region wide[] = {{VDEV_SPACE_IO, 0x510, 4}, {VDEV_SPACE_IO, 0x514, 8}};

    ck_assert_int_eq(fake_slot_create(&slot, vdev_fw_cfg_module, NULL, 0, wide, 2), -EINVAL);
    ck_assert_int_eq(fake_slot_create(&slot, vdev_fw_cfg_module, NULL, 0, wide, 1), -EINVAL);
    ck_assert_str_eq(slot.failure, "fw-cfg has 2 ports for its data and 8 for its DMA");
}
END_TEST

UNIT_MAIN("vdev fw-cfg", signature_and_id_tell_ports_and_dma, selecting_begins_at_the_first_byte,
          unknown_keys_read_zeroes, numbers_of_the_machine_are_told, options_become_files,
          bootorder_has_a_limit, files_of_the_vm_are_read_as_they_are_now, directory_has_a_limit,
          dma_selects_skips_and_reads, dma_by_one_write_of_8_bytes, dma_that_cannot_be_says_so,
          narrow_writes_to_the_dma_register_do_nothing, reset_forgets_what_was_selected,
          regions_must_be_its_own)
