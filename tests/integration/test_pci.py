#!/usr/bin/env python3
"""PCI on the real /dev/kvm: the bare-metal guest walks the bus, takes interrupts, writes nonsense."""

import unittest

import storm
from alonetest import GUESTS, PROMPT, AloneTest

CONFIGURATION = f"""system pci
ram 16M
guest load {GUESTS}/devices.bzimage
vdev ser8250 hostdev -
vdev pci-dummy
vdev pci-dummy loc pci:0:1 reg 0,10011af4
vdev pci-dummy loc pci:0:5 reg 0,56781234 reg 8,ff000007 bar 0,mem,4K bar 1,io,16 bar 2,mem64,64K
    vectors 2 msi 4 test on
vdev pci-dummy loc pci:0:5.3
"""


class PciTest(AloneTest):
    """What is tested of a qvm alone, once more, is not: the methods below only."""

    def boot(self, *words):
        self.put("pci.qvmconf", CONFIGURATION)
        qvm = self.start("@pci.qvmconf", *words)
        self.read_until(qvm.stdout.fileno(), PROMPT)
        return qvm

    def ask(self, qvm, line):
        self.type_at(qvm, line.encode())
        return self.read_until(qvm.stdout.fileno(), PROMPT).decode()

    def power_off(self, qvm):
        self.type_at(qvm, b"poweroff")
        self.assertEqual(qvm.wait(10), 0)

    def test_a_guest_finds_every_function_by_ports_and_ecam(self):
        qvm = self.boot()
        told = self.ask(qvm, "pci")
        functions = [line.split() for line in told.splitlines() if line.startswith("pci ") and line.strip() != "pci"]
        self.assertEqual([f[1] for f in functions], ["0.0", "1.0", "2.0", "5.0", "5.3"], told)
        self.assertIn("pci 1.0 1af4:1001 class", told)  # who names a place has it
        self.assertIn("pci 5.0 1234:5678 class ff0000 line 21", told)
        self.assertNotIn("NOT BY ECAM", told)
        self.power_off(qvm)

    def test_a_guest_takes_msix_and_level_triggered_interrupts(self):
        qvm = self.boot()
        told = self.ask(qvm, "msix 5 20")
        self.assertIn("msix: 0 before it is unmasked", told)
        self.assertIn("msix: 20 interrupts", told)
        self.assertIn("intx: 20 interrupts", self.ask(qvm, "intx 5 20"))
        self.assertIn("msix: 3 interrupts", self.ask(qvm, "msix 5 3"))
        self.power_off(qvm)

    def test_a_guest_takes_messages_of_msi_and_those_that_others_raise(self):
        for words in ((), ("vdev", "ioapic", "loc", "f8000000")):  # KVM's controllers, and ours
            qvm = self.boot(*words)
            told = self.ask(qvm, "msi 5 20")
            self.assertIn("msi: 0 before it is unmasked, pending 0x1", told)
            self.assertIn("msi: 20 interrupts", told)
            for _ in range(2):
                told = self.ask(qvm, "events 5 20")  # KVM hears the event descriptor
                self.assertIn("events: 0 before it is unmasked", told)
                self.assertIn("events: 20 interrupts", told)
                self.assertIn("msix: 20 interrupts", self.ask(qvm, "msix 5 20"))
                self.type_at(qvm, b"reboot")
                self.assertIn("boot ", self.read_until(qvm.stdout.fileno(), PROMPT).decode())
            self.assertIn("intx: 20 interrupts", self.ask(qvm, "intx 5 20"))
            self.power_off(qvm)

    def test_a_line_that_others_raise_falls_when_its_interrupt_is_ended(self):
        qvm = self.boot()
        for _ in range(2):
            self.assertRegex(self.ask(qvm, "lines 5 20"), r"lines: 2\d interrupts, 20 ends")
            self.assertIn("intx: 20 interrupts", self.ask(qvm, "intx 5 20"))  # and that of the device
            self.type_at(qvm, b"reboot")
            self.read_until(qvm.stdout.fileno(), PROMPT)
        self.power_off(qvm)

    def test_a_guest_finds_what_is_behind_bridges_and_takes_its_interrupts(self):
        dummy = ("reg", "0,56781234", "bar", "0,mem,4K", "vectors", "2", "msi", "4", "test", "on")
        qvm = self.boot("vdev", "pci-dummy", "loc", "pci:3:6", *dummy,
                        "vdev", "pci-dummy", "loc", "pci:9:1")
        for _ in range(2):
            told = self.ask(qvm, "pci")
            self.assertIn("pci 30.0 1b36:1 class 60400", told)
            self.assertIn("pci 29.0 1b36:1 class 60400", told)
            self.assertIn("pci 3:6.0 1234:5678 class", told)
            self.assertIn("line 18", told)  # pin A of device 6 is pin C of the bridge
            self.assertIn("pci 9:1.0 1b36:5 class", told)
            self.assertNotIn("NOT BY ECAM", told)
            for kind in ("msix", "msi", "events", "intx"):
                self.assertIn(f"{kind}: 20 interrupts", self.ask(qvm, f"{kind} 3:6 20"))
            self.type_at(qvm, b"reboot")
            self.read_until(qvm.stdout.fileno(), PROMPT)
        self.power_off(qvm)

    def test_full_acpi_has_a_button_a_switch_and_a_bridge_to_isa(self):
        qvm = self.boot("set", "acpi", "full")
        self.assertIn("pci 31.0 8086:2918 class 60100", self.ask(qvm, "pci"))
        self.assertIn("reset register 0xcf9", self.ask(qvm, "acpi"))
        qvm.terminate()  # the power button
        self.assertIn(b"power button", self.read_until(qvm.stdout.fileno(), b"power button"))
        self.assertEqual(qvm.wait(10), 0)
        self.assertIn(b"reason=poweroff", qvm.stderr.read())

    def test_nonsense_in_configuration_space_bars_and_messages_leaves_the_qvm_healthy(self):
        for words in ((), ("set", "acpi", "full"), ("vdev", "ioapic", "loc", "f8000000")):
            qvm = self.boot(*words)
            for seed in storm.seeds(3):
                self.assertIn("storm: 1000 writes", self.ask(qvm, f"pcistorm {seed} 1000"))
            self.assertIn("you said: well", self.ask(qvm, "well"))
            self.type_at(qvm, b"reboot")  # a reset brings all of it back
            self.assertIn("boot 2", self.read_until(qvm.stdout.fileno(), PROMPT).decode())
            for kind in ("msix", "msi", "events", "intx"):
                self.assertIn(f"{kind}: 5 interrupts", self.ask(qvm, f"{kind} 5 5"))
            self.assertIn("pci 5.0 1234:5678", self.ask(qvm, "pci"))
            self.power_off(qvm)

    def test_what_cannot_be_on_the_bus_is_refused_with_file_and_line(self):
        for line, sentence in (
            ("loc pci:0:0", "pci:0:0.0 belongs to the PCI host bridge"),
            ("loc pci:0:1", "pci:0:1.0 belongs to vdev pci-dummy-2"),
            ("loc pci:3:1.2", "is function 2 of PCI device 3:1, which has no function 0"),
            ("loc pci:0:9.1", "which has no function 0: a guest would not find it"),
            ("intr ioapic:5", "is on PCI, where its place decides which interrupt it has"),
            ("bar 0,mem,3000", "which is no power of two"),
            ("msi 3", "3 messages of MSI: there are 1, 2, 4, 8, 16 or 32"),
            ("bar 0,tape,4K", "bar '0,tape,4K' is not INDEX,KIND,SIZE"),
            ("reg 10,0", "reg sets the registers 0, 8 and 2c"),
            ("clone x", "'clone' is not supported"),
        ):
            self.put("bad.qvmconf", CONFIGURATION + f"vdev pci-dummy {line}\n")
            done = self.run_qvm("@bad.qvmconf", "dryrun")
            self.assertEqual(done.returncode, 65, done.stderr)
            self.assertIn("bad.qvmconf:10:", done.stderr.decode())
            self.assertIn(sentence, done.stderr.decode())

    def test_ports_of_power_management_are_taken_before_any_vdev_comes(self):
        self.put("bad.qvmconf", f"system pm ram 16M set acpi full load {GUESTS}/guest.bzimage\n"
                 "vdev ser8250 loc io:640,8 intr ioapic:5\n")
        done = self.run_qvm("@bad.qvmconf", "dryrun")
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn("bad.qvmconf:2:", done.stderr.decode())
        self.assertIn("ACPI's power management (0x600-0x67f)", done.stderr.decode())


if __name__ == "__main__":
    suite = unittest.TestSuite(PciTest(name) for name in PciTest.__dict__ if name.startswith("test_"))
    raise SystemExit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
