#!/usr/bin/python3
"""What the stock Debian guest finds of the machine: PCI and ACPI, of both kinds."""

import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above

DUMMIES = ("vdev pci-dummy loc pci:0:5 reg 0,10011af4 bar 0,mem,4K vectors 2\n"
           "vdev pci-dummy loc pci:0:5.1 reg 0,56781234 reg 8,0c033002 bar 0,io,16 bar 2,mem64,64M\n"
           "vdev pci-dummy\nvdev pci-dummy loc pci:2:5 reg 0,77771234 bar 0,mem,4K test on\n")

# Two packages; and who the VM says that it is.
IDENTITY = ("cpu\nset cores 1\nset manufacturer ACME set serial S-17\n"
            "set uuid 00112233-4455-6677-8899-aabbccddeeff\n")
DMI = "/sys/class/dmi/id/"
TOPOLOGY = ("cd /sys/devices/system/cpu; for c in cpu[0-9]*; do echo $c"
            " $(cat $c/topology/physical_package_id $c/topology/core_cpus_list); done; cd /")

PATIENCE_SECONDS = 120  # a console of many lines, on a busy machine

# As lspci -n does, which Debian's busybox lacks.
LSPCI = ("for d in /sys/bus/pci/devices/*; do read v <$d/vendor; read p <$d/device;"
         " read c <$d/class; echo ${d##*/} $c: $v:$p; done")

# What Debian's own lspci makes of it.
LSPCI_SAYS = (
    r"(?m)^00:00\.0 0600: 8086:29c0 ",
    r"(?m)^00:1e\.0 0604: 1b36:0001\n(?:\t.*\n)*\tBus: primary=00, secondary=02, subordinate=02",
    r"(?m)^00:05\.0 ff00: 1af4:1001\n(?:\t.*\n)*\tCapabilities: \[40\] MSI-X: Enable- Count=2 ",
    r"(?m)^02:05\.0 ff00: 1234:7777\n(?:\t.*\n)*\tMemory at \w+ \(32-bit, non-prefetchable\)",
)

# A line of dmesg that is about what is tested here, and what a complaint has in it.
SUBJECT = re.compile(r"ACPI|PCI|MMCONFIG|ECAM|IOAPIC|bridge window", re.IGNORECASE)
COMPLAINT = re.compile(r"\bbug\b|error|fail|conflict|can't|cannot|invalid|ignor|not found|unable|"
                       r"wrong|mismatch|bogus|disabl|not using|no compatible", re.IGNORECASE)
KNOWN = (
    r"DMAR|IOMMU",
    r"Early table checksum verification disabled",  # by the kernel's own configuration
    r"Ignoring E820 reservations for host bridge windows",  # on every PC
    r"if necessary, use \"pci=nocrs\" and report a bug",  # said to everybody
)


class MachineTest(debian.DebianTest):
    def boot_with(self, name, more):
        definition = debian.debian(name)
        definition["sources"][0]["text"] += more
        initrd = os.path.join(self.qvmd.top, "initrd.img")
        with open(initrd, "wb") as file:
            for part in ("initrd.img", "lspci.img"):
                with open(f"{debian.GUEST}/{part}", "rb") as image:
                    file.write(image.read())
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            f"{debian.GUEST}/initrd.img", initrd)
        self.qvmd.call("guest.start", name=name, definition=definition)
        console = debian.Console(self.qvmd, name)
        self.addCleanup(console.close)
        console.wait_for_shell()
        return console

    def assert_no_complaint(self, console):
        """Warnings of the kernel are counted, and listed but for one that is a whole table; nothing
        that is said of ACPI or PCI is one or sounds like one."""
        count = console.run("dmesg -r | grep -c '^<[0-4]>'", PATIENCE_SECONDS).strip()
        told = console.run("dmesg -r | grep -v 'CPUID\\[' | grep -iE "
                           "'^<[0-4]>|acpi|pci|mmconfig|ecam|bridge'", PATIENCE_SECONDS)
        lines = [line for line in told.splitlines() if line.startswith("<")]
        warnings = [line for line in lines if line[1] in "01234"]
        print(f"{count} warnings in dmesg:", *warnings, sep="\n  ")
        about = [line for line in lines if SUBJECT.search(line)
                 and not any(re.search(known, line) for known in KNOWN)]
        self.assertGreater(len(about), 10)
        self.assertEqual([line for line in about if line[1] in "01234" or COMPLAINT.search(line)],
                         [])

    def assert_bus(self, console, more=()):
        told = console.run(LSPCI)
        print(told)
        found = re.findall(r"^0000:(\S+) \w+: 0x(\w+):0x(\w+)", told, re.MULTILINE)
        seen = {where: f"{vendor}:{device}" for where, vendor, device in found}
        self.assertEqual(seen, {"00:00.0": "8086:29c0", "00:01.0": "1b36:0005",
                                "00:05.0": "1af4:1001", "00:05.1": "1234:5678",
                                "00:1e.0": "1b36:0001", "02:05.0": "1234:7777", **dict(more)})
        # Pin A of device 5 is pin B of the bridge, which is all that _PRT tells of.
        behind = "/sys/bus/pci/devices/0000:02:05.0"
        self.assertEqual(console.run(f"echo 1 >{behind}/enable; cd /sys/kernel/irq;"
                                     f"cat $(cat {behind}/irq)/hwirq; cd /").strip(), "17")
        self.assertIn("PCI bridge to [bus 02]", console.run("dmesg | grep 00:1e.0"))
        resources = console.run("cat /sys/bus/pci/devices/0000:00:05.1/resource")
        places = [line.split() for line in resources.splitlines()]
        self.assertEqual(int(places[0][1], 16) - int(places[0][0], 16), 15)
        self.assertGreaterEqual(int(places[2][0], 16), 1 << 32)  # where a large one belongs
        self.assertEqual(console.run("cat /sys/bus/pci/devices/0000:00:05.0/resource | head -n 1"),
                         f"0x{int(self.first(console), 16):016x} "
                         f"0x{int(self.first(console), 16) + 0xfff:016x} 0x0000000000040200\n")

    def assert_lspci(self, console):
        told = console.run("lspci -n -v", PATIENCE_SECONDS)
        print(told)
        for wanted in LSPCI_SAYS:
            self.assertRegex(told, wanted)
        self.assertNotIn("pcilib", told)  # which complains so

    def first(self, console):
        return console.run("cut -d' ' -f1 /sys/bus/pci/devices/0000:00:05.0/resource"
                           " | head -n 1").strip()

    def test_a_guest_with_hardware_reduced_acpi_has_pci(self):
        console = self.boot_with("reduced", IDENTITY + DUMMIES)
        self.assert_bus(console)
        self.assert_lspci(console)
        self.assertEqual(console.run(f"cd {DMI}; cat sys_vendor product_name product_serial "
                                     "product_uuid; cd /").split("\n")[:4],
                         ["ACME", "virtual machine", "S-17",
                          "00112233-4455-6677-8899-aabbccddeeff"])
        self.assertEqual(console.run("grep ^apicid /proc/cpuinfo").split()[2::3],
                         ["0", "1"])
        self.assertEqual(console.run(TOPOLOGY).splitlines(),
                         ["cpu0 0 0", "cpu1 1 1"])
        self.assertIn("MMCONFIG", console.run("dmesg | grep -i mmconfig; true"))
        self.assert_no_complaint(console)
        self.ctl("stop", "reduced")
        self.assertEqual(self.qvmd.guest("reduced")["reason"], "poweroff")

    def test_a_guest_with_full_acpi_has_its_registers(self):
        console = self.boot_with("full", "cpu set threads 2 set acpi full\n" + DUMMIES)
        self.assert_bus(console, {"00:1f.0": "8086:2918"}.items())
        self.assertEqual(console.run(TOPOLOGY).splitlines(), ["cpu0 0 0-1", "cpu1 0 0-1"])
        self.assertIn("acpi", console.run("grep -w acpi /proc/interrupts"))
        self.assertIn("acpi_pm", console.run(
            "cat /sys/devices/system/clocksource/clocksource0/available_clocksource"))
        self.assert_no_complaint(console)
        console.send("reboot -f\n")
        console.wait_for_shell()
        self.assertEqual(self.qvmd.guest("full")["reboots"], 1)
        self.ctl("stop", "full")  # the power button of the fixed registers
        self.assertEqual(self.qvmd.guest("full")["reason"], "poweroff")


if __name__ == "__main__":
    debian.main()
