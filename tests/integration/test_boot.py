#!/usr/bin/env python3
"""Every way to boot, on the real /dev/kvm: the bare guest tells how it was entered."""

import os
import subprocess
import tempfile
import unittest

BUILD = os.environ["QVM_BUILD"]
QVM = os.path.join(BUILD, "qvm-worker/qvm")
GUESTS = os.path.join(BUILD, "tests/guests/bare")
ENV = {"QVM_VDEVS": os.path.join(BUILD, "vdevs")}
RUN = "run=entry,mem,poweroff"
MODULE = b"first module"
OTHER = bytes(range(256)) * 20


def module_line(name, module):
    return f"module {name}: {len(module)} bytes, sum {sum(module)}"


class BootTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-boot-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.put("one", MODULE)
        self.put("two", OTHER)

    def put(self, name, data):
        with open(os.path.join(self.directory, name), "wb") as file:
            file.write(data)

    def words(self, *words, run):
        return (QVM, "system", "boot", "ram", "16M", *words, "cmdline", run, "vdev", "ser8250",
                "hostdev", "-")

    def run_qvm(self, *words, run=RUN):
        return subprocess.run(self.words(*words, run=run), stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60, cwd=self.directory, env=ENV,
                              check=False)

    def says(self, *words, run=RUN):
        done = self.run_qvm(*words, run=run)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode().replace("\r", "").split("\n")

    def check_entry(self, image, entered, *modules, kind=("guest",), name=""):
        lines = self.says(*kind, "load", f"{GUESTS}/{image}", *[
            word for path, _ in modules for word in ("initrd", "load", path)])
        self.assertIn(f"entered: {entered}, {len(modules)} modules", lines)
        self.assertIn(f'cmdline "{name}{RUN}"', lines[0])
        self.assertIn("memory: 14336 KiB checked, 0 errors", lines)
        return lines

    def test_bzimage_starts_by_its_64_bit_entry(self):
        lines = self.check_entry("guest.bzimage", "64-bit, zero page", ("one", MODULE))
        self.assertIn(module_line("initrd", MODULE), lines)

    def test_bzimage_without_one_starts_by_its_32_bit_entry(self):
        lines = self.check_entry("guest32.bzimage", "32-bit, zero page", ("two", OTHER))
        self.assertIn(module_line("initrd", OTHER), lines)

    def test_elf64_and_elf32_start_in_the_mode_of_their_class(self):
        self.check_entry("guest.elf", "64-bit, zero page", ("one", MODULE))
        lines = self.check_entry("guest32.elf", "32-bit, zero page", ("one", MODULE))
        self.assertIn(module_line("initrd", MODULE), lines)

    def test_flat_image_starts_at_its_first_byte(self):
        self.check_entry("guest.flat", "64-bit, zero page", kind=())

    def test_pvh_finds_its_modules(self):
        lines = self.check_entry("guest.pvh", "PVH", ("one", MODULE), ("two", OTHER))
        self.assertIn(module_line("without a name", MODULE), lines)
        self.assertIn(module_line("without a name", OTHER), lines)
        self.check_entry("guest.pvh", "PVH")

    def test_multiboot_finds_its_name_and_its_modules(self):
        lines = self.check_entry("guest.multiboot", "multiboot", ("one", MODULE), ("two", OTHER),
                                 name="guest.multiboot ")
        self.assertIn(module_line("one", MODULE), lines)
        self.assertIn(module_line("two", OTHER), lines)
        self.check_entry("guest.multiboot", "multiboot", name="guest.multiboot ")

    def test_reset_loads_modules_and_information_again(self):
        for image, entered, name in (("guest.pvh", "PVH", "without a name"),
                                     ("guest.multiboot", "multiboot", "one")):
            # `mem` overwrites the module, and all else that lies in RAM.
            qvm = subprocess.Popen(
                [*self.words("guest", "load", f"{GUESTS}/{image}", "initrd", "load", "one",
                             run="run=entry,mem,reboot")],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=self.directory, env=ENV)
            self.addCleanup(qvm.wait)
            self.addCleanup(qvm.kill)
            with qvm.stdout:
                for boot in 1, 2:
                    for wanted in (f"boot {boot},", f"entered: {entered}, 1 modules",
                                   module_line(name, MODULE), "0 errors"):
                        self.read_line_with(qvm.stdout, wanted)
            qvm.kill()

    def read_line_with(self, stream, wanted):
        while True:
            line = stream.readline().decode()
            self.assertTrue(line, f"the end came before: {wanted}")
            if wanted in line:
                return

    def test_rom_starts_at_the_reset_vector_and_keeps_what_it_is(self):
        # It starts twice: the second time its copy below 1 MiB is whole again.
        done = subprocess.run(
            [QVM, "system", "boot", "ram", "16M", "rom", "fffff000,4K", "set", "acpi", "reduced",
             "load", f"fffff000,{GUESTS}/guest.rom", "vdev", "ser8250", "hostdev", "-"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, cwd=self.directory,
            env=ENV, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, rb"^RLWS\r\n-- qvm: [^\n]* --\r\nRLWS$")

    def test_each_half_of_a_pam_register_opens_its_own_segment_below_1_mib(self):
        # The second start finds all of them closed again.
        done = subprocess.run(
            [QVM, "system", "boot", "ram", "16M", "rom", "fffe0000,128K", "set", "acpi", "reduced",
             "load", f"fffff000,{GUESTS}/guest.rom", "vdev", "ser8250", "hostdev", "-",
             "vdev", "pci-dummy"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, cwd=self.directory,
            env=ENV, check=False)
        self.assertRegex(done.stdout, rb"^RLWP\r\n-- qvm: [^\n]* --\r\nRLWP$")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_rom_over_the_firmware_area_takes_no_writes_and_has_the_tables(self):
        done = subprocess.run(
            [QVM, "system", "boot", "ram", "0,640K", "rom", "0xc0000,0x40000", "ram", "100000,16M",
             "load", f"{GUESTS}/guest.bzimage", "vdev", "ser8250", "hostdev", "-", "cmdline",
             "run=poke_c0000_1,mem_c0000,poke_fff00_1,mem_fff00,acpi,reboot", "set", "on-reboot",
             "exit"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, cwd=self.directory,
            env=ENV, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        said = done.stdout.decode()
        self.assertIn("0xc0000: 0x0\r\n", said)
        self.assertIn("0xfff00: 0x0\r\n", said)
        self.assertIn("RSDP at 0xe0000, 36 bytes, checksum good", said)

    def test_what_is_wrong_is_refused_with_its_line(self):
        with open(f"{GUESTS}/guest.multiboot", "rb") as file:
            image = bytearray(file.read())
        at = image.index((0x1BADB002).to_bytes(4, "little"))
        image[at + 8] ^= 1
        self.put("bad", image)
        done = self.run_qvm("guest", "load", "bad")
        self.assertEqual(done.returncode, 65)
        self.assertIn(f"'{self.directory}/bad' has a multiboot header at 0x{at:x} whose checksum "
                      "is wrong", done.stderr.decode())
        self.assertRegex(done.stderr.decode(), r"^command line:\d+: ")


if __name__ == "__main__":
    unittest.main()
