#!/usr/bin/env python3
"""Core dumps of guests: what gdb reads in them, where they go, and that the guest goes on."""

import glob
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

BUILD = os.environ["QVM_BUILD"]
QVM = os.path.join(BUILD, "qvm-worker/qvm")
IMAGE = os.path.join(BUILD, "tests/guests/bare/guest.bzimage")
SKIPPED = 77  # for ctest


def gdb(path, *commands):
    words = [word for command in commands for word in ("-ex", command)]
    return subprocess.run(["gdb", "-nx", "-batch", *words, "-c", path], capture_output=True,
                          text=True, timeout=60, check=True).stdout


class DumpTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-dump-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.said = b""

    def start(self, dump, ram="64M"):
        text = (f"system bare\nram {ram}\ncpu\ncpu\nload {IMAGE}\n"
                f"cmdline \"run=echo_look_for_me\"\nvdev ser8250\n{dump}\n")
        with open(os.path.join(self.directory, "bare.qvmconf"), "w", encoding="utf-8") as file:
            file.write(text)
        self.qvm = subprocess.Popen([QVM, "@bare.qvmconf"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    cwd=self.directory,
                                    env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        for stream in (self.qvm.stdin, self.qvm.stdout, self.qvm.stderr):
            self.addCleanup(stream.close)
        self.addCleanup(self.qvm.wait)
        self.addCleanup(self.qvm.kill)
        self.read_until(self.qvm.stdout, b"> ")

    def read_until(self, stream, wanted):
        data = b""
        while wanted not in data:
            ready, _, _ = select.select([stream], [], [], 20)
            self.assertTrue(ready, data)
            piece = os.read(stream.fileno(), 4096)
            self.assertTrue(piece, data)
            data += piece
        return data.decode()

    def dump(self):
        """Returns what the qvm says of it."""
        self.qvm.send_signal(signal.SIGUSR2)
        return self.read_until(self.qvm.stderr, b"\n")

    def assert_goes_on(self):
        self.qvm.stdin.write(b"echo and_on\r")
        self.qvm.stdin.flush()
        self.read_until(self.qvm.stdout, b"\nand_on")

    def files(self):
        return sorted(glob.glob(os.path.join(self.directory, "*.gcore")))

    def assert_is_dump(self, path, size=64 << 20):
        """What gdb and readelf see in it."""
        told = gdb(path, "info threads", "info registers rip rsp cs", "x/2xb 0x1fe",
                   "find /b 0x0, 0x9ffff, 'l', 'o', 'o', 'k'")
        self.assertEqual(len(re.findall(r"^[* ] +\d+ +LWP \d+|^[* ] +\d+ +process \d+", told,
                                        re.MULTILINE)), 2, told)
        self.assertRegex(told, r"rip +0x[0-9a-f]+")
        self.assertRegex(told, r"cs +0x[1-9a-f]")
        headers = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True,
                                 check=True).stdout
        loads = [[int(word, 16) for word in line.split()[1:6]]
                 for line in headers.splitlines() if line.split()[:1] == ["LOAD"]]
        self.assertEqual(loads[0][2], 0)
        self.assertLessEqual(size - 0x60000, sum(load[3] for load in loads))
        notes = subprocess.run(["readelf", "-nW", path], capture_output=True, text=True,
                               check=True)
        self.assertEqual((notes.stdout.count("NT_PRSTATUS"), notes.stdout.count("NT_FPREGSET"),
                          notes.stdout.count("QVM")), (2, 2, 2), notes.stdout)
        self.assertEqual(notes.stderr, "")

    # ---- to a directory ----

    def test_gdb_reads_a_dump_and_the_guest_goes_on(self):
        self.start("dump .")
        said = self.dump()
        self.assertRegex(said, r'dump written to="/.*/bare-\d{8}-\d{6}\.gcore"')
        self.assert_is_dump(self.files()[0])
        self.assert_goes_on()

    def test_memory_that_nobody_has_touched_takes_no_room(self):
        self.start("dump .", ram="1G")
        self.dump()
        status = os.stat(self.files()[0])
        self.assertGreater(status.st_size, (1 << 30) - (1 << 20))
        self.assertLess(status.st_blocks * 512, 8 << 20)
        self.assertEqual(status.st_mode & 0o777, 0o600)
        with open(f"/proc/{self.qvm.pid}/status", encoding="utf-8") as file:
            shared = int(re.search(r"RssShmem:\s+(\d+)", file.read()).group(1))
        self.assertLess(shared, 16 << 10)  # KiB: reading it has not made it

    def test_what_the_guest_wrote_is_in_the_dump(self):
        self.start("dump .")
        self.dump()
        with open(self.files()[0], "rb") as file:
            self.assertIn(b"echo_look_for_me", file.read())

    def test_dumps_of_one_second_are_two_files(self):
        self.start("dump .")
        for count in range(1, 4):
            self.dump()
            self.assertEqual(len(self.files()), count)

    def test_a_directory_that_is_none_is_told_before_the_guest_runs(self):
        for where in ("/nowhere", "bare.qvmconf"):
            with open(os.path.join(self.directory, "bare.qvmconf"), "w", encoding="utf-8") as file:
                file.write(f"system bare\nram 16M\nload {IMAGE}\ndump {where}\n")
            done = subprocess.run([QVM, "@bare.qvmconf"], cwd=self.directory, capture_output=True,
                                  text=True, timeout=20, check=False,
                                  env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
            self.assertEqual(done.returncode, 64)
            self.assertRegex(done.stderr, r"^bare\.qvmconf:4: no dump can be written to '")

    def test_without_a_place_a_dump_is_refused_in_words(self):
        self.start("")
        self.assertIn("the configuration has no `dump`", self.dump())
        self.assert_goes_on()

    # ---- to a command ----

    def test_a_command_reads_the_dump(self):
        self.start('dump "|cat >whole.new && mv whole.new whole"')
        self.assertIn('dump written to="|cat', self.dump())
        path = os.path.join(self.directory, "whole")
        for _ in range(1000):
            if os.path.exists(path):
                break
            select.select([], [], [], 0.01)
        self.assert_is_dump(path)
        self.assert_goes_on()

    def test_a_command_that_does_not_read_is_told_and_the_guest_goes_on(self):
        self.start('dump "|true"')
        self.assertIn("dump failed", self.dump())
        self.assert_goes_on()


if __name__ == "__main__":
    if shutil.which("gdb") is None or shutil.which("readelf") is None:
        sys.exit(SKIPPED)
    unittest.main()
