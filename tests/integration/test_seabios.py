#!/usr/bin/env python3
"""SeaBIOS as Debian has it: from power-on to its last word, through a reset, into a disk."""

import os
import subprocess
import tempfile
import unittest

BUILD = os.environ["QVM_BUILD"]
QVM = os.path.join(BUILD, "qvm-worker/qvm")
GUESTS = os.path.join(BUILD, "tests/guests/bare")
SEABIOS = "/usr/share/seabios"


@unittest.skipUnless(os.path.exists(f"{SEABIOS}/bios.bin"), "no seabios (tests/setup integration)")
class SeabiosTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-seabios-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def start(self, image, kib, more=""):
        start = (1 << 32) - kib * 1024
        with open(f"{self.directory}/t.qvmconf", "w", encoding="utf-8") as file:
            file.write(f"system sea ram 64M\nrom 0x{start:x},{kib}K\n"
                       f"load 0x{start:x},{SEABIOS}/{image}\n{more}\n")
        qvm = subprocess.Popen([QVM, "@t.qvmconf"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               cwd=self.directory,
                               env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        self.addCleanup(qvm.wait)
        self.addCleanup(qvm.kill)
        self.addCleanup(qvm.stdout.close)
        return qvm

    def expect(self, qvm, *wanted):
        for words in wanted:
            said = b""
            while words not in said:
                line = qvm.stdout.readline()
                self.assertTrue(line, f"the end came before: {words}")
                said += line

    def test_it_finds_nothing_to_boot_says_so_on_the_serial_line_and_starts_again(self):
        qvm = self.start("bios-256k.bin", 256, "vdev fw-cfg boot-fail-wait 100")
        boot = (b"SeaBIOS (version ", b"Machine UUID ", b"No bootable device.")
        self.expect(qvm, *boot, b"rebooted (1)", *boot)

    def test_the_small_one_runs_without_pci_as_well(self):
        qvm = self.start("bios.bin", 128, "set acpi reduced")
        self.expect(qvm, b"SeaBIOS (version ", b"No bootable device.")

    def test_it_copies_itself_to_shadow_ram_and_places_what_acpi_tells(self):
        """Twice: a reset takes the shadow RAM back to ROM."""
        log = f"{self.directory}/firmware.log"
        qvm = self.start("bios-256k.bin", 256,
                         "vdev fw-cfg boot-fail-wait 100\ncpu cpu set cores 1\n"
                         f"vdev debugcon hostdev >{log}\nvdev pci-dummy bar 0,mem,4K\n")
        self.expect(qvm, b"rebooted (1)", b"No bootable device.")
        with open(log, encoding="ascii", errors="replace") as file:
            said = file.read()
        self.assertEqual(said.count("Relocating init from"), 2)
        self.assertEqual(said.count("Found 2 cpu(s)"), 2)
        self.assertNotIn("unable to unlock ram", said)
        self.assertIn("mmconfig at 0xb0000000", said)

    def check_disk(self, place):
        word = f"a sector of {place or 'PCI'}"
        with open(f"{GUESTS}/bootsector", "rb") as file:
            sector = file.read()
        self.assertEqual(len(sector), 512)
        with open(f"{self.directory}/disk.img", "wb") as file:
            file.write(sector + word.encode().ljust(512, b"\0") + bytes(1 << 20))
        qvm = self.start("bios-256k.bin", 256, f"vdev virtio-blk hostdev disk.img {place}")
        self.expect(qvm, word.encode())
        self.assertEqual(qvm.wait(60), 0)

    def test_it_boots_a_disk_on_pci(self):
        self.check_disk("")

    def test_it_boots_a_disk_behind_a_bridge_that_it_numbers_itself(self):
        self.check_disk("loc pci:7:3")

    def test_it_boots_a_disk_at_an_address(self):
        self.check_disk("loc mem:0xfeb00000,512 intr ioapic:20")


if __name__ == "__main__":
    unittest.main()
