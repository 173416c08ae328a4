#!/usr/bin/python3
"""The stock Debian guest with two vCPUs: reboots, a crash of qvmd, its end by force."""

import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
from qvmtest import bare  # noqa: E402: debian says where it is

AT_ONCE_SECONDS = 2


def interrupts(text):
    """/proc/interrupts as {name: (counts of the CPUs, description)}."""
    table = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon:
            counts = [int(word) for word in words[:2] if word.isdigit()]
            table[name.strip()] = (counts, " ".join(words[len(counts):]))
    return table


class LifeTest(debian.DebianTest):
    def test_a_guest_with_two_vcpus_outlives_reboots_and_its_daemon(self):
        guest, console = self.boot("two", cpus=2, cmdline="panic=1")
        self.two_cpus_work(console)
        self.qvmd_dies_and_the_next_one_adopts(guest, console)
        for number, command in enumerate(
                ("reboot", "reboot -f", "echo c >/proc/sysrq-trigger"), start=1):
            with self.subTest(command):
                self.it_comes_back(guest, console, command, number)
        self.two_cpus_work(console)
        self.kill_ends_it_at_once(guest)
        self.assert_nothing_left()

    def two_cpus_work(self, console):
        self.assertEqual(console.run("nproc"), "2\n")
        table = interrupts(console.run("cat /proc/interrupts"))
        serial = [counts for counts, text in table.values() if text.endswith("ttyS0")]
        self.assertEqual(len(serial), 1, table)
        self.assertGreater(sum(serial[0]), 0)
        self.assertTrue(all(count > 0 for count in table["LOC"][0]), table["LOC"])
        where = console.run("for i in 0 1; do taskset $((1 << i)) cut -d' ' -f 39 /proc/self/stat;"
                            " done")
        self.assertEqual(where, "0\n1\n")

    def qvmd_dies_and_the_next_one_adopts(self, guest, console):
        console.run("echo before-''the-crash")
        self.qvmd.crash()
        self.assertEqual(console.run("echo me''anwhile"), "meanwhile\n")
        self.qvmd.start()
        adopted = self.qvmd.wait("two", "running")
        self.assertEqual((adopted["pid"], adopted["instance"]), (guest["pid"], guest["instance"]))
        history = self.qvmd.console("two")
        for said in (debian.READY, "before-the-crash", "meanwhile"):
            self.assertIn(said, history)
        self.qvmd.type("two", "echo still-''here\n")
        console.read_until("still-here")

    def it_comes_back(self, guest, console, command, number):
        console.send(command + "\n")
        console.wait_for_shell()
        self.assertEqual(console.run("nproc"), "2\n")
        now = self.qvmd.guest("two")
        self.assertEqual((now["state"], now["pid"], now["reboots"]),
                         ("running", guest["pid"], number))

    def kill_ends_it_at_once(self, guest):
        begin = time.monotonic()
        self.ctl("kill", "two")
        self.assertLess(time.monotonic() - begin, AT_ONCE_SECONDS)
        ended = self.qvmd.guest("two")
        self.assertEqual((ended["state"], ended["reason"]), ("stopped", "killed"))
        self.assertFalse(os.path.exists(f"/proc/{guest['pid']}"))

    def test_a_qvm_that_a_stranger_kills_has_failed_within_a_second(self):
        guest = self.qvmd.call("guest.start", name="victim", definition=bare("victim"))["guest"]
        os.kill(guest["pid"], signal.SIGKILL)
        ended = self.qvmd.wait("victim", "failed", timeout_ms=1000)
        self.assertEqual(ended["reason"], "vmm-crash")
        self.assert_nothing_left()


if __name__ == "__main__":
    debian.main()
