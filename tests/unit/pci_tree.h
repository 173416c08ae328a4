/* A prepared machine with PCI functions. */
#ifndef QVM_TESTS_UNIT_PCI_TREE_H
#define QVM_TESTS_UNIT_PCI_TREE_H

#include "daemon/host/pci.h"
#include "tests/unit/tree_unit.h"

#define D0     "/sys/devices/pci0000:00"
#define BRIDGE D0 "/0000:00:1c.0"
#define DISK   BRIDGE "/0000:01:00.0"
#define NIC    D0 "/0000:00:19.0"
#define OTHER  D0 "/0000:00:19.1"
#define SERIAL D0 "/0000:00:1e.0"
#define VGA    D0 "/0000:00:02.0"

/* Links as those of sysfs: from /sys/bus/pci/devices they lead to ../../../devices. */
static const struct tree_entry machine[] = {
    {"/sys/bus/pci/devices/0000:00:02.0", NULL, "../../../devices/pci0000:00/0000:00:02.0"},
    {"/sys/bus/pci/devices/0000:00:19.0", NULL, "../../../devices/pci0000:00/0000:00:19.0"},
    {"/sys/bus/pci/devices/0000:00:19.1", NULL, "../../../devices/pci0000:00/0000:00:19.1"},
    {"/sys/bus/pci/devices/0000:00:1c.0", NULL, "../../../devices/pci0000:00/0000:00:1c.0"},
    {"/sys/bus/pci/devices/0000:00:1e.0", NULL, "../../../devices/pci0000:00/0000:00:1e.0"},
    {"/sys/bus/pci/devices/0000:01:00.0", NULL,
     "../../../devices/pci0000:00/0000:00:1c.0/0000:01:00.0"},
    {VGA "/class", "0x030000\n", NULL},
    {VGA "/boot_vga", "0\n", NULL},
    {VGA "/iommu_group", NULL, "../../../kernel/iommu_groups/1"},
    {NIC "/class", "0x020000\n", NULL},
    {NIC "/iommu_group", NULL, "../../../kernel/iommu_groups/7"},
    {OTHER "/class", "0x020000\n", NULL},
    {OTHER "/iommu_group", NULL, "../../../kernel/iommu_groups/7"},
    {BRIDGE "/class", "0x060400\n", NULL},
    {BRIDGE "/driver", NULL, "../../../bus/pci/drivers/pcieport"},
    {DISK "/class", "0x010802\n", NULL},
    {DISK "/driver", NULL, "../../../../bus/pci/drivers/nvme"},
    {DISK "/iommu_group", NULL, "../../../../kernel/iommu_groups/5"},
    {SERIAL "/class", "0x070002\n", NULL},
    {SERIAL "/vendor", "0x8086\n", NULL},
    {SERIAL "/device", "0x10d3\n", NULL},
    {SERIAL "/subsystem_vendor", "0x1af4\n", NULL},
    {SERIAL "/subsystem_device", "0x1100\n", NULL},
    {SERIAL "/revision", "0x03\n", NULL},
    {SERIAL "/numa_node", "1\n", NULL},
    {SERIAL "/reset_method", "flr bus\n", NULL},
    {SERIAL "/driver_override", "vfio-pci\n", NULL},
    {SERIAL "/driver", NULL, "../../../bus/pci/drivers/vfio-pci"},
    {SERIAL "/sriov_totalvfs", "8\n", NULL},
    {SERIAL "/sriov_numvfs", "0\n", NULL},
    {SERIAL "/iommu_group", NULL, "../../../kernel/iommu_groups/9"},
    {SERIAL "/resource",
     "0x00000000fe000000 0x00000000fe01ffff 0x0000000000040200\n"
     "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
     "0x000000000000c000 0x000000000000c01f 0x0000000000040101\n",
     NULL},
};

static struct pci_table table;

static inline void pci_tree_setup(void)
{
    tree_make();
    tree_add(machine, ARRAY_LEN(machine));
}

static inline void pci_tree_teardown(void)
{
    pci_fini(&table);
    tree_remove();
}

static inline const struct pci_function *read_one(const char *bdf)
{
    const struct pci_function *function;

    pci_fini(&table);
    ck_assert_int_eq(pci_read(tree_root, &table, NULL), 0);
    function = pci_find(&table, bdf);
    ck_assert_ptr_nonnull(function);
    pci_read_config(tree_root, bdf, false, &table.list[function - table.list].config);
    return function;
}

#endif
