#!/usr/bin/env python3
"""top at a terminal: a pty of a size that is chosen here, and a small screen that obeys what a
terminal obeys."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from qvmtest import BUILD, QvmdTest, main

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")


class Screen:
    """What stands on the screen; only what top sends is known, all else is a failure."""

    def __init__(self, rows, columns):
        self.resize(rows, columns)
        self.is_other = False
        self.is_cursor_shown = True
        self.pending = ""

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.lines = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0

    def scroll(self):
        raise AssertionError("the screen scrolls")

    def put(self, char):
        if self.column >= self.columns:
            raise AssertionError("a line is longer than the screen: " + "".join(self.lines[self.row]))
        self.lines[self.row][self.column] = char
        self.column += 1

    def clear_line(self):
        for column in range(self.column, self.columns):
            self.lines[self.row][column] = " "

    def obey(self, text):
        self.pending += text
        while self.pending:
            match = re.match(r"\x1b\[(\??[0-9;]*)([A-Za-z])", self.pending)
            if match:
                self.control(*match.groups())
                self.pending = self.pending[match.end():]
            elif self.pending[0] == "\x1b":
                return  # the rest is still to come
            else:
                self.plain(self.pending[0])
                self.pending = self.pending[1:]

    def plain(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.row += 1
            if self.row >= self.rows:
                self.scroll()
        else:
            self.put(char)

    def control(self, number, letter):
        if (number, letter) in (("?1049", "h"), ("?1049", "l")):
            self.is_other = letter == "h"
        elif (number, letter) in (("?25", "h"), ("?25", "l")):
            self.is_cursor_shown = letter == "h"
        elif letter == "H":
            self.row = self.column = 0
        elif letter == "K":
            self.clear_line()
        elif letter == "J":
            if number == "2":
                self.resize(self.rows, self.columns)
            else:
                self.clear_line()
                for row in range(self.row + 1, self.rows):
                    self.lines[row] = [" "] * self.columns
        elif letter != "m":
            raise AssertionError(f"unknown: ESC [ {number} {letter}")

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.lines)


class Top:
    """qvmctl top in a pty."""

    def __init__(self, qvmd, *words, rows=24, columns=80):
        self.master, slave = pty.openpty()
        self.slave = slave
        self.screen = Screen(rows, columns)
        self.set_size(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [QVMCTL, "--socket", qvmd.socket, "top", "-i", "0.3", *words], stdin=slave,
            stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def set_size(self, rows, columns):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds=0.05):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.screen.obey(data.decode())
            seconds = 0

    def expect(self, check, what, within=10):
        end = time.monotonic() + within
        while not check(self.screen.text()):
            if time.monotonic() > end:
                raise AssertionError(f"{what}:\n{self.screen.text()}")
            self.read()

    def see(self, pattern):
        self.expect(lambda text: re.search(pattern, text, re.M), f"never shown: {pattern}")

    def type(self, keys):
        os.write(self.master, keys.encode())

    def end(self, within=10):
        """Its status, after all that it said was read."""
        end = time.monotonic() + within
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
        self.read()
        return self.process.wait(1)

    def is_given_back(self):
        return (not self.screen.is_other and self.screen.is_cursor_shown and
                termios.tcgetattr(self.slave) == self.before)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class TopTest(QvmdTest):
    def top(self, *words, **size):
        top = Top(self.qvmd, *words, **size)
        self.addCleanup(top.close)
        return top

    def names(self, top):
        return [line.split()[0] for line in top.screen.text().splitlines()[4:-1] if line.strip()]

    def test_guests_are_shown_in_80_columns_and_the_terminal_is_given_back(self):
        long = "a" + "b" * 62
        for name in ("web", "db", long):
            self.start(name)
        top = self.top()
        top.see(r"^web +running +\d+\.\d \[ *\|* *\]")
        top.see(r"^a" + "b" * 16 + "~ running")
        top.see(r"3 guests, 3 live")
        top.see(r"q quit")
        self.assertTrue(top.screen.is_other)
        top.type("q")
        self.assertEqual(top.end(), 0)
        self.assertTrue(top.is_given_back())

    def test_it_gives_the_terminal_back_on_every_way_out(self):
        self.start("a")
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGSEGV):
            top = self.top()
            top.see("^a +running")
            top.process.send_signal(number)
            status = top.end()
            self.assertIn(status, (128 + number, -number))
            self.assertTrue(top.is_given_back(), number)
        top = self.top()
        top.see("^a +running")
        top.type("\x03")
        self.assertEqual(top.end(), 130)
        self.assertTrue(top.is_given_back())

    def test_keys_sort_and_select(self):
        for name in ("a", "b", "c"):
            self.start(name)
        self.start("busy", run="spin")
        top = self.top()
        top.expect(lambda _: self.names(top)[:1] == ["busy"], "the busy one is not on top")
        top.type("N")
        top.expect(lambda _: self.names(top) == ["a", "b", "busy", "c"], "not by name")
        top.type("R")
        top.expect(lambda _: self.names(top) == ["c", "busy", "b", "a"], "not reversed")
        self.assertEqual(self.top("-b", "-n", "1", "-s", "nonsense").end(), 2)

    def test_kill_asks_first(self):
        for name in ("a", "b"):
            self.start(name)
        top = self.top("-s", "name")
        top.see("^b +running")
        top.type("\x1b[B")
        top.type("k")
        top.see(r"Kill guest 'b', as by a power cut\? \(y/n\)")
        top.type("n")
        top.see("q quit")
        self.assertEqual(self.qvmd.guest("b")["state"], "running")
        top.type("k")
        top.see("Kill guest 'b'")
        top.type("y")
        top.see("b: killed")
        self.qvmd.wait("b", "stopped")
        top.expect(lambda _: self.names(top) == ["a"], "b is still shown")
        self.assertEqual(self.qvmd.guest("a")["state"], "running")

    def test_a_console_from_within_and_back(self):
        self.start("a")
        self.assert_console("a", "> ")
        top = self.top()
        top.see("^a +running")
        top.screen.scroll = lambda: setattr(top.screen, "row", 0)  # a guest may
        top.screen.put = lambda char: None if char else None
        top.type("c")
        end = time.monotonic() + 10
        while top.screen.is_other and time.monotonic() < end:
            top.read()
        self.assertFalse(top.screen.is_other)
        time.sleep(0.2)
        top.type("echo from_top\r")
        self.assert_console("a", "\nfrom_top")
        top.type("\x1d")
        while not top.screen.is_other and time.monotonic() < end + 10:
            top.read()
        del top.screen.put, top.screen.scroll
        top.see("^a +running")
        top.type("q")
        self.assertEqual(top.end(), 0)
        self.assertTrue(top.is_given_back())

    def test_it_follows_the_terminals_size(self):
        for i in range(12):
            self.start(f"g{i:02}")
        top = self.top("-s", "name", rows=10, columns=60)
        top.see("^g04 ")
        self.assertNotIn("g05", top.screen.text())
        for _ in range(11):
            top.type("\x1b[B")
        top.see("^g11 ")
        top.set_size(30, 100)
        top.process.send_signal(signal.SIGWINCH)
        top.expect(lambda _: len(self.names(top)) == 12, "the larger screen is not used")
        top.set_size(3, 20)
        top.process.send_signal(signal.SIGWINCH)
        top.see("guests")
        top.type("q")
        self.assertEqual(top.end(), 0)

    def test_it_waits_for_a_qvmd_that_went(self):
        self.start("a")
        top = self.top()
        top.see("^a +running")
        self.qvmd.crash()
        top.see("qvmd")
        self.qvmd.start()
        top.type(" ")
        top.see("q quit")
        top.see("^a +running")

    def test_batch_prints_lines_without_a_terminal(self):
        self.start("a")
        self.start("b", run="spin")
        done = subprocess.run([QVMCTL, "--socket", self.qvmd.socket, "top", "-b", "-n", "2", "-i",
                               "0.5"], text=True, capture_output=True, timeout=30, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotIn("\x1b", done.stdout)
        self.assertEqual(done.stdout.count("NAME "), 2)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80)
        rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("a ", "b "))]
        self.assertEqual([row[0] for row in rows], ["a", "b", "b", "a"])
        done = subprocess.run([QVMCTL, "--socket", self.qvmd.socket, "top"], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("top wants a terminal", done.stderr)


if __name__ == "__main__":
    main()
