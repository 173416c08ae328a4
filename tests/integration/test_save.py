#!/usr/bin/env python3
"""A guest whose vdevs are saved, reset and restored all the time notices nothing: interrupt
controllers of KVM's and of the qvm's, timers, disk, random numbers, clock, keyboard, serial line, a
PCI function with MSI-X."""

import os
import re
import signal
import subprocess
import tempfile
import unittest

BUILD = os.environ["QVM_BUILD"]
QVM = os.path.join(BUILD, "qvm-worker/qvm")
GUESTS = os.path.join(BUILD, "tests/guests/bare")

DEVICES = """
vdev mc146818
vdev pckeyboard
vdev hpet loc mem:fed00000,1024 intr ioapic:2 intr ioapic:8 intr ioapic:20
vdev wdt-ib700
vdev progress
vdev virtio-blk loc mem:feb00000,512 intr ioapic:16 hostdev disk.img
vdev virtio-entropy loc mem:feb00200,512 intr ioapic:17
vdev pci-dummy loc pci:0:5 bar 0,mem,4K vectors 4 test on
vdev test-dev save-every 5
"""
WORK = ["blk feb00000 16 write 0 64 5", "blk feb00000 16 read 0 64 5", "rng feb00200 17 64",
        "msix 5 200", "irqs", "time", "flood 300", "poweroff"]


class SaveTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-save-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def run_guest(self, vdevs):
        """What it said, and its log: with the state of its vdevs, asked for in the middle."""
        with open(os.path.join(self.directory, "disk.img"), "wb") as file:
            file.truncate(1 << 20)
        with open(os.path.join(self.directory, "t.qvmconf"), "w", encoding="utf-8") as file:
            file.write(f"system t ram 16M cpu load {GUESTS}/devices.bzimage\n{vdevs}\n"
                       f"cmdline \"run={','.join(WORK).replace(' ', '_')}\"\n")
        with subprocess.Popen([QVM, "@t.qvmconf"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.directory,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")}) as process:
            said = b""
            for line in process.stdout:
                said += line
                if b"levels came" in line:
                    process.send_signal(signal.SIGUSR1)
            log = process.stderr.read().decode()
            self.assertEqual(process.wait(timeout=20), 0, log)
        return said.decode().replace("\r", ""), log

    def check(self, controllers):
        said, log = self.run_guest(controllers + DEVICES)
        self.assertIn("wrote 64 sectors at 0: status 0", said)
        self.assertIn("read 64 sectors at 0: status 0, 64 good", said)
        self.assertIn("rng: 64 bytes:", said)
        self.assertEqual(said.count(": 200 interrupts, "), 5, said)
        self.assertIn("msix: 200 interrupts", said)
        self.assertRegex(said, r"timer by the 8259: 20 ticks\n")
        restores = re.search(r"test-dev\D* restores\D+(\d+)", log)
        self.assertIsNotNone(restores, log)
        self.assertGreater(int(restores.group(1)), 5, log)

    def test_a_guest_with_kvms_interrupt_controllers_notices_nothing(self):
        self.check("vdev ser8250 vdev timer8254\n")

    def test_a_guest_with_interrupt_controllers_of_the_qvm_notices_nothing(self):
        self.check("vdev ioapic loc 0xf8000000 intr apic name myioapic\n"
                   "vdev ser8250 intr myioapic:4\nvdev timer8254 intr myioapic:0\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
