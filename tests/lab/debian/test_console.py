#!/usr/bin/python3
"""The stock Debian guest with one vCPU: its console, its clock, its power button."""

import base64
import hashlib
import os
import sys
import time
from functools import partial

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above

LONG_LINE = "0123456789abcdef" * 200  # a terminal's line may have 4,095 bytes
BURST_LINES = 500  # of 64 bytes: more than every buffer on the way but the ring. Each byte costs
BURST_SECONDS = 120  # an exit, and the lab's are slow: tests of the bare guest send more
CLOCK_ERROR_SECONDS = 3


class ConsoleTest(debian.DebianTest):
    def test_a_guest_with_one_vcpu_from_its_shell_to_its_power_button(self):
        guest, console = self.boot("one")
        self.in_turn(partial(self.the_shell_answers, console),
                     partial(self.a_long_line_arrives_whole, console),
                     partial(self.a_burst_is_complete, console),
                     partial(self.its_clock_is_right, console),
                     partial(self.the_power_button_ends_it, guest))
        self.assert_nothing_left()

    def the_shell_answers(self, console):
        self.assertEqual(console.run("echo $((6 * 7))"), "42\n")
        self.assertEqual(console.run("nproc"), "1\n")
        self.assertIn("Linux version", console.run("cat /proc/version"))

    def a_long_line_arrives_whole(self, console):
        console.begin("head -n 1 | md5sum")
        console.send(LONG_LINE + "\n")
        line = (LONG_LINE + "\n").encode()
        self.assertIn(hashlib.md5(line).hexdigest(), console.finish())

    def a_burst_is_complete(self, console):
        expected = "".join(f"{i:063}\n" for i in range(BURST_LINES))
        begin = self.said_so_far()
        program = f'BEGIN {{ for (i = 0; i < {BURST_LINES}; i++) printf "%063d\\n", i }}'
        self.assertEqual(console.run(f"awk '{program}' | cat", BURST_SECONDS), expected)
        self.assertIn(expected.replace("\n", "\r\n"), self.read_all(begin)[0])

    def said_so_far(self):
        """The offset behind it."""
        return self.read_all(0)[1]

    def read_all(self, offset):
        """What the guest said since then, by offset, and where that ends; nothing may be missing."""
        text = b""
        while True:
            piece = self.qvmd.call("console.read", name="one", offset=offset)
            self.assertEqual(piece.get("lost", 0), 0)
            if not piece["data"]:
                return text.decode(), offset
            text += base64.b64decode(piece["data"])
            offset = piece["next"]

    def its_clock_is_right(self, console):
        before = time.time()
        seconds = int(console.run("date +%s"))
        self.assertGreater(seconds, before - CLOCK_ERROR_SECONDS)
        self.assertLess(seconds, time.time() + CLOCK_ERROR_SECONDS)
        clock = console.run("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
        self.assertEqual(clock, "kvm-clock\n")
        rtc = time.time() - int(console.run("cat /sys/class/rtc/rtc0/since_epoch"))
        self.assertLess(abs(rtc), CLOCK_ERROR_SECONDS)

    def the_power_button_ends_it(self, guest):
        self.assertRegex(self.ctl("stop", "one", "--timeout", "60"), r"stopped \(poweroff\)")
        ended = self.qvmd.guest("one")
        self.assertEqual((ended["state"], ended["reason"], ended.get("exit_status", 0)),
                         ("stopped", "poweroff", 0))
        self.assertFalse(os.path.exists(f"/proc/{guest['pid']}"))
        events = self.ctl("events", "one")
        self.assertRegex(events, r"stopped.*poweroff")


if __name__ == "__main__":
    debian.main()
