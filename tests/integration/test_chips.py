#!/usr/bin/env python3
"""Emulated vdevs with a bare-metal guest on the real /dev/kvm: interrupt controllers of KVM's and of
the qvm's, the interval timer, watchdog, debug-exit, progress, test-dev; a storm of random accesses
(storm.py says how long)."""

import os
import re
import signal
import subprocess
import tempfile
import time
import unittest

import storm

BUILD = os.environ["QVM_BUILD"]
QVM = os.path.join(BUILD, "qvm-worker/qvm")
GUESTS = os.path.join(BUILD, "tests/guests/bare")
STORM = 10000  # accesses of one round

# As configurations for QNX Hypervisor name the controllers of an x86 guest.
ELSEWHERE = """
vdev ioapic
    loc 0xf8000000
    intr apic
    name myioapic
vdev ser8250
    intr myioapic:4
vdev timer8254
    intr myioapic:0
vdev mc146818
vdev 8259
    loc 0x20
vdev 8259
    loc 0xa0
"""
USUAL = "vdev ioapic vdev 8259 vdev 8259 vdev ser8250 vdev timer8254\n"
USUAL_PIN_0 = "vdev ser8250 vdev timer8254 intr ioapic:0\n"
TIMER_OF_ITS_OWN = "vdev ser8250 vdev timer8254 vdev timer8254 loc io:a40,4 loc io:a61 intr ioapic:7\n"


class ChipsTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-chips-")
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "t.qvmconf")

    def configure(self, vdevs, run):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(f"system t ram 16M cpu cpu load {GUESTS}/devices.bzimage\n{vdevs}\n"
                       f"cmdline \"run={','.join(run).replace(' ', '_')}\"\n")

    def run_guest(self, vdevs, *run):
        self.configure(vdevs, run)
        done = subprocess.run([QVM, "@" + self.path], input=b"", capture_output=True, timeout=15,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")}, check=False)
        return (done.returncode, done.stdout.decode(errors="replace").replace("\r", ""),
                done.stderr.decode())

    def expect_interrupts(self, said, pin, times=1):
        found = re.findall(r"^(.*): 200 interrupts, \d+ cycles each$", said, re.MULTILINE)
        self.assertEqual(found, ["8259", "second 8259", "edges", "levels"] * times, said)
        self.assertEqual(said.count("timer by the 8259: 20 ticks\n"), times, said)
        self.assertEqual(said.count(f"timer by pin {pin}: 20 ticks\n"), times, said)
        # Each level is told until the device lowers its line, which it does the third time. One that
        # is lowered between its end and its next delivery may come once more.
        for levels in re.findall(r"levels came (\d+) times", said):
            self.assertIn(int(levels), range(600, 801), said)

    def test_controllers_of_the_qvm_bring_every_interrupt(self):
        status, said, log = self.run_guest(ELSEWHERE + "vdev test-dev vdev debug-exit", "acpi",
                                           "irqs", "cpus", "out 501 1")
        self.assertEqual(status, 33, log)
        self.assertIn("IOAPIC 0xf8000000, CPUs 2", said)
        self.assertIn("2 cpus up", said)
        self.expect_interrupts(said, 0)

    def test_controllers_of_kvm_bring_every_interrupt(self):
        for vdevs, pin in ((USUAL, 2), (USUAL_PIN_0, 0), (TIMER_OF_ITS_OWN, 2)):
            with self.subTest(vdevs=vdevs):
                status, said, log = self.run_guest(vdevs + "vdev test-dev vdev debug-exit", "acpi",
                                                   "irqs", "out 501 1")
                self.assertEqual(status, 33, log)
                self.assertIn("IOAPIC 0xfec00000", said)
                self.expect_interrupts(said, pin)

    def test_controllers_are_as_new_after_a_reset(self):
        self.configure(ELSEWHERE + "vdev test-dev vdev debug-exit vdev pckeyboard", ["irqs"])
        with subprocess.Popen([QVM, "@" + self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")}) as process:
            try:
                said = self.read_until(process, b"levels came")
                process.stdin.write(b"kbreset\r")
                process.stdin.flush()
                said += self.read_until(process, b"boot 2")
                said += self.read_until(process, b"levels came")
                said += self.read_until(process, b"times")
                process.stdin.write(b"out 501 2\r")
                process.stdin.flush()
                self.assertEqual(process.wait(timeout=60), 34)
                self.expect_interrupts(said.replace(b"\r", b"").decode(), 0, times=2)
            finally:
                process.kill()

    def read_until(self, process, what):
        said = b""
        end = time.monotonic() + 60
        while what not in said:
            self.assertLess(time.monotonic(), end, said)
            byte = os.read(process.stdout.fileno(), 1)
            self.assertNotEqual(byte, b"", said)
            said += byte
        return said

    def test_debug_exit_ends_with_a_status_of_the_guests(self):
        self.assertEqual(self.run_guest("vdev ser8250 vdev debug-exit", "out 501 7")[0], 39)
        self.assertEqual(self.run_guest("vdev ser8250 vdev debug-exit", "out 501 3f")[0], 63)
        as_qemu = "vdev ser8250 vdev debug-exit loc io:f4,4 qemu on"
        self.assertEqual(self.run_guest(as_qemu, "out f4 0")[0], 1)
        self.assertEqual(self.run_guest(as_qemu, "out f4 1")[0], 3)

    def test_a_watchdog_bites(self):
        vdevs = "vdev ser8250 vdev wdt-ib700 "
        status, _, log = self.run_guest(vdevs, "out 443 f", "spin")
        self.assertEqual(status, 4)
        self.assertIn('reason=watchdog status=4 message="the guest\'s watchdog expired"', log)
        status, _, log = self.run_guest(vdevs + "action poweroff", "out 443 f", "hang")
        self.assertEqual((status, "reason=poweroff" in log), (0, True), log)
        self.configure(vdevs + "action reset", ["out 443 f"])
        with subprocess.Popen([QVM, "@" + self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")}) as process:
            try:
                self.read_until(process, b"boot 2")
            finally:
                process.kill()

    def test_progress_and_others_show_their_state(self):
        self.configure(ELSEWHERE + "vdev progress vdev test-dev vdev debug-exit",
                       ["out 80 42", "out e0 12", "in e8", "in 80", "echo ready"])
        with subprocess.Popen([QVM, "@" + self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")}) as process:
            try:
                said = self.read_until(process, b"\nready")
                self.assertIn(b"port 0xe8: 0x12", said)
                self.assertIn(b"port 0x80: 0x42", said)
                process.send_signal(signal.SIGUSR1)
                log = b""
                while b"device=debug-exit status" not in log:
                    log += os.read(process.stderr.fileno(), 4096)
                for line in (rb'device=progress mark1="0x42 after \d+ us"',
                             rb'device=test-dev echo="0x00000012"',
                             rb'device=myioapic pin4="0x0000000000000020"',
                             rb'device=8259 role="master"', rb'device=8259-2 role="slave"',
                             rb'device=timer8254 counter0="mode=3'):
                    self.assertRegex(log, line)
            finally:
                process.kill()

    def test_a_storm_of_random_accesses_leaves_the_qvm_healthy(self):
        others = ("vdev test-dev vdev debug-exit vdev progress vdev pckeyboard vdev wdt-ib700 action "
                  "none vdev ser8250 loc io:2f8 intr ioapic:3 name com2\n")
        for vdevs in (USUAL + "vdev mc146818\n", ELSEWHERE):
            with self.subTest(vdevs=vdevs):
                self.configure(vdevs + others, ["echo ready"])
                with subprocess.Popen([QVM, "@" + self.path], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")}) as process:
                    try:
                        self.blow(process)
                    finally:
                        process.kill()

    def ask(self, process, line, answer):
        process.stdin.write(line.encode() + b"\r")
        process.stdin.flush()
        return self.read_until(process, answer)

    def blow(self, process):
        self.read_until(process, b"\nready")
        for _ in storm.seeds(1):
            self.ask(process, f"randomly {STORM}", f"{STORM} accesses".encode())
        said = self.ask(process, "irqs", b"levels came")
        self.assertEqual(said.count(b"200 interrupts"), 4, said)
        self.ask(process, "ticks 5", b"ticks")
        self.ask(process, "echo alive", b"\nalive")
        process.stdin.write(b"out 501 9\r")
        process.stdin.flush()
        self.assertEqual(process.wait(60), 41)
        self.assertNotRegex(process.stderr.read(), rb"(?i)error|assert|warn")

    def test_too_many_controllers_are_refused(self):
        for vdevs, sentence in (
                ("vdev ioapic\nvdev ioapic loc mem:f0000000",
                 "t.qvmconf:3: a VM has one ioapic; there is that of t.qvmconf:2"),
                ("vdev 8259\nvdev 8259\nvdev 8259 loc io:30",
                 "t.qvmconf:4: a VM has two 8259; there are those of t.qvmconf:2 and t.qvmconf:3"),
                ("vdev ser8250 intr nobody:4",
                 "intr 'nobody:4': there is no interrupt controller 'nobody' before this line"),
                ("vdev ioapic name a\nvdev ser8250 intr a:24",
                 "intr 'a:24': the lines are 0 to 23")):
            status, _, log = self.run_guest(vdevs, "echo no")
            self.assertEqual(status, 65, log)
            self.assertIn(sentence, log.replace(os.path.dirname(self.path) + "/", ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
