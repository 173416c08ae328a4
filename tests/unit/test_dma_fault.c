/* Lines of the kernel's log that tell what the IOMMU stopped. */
#include "daemon/host/dma_fault.h"

#include "proto/base/cleanup.h"
#include "tests/unit/unit.h"

START_TEST(the_kernels_sentences_are_understood)
{
    static const struct {
        const char *record, *bdf;
        uint64_t address;
    } cases[] = {
        {"3,1,2,-;DMAR: [DMA Write NO_PASID] Request device [00:09.0] fault addr 0x40000000 [fault "
         "reason 0x05] PTE Write access is not set\n",
         "0000:00:09.0", 0x40000000},
        {"3,1,2,-;DMAR: [DMA Read] Request device [0000:3b:1f.7] PASID ffffffff fault addr "
         "fffff000 [fault reason 06] PTE Read access is not set\n",
         "0000:3b:1f.7", 0xfffff000},
        {"3,1,2,-;AMD-Vi: Event logged [IO_PAGE_FAULT device=03:00.0 domain=0x0019 "
         "address=0xfef00000 flags=0x0000]\n",
         "0000:03:00.0", 0xfef00000},
        {"3,1,2,-;vfio-pci 0000:03:00.1: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0010 "
         "address=0x12345678000 flags=0x0050]\n SUBSYSTEM=pci\n DEVICE=+pci:0000:03:00.1\n",
         "0000:03:00.1", 0x12345678000},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dma_fault fault = {.address = 0};

        ck_assert_msg(dma_fault_parse(cases[i].record, &fault), "%s", cases[i].record);
        ck_assert_str_eq(fault.bdf, cases[i].bdf);
        ck_assert_uint_eq(fault.address, cases[i].address);
    }
}
END_TEST

START_TEST(nothing_else_is)
{
    static const char *const records[] = {
        "",
        ";",
        "3,1,2,-",
        "3;DMAR: [DMA Write] Request device [00:09.0] fault addr 0x1",
        "11,1,2,-;DMAR: [DMA Write] Request device [00:09.0] fault addr 0x1", /* not the kernel's */
        "3,1,2,-;DMAR: [INTR-REMAP] Request device [00:09.0] fault addr 0x1",
        "3,1,2,-;DMAR: [DMA Write] Request device [00:09] fault addr 0x1",
        "3,1,2,-;DMAR: [DMA Write] Request device [00:09.0] fault addr",
        "3,1,2,-;DMAR: [DMA Write] Request device [000000000000000000:09.0] fault addr 0x1",
        "3,1,2,-;x DMAR: [DMA Write] Request device [00:09.0] fault addr 0x1",
        "3,1,2,-;AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0010 address=0x1]",
        "3,1,2,-;AMD-Vi: Event logged [IO_PAGE_FAULT device=zz address=0x1]",
        "3,1,2,-;AMD-Vi: Event logged [IO_PAGE_FAULT device=03:00.0 flags=1]",
    };

    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        struct dma_fault fault = {.address = 7};

        ck_assert_msg(!dma_fault_parse(records[i], &fault), "%s", records[i]);
        ck_assert_uint_eq(fault.address, 7);
    }
}
END_TEST

UNIT_MAIN("dma_fault", the_kernels_sentences_are_understood, nothing_else_is)
