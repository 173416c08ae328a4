#!/usr/bin/python3
"""A qvm alone with functions of the host: a stock Debian kernel and its own drivers drive them."""

import hashlib
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import alone  # noqa: E402: only after the line above
import debian  # noqa: E402

GUEST = """system devices
cpu
ram 256M
cmdline "console=ttyS0 quiet"
load {kernel}/vmlinux
initrd load {initrd}
vdev ser8250 hostdev -
vdev mc146818
vdev pckeyboard
pass loc pci:0:5.0=pci:0:3.0
pass loc pci:0:5.1=pci:1b36/0010
pass loc io:e0,4
"""
BARE = """system bare
ram 16M
load {image}
vdev ser8250 hostdev -
pass loc mem:c8000000,4K,rw={place:x}
"""
EDU = "0000:00:09.0"
DISK_BYTES = 4 << 20
PINGS = 5
# Of the driver: who, how many. Its MSI (1) does not work on QEMU's card, on the host as well.
MODES = {0: ("IO-APIC", 1), 2: ("PCI-MSI", 3)}
EXITS = re.compile(r'vcpu0\.exits\.mmio="(\d+)"')


class AloneTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        for driver in ("nvme", "e1000e"):
            subprocess.run(["modprobe", driver], check=True)

    def start(self, text, modules):
        initrd = alone.make_initrd(self.folder, modules)
        guest = alone.Alone(text.format(kernel=alone.KERNEL, initrd=initrd), self.folder)
        self.addCleanup(guest.end)
        try:
            guest.wait_for_shell()
        except AssertionError:
            print(guest.said(), guest.heard)
            raise
        return guest

    def write_disk(self):
        """The host writes to the disk, and lets it go."""
        content = os.urandom(DISK_BYTES)
        alone.bind(alone.NVME, "nvme")
        disk = self.host_disk()
        with open(disk, "r+b") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        alone.bind(alone.NVME)
        return hashlib.md5(content).hexdigest()

    def host_disk(self):
        """The disk's name on the host; its driver makes it a moment after it was bound."""
        alone.eventually(lambda: os.path.exists("/dev/nvme0n1"), "no disk")
        return "/dev/nvme0n1"

    def test_a_network_card_and_a_disk_in_one_guest(self):
        alone.bind(alone.NIC)
        md5 = self.write_disk()
        guest = self.start(GUEST, ["nvme", "e1000e"])
        self.assertRegex(guest.run("cat /proc/iomem"), r"0000:00:05\.0(?s:.*)0000:00:05\.1")
        self.has_its_serial_number(guest)
        guest.run("drivers && rmmod e1000e", alone.PATIENCE_SECONDS)
        for mode, (controller, count) in MODES.items():
            with self.subTest(f"interrupts of kind {mode}"):
                self.pings(guest, mode, controller, count)
        self.reads(guest, md5)
        self.ports(guest)
        self.no_exit_in_the_steady_state(guest)
        guest.send("reboot -f\n")
        guest.wait_for_shell()
        guest.run("drivers && rmmod e1000e", alone.PATIENCE_SECONDS)
        self.pings(guest, 2, *MODES[2])
        self.reads(guest, md5)
        self.the_host_takes_it_back(guest)
        self.reads(guest, md5)
        guest.send("poweroff -f\n")
        self.assertEqual(guest.process.wait(alone.PATIENCE_SECONDS), 0, guest.said())
        alone.bind(alone.NVME, "nvme")  # and back in the host
        with open(self.host_disk(), "rb") as file:
            self.assertEqual(hashlib.md5(file.read(DISK_BYTES)).hexdigest(), md5)

    def test_a_range_of_a_device_is_the_guests_alone(self):
        """Of the memory of a device that nobody drives; the second VM does not get it."""
        alone.unbind(EDU)
        with open(f"{alone.DEVICES}/{EDU}/enable", "w", encoding="ascii") as file:
            file.write("1")
        with open(f"{alone.DEVICES}/{EDU}/resource", encoding="ascii") as file:
            place = int(file.readline().split()[0], 16)
        text = BARE.format(image=f"{debian.BUILD}/tests/guests/bare/guest.bzimage", place=place)
        guest = alone.Alone(text, self.folder)
        self.addCleanup(guest.end)
        for command, answer in (("", "up"), ("mem c8000000", "0xc8000000: 0x10000ed"),
                                ("poke c8000004 12345678", " = "),
                                ("mem c8000004", "0xc8000004: 0xedcba987")):
            guest.send(command + "\n" if command else "")
            self.assertIn(answer, guest.read_until("(?m)^> ")[0])
        with tempfile.TemporaryDirectory() as folder:
            second = alone.Alone(text, folder)
            self.addCleanup(second.end)
            self.assertNotEqual(second.process.wait(alone.PATIENCE_SECONDS), 0)
            self.assertIn(f"guest.qvmconf:5: memory 'mem:c8000000,4K,rw={place:x}' of the host: "
                          f"another VM has memory of '{EDU}'", second.said())

    def interrupts(self, guest, name):
        """How often each of them came, by its line in /proc/interrupts."""
        lines = [line.split() for line in guest.run("cat /proc/interrupts").splitlines()]
        return {line[0]: (int(line[1]), line[2]) for line in lines if name in line[-1]}

    def has_its_serial_number(self, guest):
        """Of the extended capabilities of the card, which are error reporting and that."""
        said = guest.run("hexdump -s 256 -n 80 -v -e '1/4 \"%08x \"' "
                         "/sys/bus/pci/devices/0000:00:05.0/config").split()
        with open(f"{alone.DEVICES}/{alone.NIC}/config", "rb") as file:
            host = struct.unpack("<1024I", file.read(4096))
        self.assertEqual((host[0x40] & 0xFFFF, host[0x50] & 0xFFFF), (1, 3))
        self.assertEqual(said[0], "14000000")
        self.assertEqual(set(said[1:16]), {"00000000"})
        self.assertEqual(said[17:19], [f"{word:08x}" for word in host[0x51:0x53]])

    def pings(self, guest, mode, controller, count):
        guest.run(f"insmod /drivers/e1000e.ko IntMode={mode} && ip link set eth0 up && "
                  "ip addr add 10.0.2.15/24 dev eth0", alone.PATIENCE_SECONDS)
        guest.run("until grep -q 1 /sys/class/net/eth0/carrier; do sleep 0.1; done",
                  alone.PATIENCE_SECONDS)
        before = self.interrupts(guest, "eth0")
        said = guest.run(f"ping -c {PINGS} -i 0.2 -w 60 10.0.2.2", alone.PATIENCE_SECONDS)
        after = self.interrupts(guest, "eth0")
        print(said, before, after)
        self.assertIn(f"{PINGS} packets received", said)
        self.assertEqual(len(after), count)
        self.assertTrue(all(who == controller for _, who in after.values()), after)
        rise = sum(after[line][0] - before[line][0] for line in after)
        self.assertGreaterEqual(rise, PINGS)
        guest.run("ip link set eth0 down; rmmod e1000e", alone.PATIENCE_SECONDS)

    def reads(self, guest, md5):
        said = guest.run(f"head -c {DISK_BYTES} /dev/nvme0n1 | md5sum; "
                         "grep nvme /proc/interrupts", alone.PATIENCE_SECONDS)
        print(said)
        self.assertIn(md5, said)

    def ports(self, guest):
        """The guest writes to a port of the host; the one behind its range is nobody's."""
        guest.run("printf 'Z' | dd of=/dev/port bs=1 seek=224 conv=notrunc 2>/dev/null")
        self.assertEqual(guest.run("dd if=/dev/port bs=1 skip=224 count=1 2>/dev/null"), "Z")
        with open("/dev/port", "rb", buffering=0) as file:
            file.seek(0xe0)
            self.assertEqual(file.read(1), b"Z")
        self.assertEqual(guest.run("dd if=/dev/port bs=1 skip=232 count=1 2>/dev/null | "
                                   "hexdump -e '1/1 \"%02x\"'"), "ff")

    def the_host_takes_it_back(self, guest):
        """Which waits for nobody, and is no harm to anything else."""
        alone.bind(alone.NIC, "e1000e")
        self.assertIn("given back", guest.said())
        alone.bind(alone.NIC)

    def count_exits(self, guest):
        """How often the guest's accesses to memory of devices came to the qvm."""
        before = len(EXITS.findall(guest.said()))
        guest.process.send_signal(signal.SIGUSR1)
        alone.eventually(lambda: len(EXITS.findall(guest.said())) > before, "no state in the log")
        return int(EXITS.findall(guest.said())[-1])

    def no_exit_in_the_steady_state(self, guest):
        """Registers, interrupts and DMA of a device that works are no business of the qvm."""
        before, started = self.count_exits(guest), self.interrupts(guest, "nvme0q1")
        guest.run(f"echo 3 >/proc/sys/vm/drop_caches; head -c {DISK_BYTES} /dev/nvme0n1 | md5sum",
                  alone.PATIENCE_SECONDS)
        after, ended = self.count_exits(guest), self.interrupts(guest, "nvme0q1")
        rise = sum(count for count, _ in ended.values()) - sum(count for count, _ in started.values())
        print(f"{rise} interrupts of the disk, {after - before} exits")
        self.assertGreater(rise, 10)
        self.assertEqual(after, before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
