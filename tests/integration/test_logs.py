#!/usr/bin/env python3
"""Logs: what qvms and guests said, in files that are bounded, read by offset and followed."""

import base64
import os
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from qvmtest import BUILD, QvmdTest, Refused, main  # noqa: E402

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")
FILE = 64 * 1024


class LogTest(QvmdTest):
    settings = ("log-size 64K", "log-count 2")

    def read(self, name="a", **options):
        answer = self.qvmd.call("guest.log", name=name, **options)
        return base64.b64decode(answer["data"]).decode(), answer

    def read_all(self, name="a", console=True):
        """Everything from the first byte that is kept, and its offset."""
        text, answer = self.read(name, console=console, lines=1000000)
        begin = answer["next"] - len(text)  # it is ASCII
        while answer["next"] < answer["end"]:
            piece, answer = self.read(name, console=console, offset=answer["next"])
            text += piece
        return text, begin

    def type_and_wait(self, name, command, answer):
        self.qvmd.type(name, command + "\r")
        self.eventually(lambda: answer in self.read(name, console=True)[0], f"no {answer}", 120)

    def start_at_prompt(self, name="a"):
        self.start(name)
        self.assert_console(name, "> ")

    def files(self):
        path = os.path.join(self.qvmd.home, "log")
        return {name: os.path.getsize(os.path.join(path, name)) for name in os.listdir(path)
                if name != "audit.jsonl"}

    def qvmctl(self, *words):
        child = subprocess.Popen([QVMCTL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env={**os.environ, "QVM_SOCKET": self.qvmd.socket})

        def end():
            child.kill()
            child.wait()
            child.stdout.close()
            child.stderr.close()
        self.addCleanup(end)
        return child

    def heard(self, child, text, seconds=30):
        """What a qvmctl prints, up to `text`."""
        data, end = b"", time.monotonic() + seconds
        while text.encode() not in data:
            ready, _, _ = select.select([child.stdout], [], [], max(0, end - time.monotonic()))
            self.assertTrue(ready, f"never heard {text!r}, but {data[-300:]!r}")
            piece = os.read(child.stdout.fileno(), 65536)
            self.assertTrue(piece, f"it ended after {data[-300:]!r}")
            data += piece
        return data.decode()

    def test_consoles_and_logs_go_on_over_instances_with_marks(self):
        for number in (1, 2):
            self.start_at_prompt()
            self.type_and_wait("a", f"echo run_{number}", f"run_{number}\r\n> ")
            self.qvmd.call("guest.stop", name="a")
        text, lost = self.read_all()
        self.assertEqual(lost, 0)
        marks = [one for one in text.splitlines() if one.startswith("-- qvm: ")]
        self.assertEqual([mark.split(",")[0] for mark in marks], [
            "-- qvm: guest 'a' starts", "-- qvm: guest 'a' has ended (poweroff)"] * 2)
        self.assertIn("instance 2, 20", marks[2])
        self.assertLess(text.index("run_1"), text.index(marks[2]))
        self.assertLess(text.index(marks[2]), text.index("run_2"))
        text, _ = self.read_all(console=False)
        self.assertEqual(text.count("run: ended reason=poweroff"), 2)
        self.assertRegex(text, r"(?m)^20\d\d-\d\d-\d\dT[0-9:.]+Z run: ended")

    def test_a_reboot_is_marked_in_the_console_log(self):
        self.start_at_prompt()
        self.qvmd.type("a", "reboot\r")
        self.eventually(lambda: "boot 2" in self.read(console=True)[0], "no reboot", 20)
        self.assertIn("-- qvm: guest 'a' rebooted (1) --", self.read(console=True)[0])

    def test_a_flood_fills_no_more_than_it_may_and_what_is_lost_is_counted(self):
        self.start_at_prompt()
        self.qvmd.type("a", "flood 12000\r")
        self.eventually(lambda: "line 12000 of" in self.read(console=True)[0], "no end", 180)
        files = self.files()
        self.assertEqual(sorted(files), ["a.console", "a.console.1", "a.console.2", "a.log"])
        self.assertLessEqual(max(files.values()), FILE)
        text, lost = self.read_all()
        self.assertGreater(lost, 0)
        lines = [one for one in text.splitlines() if one.startswith("line ")]
        numbers = [int(one.split()[1]) for one in lines[1:]]
        missing = numbers[-1] - numbers[0] + 1 - len(numbers)
        if "bytes lost" not in text:
            self.assertEqual(missing, 0, "lines are missing in the middle, and nothing says so")

    def test_the_console_log_goes_on_where_a_killed_qvmd_left_it(self):
        self.start_at_prompt()
        self.type_and_wait("a", "echo before", "before\r\n> ")
        self.qvmd.crash()
        worker = self.qvmd.workers()[0]
        self.assertTrue(worker)
        self.qvmd.start()
        self.eventually(self.is_found("a"), "not adopted")
        self.type_and_wait("a", "echo after", "after\r\n> ")
        text, _ = self.read_all()
        self.assertEqual(text.count("echo before"), 1)
        self.assertEqual(text.count("qvm-guest: up"), 1)
        self.assertIn("qvmd connected", self.read()[0])

    def test_what_was_said_while_there_was_no_qvmd_is_written_down(self):
        self.start_at_prompt()
        self.qvmd.type("a", "ticks 700\rreboot\r")
        self.eventually(lambda: "ticks 700" in self.qvmd.console("a"), "not typed")
        self.qvmd.crash()
        time.sleep(1.5)
        self.qvmd.start()
        self.qvmd.wait("a", "running")
        self.eventually(lambda: "boot 2" in self.read(console=True)[0], "no boot 2", 20)
        self.eventually(lambda: "guest reset count=1" in self.read()[0], "no log line", 20)
        text, _ = self.read_all()
        self.assertEqual(text.count("qvm-guest: up"), 2)

    def test_files_are_the_daemons_and_owners_read_them_through_the_api(self):
        self.start_at_prompt()
        for name in self.files():
            status = os.stat(os.path.join(self.qvmd.home, "log", name))
            self.assertEqual((status.st_mode & 0o777, status.st_uid), (0o600, os.getuid()))
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.call("guest.undefine", name="a")
        self.assertEqual(self.files(), {})

    def test_the_last_lines_are_found(self):
        self.start_at_prompt()
        self.type_and_wait("a", "flood 5000", "line 5000 of the flood\r\n> ")
        text, answer = self.read(console=True, lines=3)
        self.assertEqual(text, "line 4999 of the flood\r\nline 5000 of the flood\r\n> ")
        self.assertEqual(answer["next"], answer["end"])
        done = self.qvmctl("log", "--console", "-n", "4000", "a")
        out, _ = done.communicate(timeout=60)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(out.count(b"\n"), 3999)
        self.assertTrue(out.startswith(b"line 1002 of"), out[:40])

    def test_a_follower_hears_all_across_rotation_reboot_instances_and_qvmds(self):
        self.start_at_prompt()
        child = self.qvmctl("log", "-f", "--console", "-n", "1", "a")
        self.heard(child, "> ")
        self.qvmd.type("a", "flood 3500\r")  # more than a file
        said = self.heard(child, "line 3500 of the flood\r\n> ", 120)
        numbers = [int(one.split()[1]) for one in said.splitlines() if one.startswith("line ")]
        if "bytes lost" not in said:
            self.assertEqual(numbers, list(range(1, 3501)))
        self.qvmd.type("a", "reboot\r")
        self.heard(child, "boot 2")
        self.qvmd.restart()
        self.eventually(self.is_found("a"), "not adopted")
        self.qvmd.type("a", "echo still_there\r")
        self.heard(child, "still_there\r\n> ")
        self.qvmd.call("guest.stop", name="a")
        self.heard(child, "has ended (poweroff)")
        self.start_at_prompt()
        said = self.heard(child, "qvm-guest: up")
        self.assertIn("starts, instance 2", said)
        child.send_signal(signal.SIGTERM)
        child.wait(10)
        self.assertIn(b"qvmd is gone", child.stderr.read())

    def test_a_follower_of_the_log_hears_each_line(self):
        self.start_at_prompt()
        child = self.qvmctl("log", "-f", "a")
        self.heard(child, "starts, instance 1")
        self.qvmd.type("a", "reboot\r")
        self.heard(child, "guest reset count=1")
        self.qvmd.call("guest.kill", name="a")
        self.heard(child, "has ended (killed)")
        self.qvmd.call("guest.undefine", name="a")
        self.assertEqual(child.wait(10), 3)

    def test_a_follower_has_its_time(self):
        self.start_at_prompt()
        child = self.qvmctl("log", "-f", "--timeout", "0.5", "a")
        self.assertEqual(child.wait(30), 7)

    def test_who_waits_costs_nothing_and_waits_are_bounded(self):
        self.start_at_prompt()
        end = self.read()[1]["end"]
        clients = [self.qvmd.client() for _ in range(4)]
        for client in clients:
            self.addCleanup(client.close)
            for _ in range(64):
                client.request("guest.log", name="a", offset=end, wait_ms=60000)
            client.call("guest.list")  # answered after those were read
        with self.assertRaises(Refused) as caught:
            self.read(offset=end, wait_ms=60000)
        self.assertEqual(caught.exception.message, "too many calls wait for what guest 'a' says")
        clients[0].close()

        def has_room():
            try:
                self.read(offset=end, wait_ms=1)
            except Refused:
                return False
            return True

        self.eventually(has_room, "those who left made no room")
        with self.qvmd.client() as client:
            number = client.request("guest.log", name="a", offset=end, wait_ms=60000)
            self.qvmd.type("a", "reboot\r")
            self.assertIn(b"reset", base64.b64decode(client.answer(number)["data"]))


class NoConsoleLogTest(QvmdTest):
    settings = ("console-log no",)

    def test_a_console_that_is_not_kept_is_not_written(self):
        self.start("a")
        self.assert_console("a", "> ")
        self.assertEqual(self.refused("unsupported", "guest.log", name="a", console=True),
                         "consoles are not kept: qvmd.conf says 'console-log no'")
        self.assertFalse(os.path.exists(os.path.join(self.qvmd.home, "log", "a.console")))
        offset = self.qvmd.call("console.read", name="a", offset=0)["next"]
        with self.qvmd.client() as client:
            number = client.request("console.read", name="a", offset=offset, wait_ms=60000)
            self.qvmd.type("a", "echo news\r")
            self.assertTrue(client.answer(number)["data"])


if __name__ == "__main__":
    main()
