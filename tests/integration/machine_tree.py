"""A prepared machine for a test build of qvmd (QVM_HOST_ROOT): what sysfs and proc would say."""

import os


class MachineTree:
    """A directory with CPUs, memory and PCI functions."""

    def __init__(self, root, cpus="0-1"):
        self.root = root
        self.put("/proc/meminfo", "MemTotal: 4194304 kB\nMemFree: 1048576 kB\n")
        self.put("/proc/1/mountinfo", "")
        self.put("/proc/cpuinfo", "model name\t: Prepared CPU\n")
        for name in ("present", "online"):
            self.put(f"/sys/devices/system/cpu/{name}", cpus + "\n")

    def put(self, path, text):
        whole = self.root + path
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "w", encoding="utf-8") as file:
            file.write(text)

    def link(self, path, target):
        whole = self.root + path
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        os.symlink(target, whole)

    def node(self, number, cpus, **huge):
        """huge: pages of 2 MiB, total and free."""
        top = f"/sys/devices/system/node/node{number}"
        self.put(f"{top}/cpulist", cpus + "\n")
        self.put(f"{top}/meminfo", f"Node {number} MemTotal: 2097152 kB\n"
                                   f"Node {number} MemFree: 524288 kB\n")
        for name, count in huge.items():
            self.put(f"{top}/hugepages/hugepages-2048kB/{name}_hugepages", f"{count}\n")

    def function(self, bdf, group=None, driver=None, **attributes):
        """A function behind the root of its bus; attributes as sysfs calls them."""
        place = f"devices/pci{bdf[:7]}/{bdf}"
        self.link(f"/sys/bus/pci/devices/{bdf}", f"../../../{place}")
        for name, value in {"class": "0x020000", "vendor": "0x8086", "device": "0x10d3",
                            "reset_method": "flr bus", **attributes}.items():
            self.put(f"/sys/{place}/{name}", value + "\n")
        if group is not None:
            self.link(f"/sys/{place}/iommu_group", f"../../../kernel/iommu_groups/{group}")
        if driver is not None:
            self.link(f"/sys/{place}/driver", f"../../../bus/pci/drivers/{driver}")
        return place
