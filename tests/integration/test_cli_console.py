#!/usr/bin/env python3
"""qvmctl console: pipes, terminals, and the terminal given back on every way out."""

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fake"))
from fake_qvmd import FakeQvmd, Refusal, guest  # noqa: E402

QVMCTL = os.path.join(os.environ["QVM_BUILD"], "cli", "qvmctl")
ESCAPE = b"\x1d"


class ConsoleTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-cli-")
        self.addCleanup(directory.cleanup)
        self.qvmd = FakeQvmd(directory.name)
        self.addCleanup(self.qvmd.close)
        self.guest, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.guest.settimeout(10)
        self.addCleanup(self.guest.close)
        self.addCleanup(theirs.close)
        self.attached = threading.Event()

        def attach(connection, request, params):
            connection.result_with_descriptor(request, {}, theirs.fileno())
            theirs.close()
            self.attached.set()
        self.qvmd.raw["console.attach"] = attach
        self.qvmd.methods["guest.start"] = lambda params: {
            "guest": guest(params["name"], state="running", pid=1)}

    def environment(self):
        return {"PATH": os.environ["PATH"], "QVM_SOCKET": self.qvmd.path}

    def heard(self, size):
        """What qvmctl typed at the guest."""
        data = b""
        while len(data) < size:
            piece = self.guest.recv(size - len(data))
            if not piece:
                break
            data += piece
        return data


class PipeTest(ConsoleTest):
    def spawn(self, *words):
        child = subprocess.Popen([QVMCTL, *words], env=self.environment(), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, child)
        return child

    @staticmethod
    def end(child):
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            pipe.close()

    def test_both_directions_are_copied_until_both_have_ended(self):
        child = self.spawn("console", "web")
        self.guest.sendall(b"login: ")
        self.assertEqual(child.stdout.read(7), b"login: ")
        child.stdin.write(b"root\n")
        child.stdin.close()
        self.assertEqual(self.heard(100), b"root\n")  # and then the end of what is typed
        self.guest.sendall(b"bye\n")
        self.guest.close()
        self.assertEqual(child.stdout.read(), b"bye\n")
        self.assertEqual(child.wait(10), 0)
        self.assertEqual(child.stderr.read(), b"")

    def test_nothing_is_lost_or_changed_however_much_it_is(self):
        up, down = os.urandom(3 << 20), os.urandom(3 << 20)
        child = self.spawn("console", "web")
        got = {}

        def feed():
            child.stdin.write(up)
            child.stdin.close()

        def listen():
            got["up"] = self.heard(len(up))
        threads = [threading.Thread(target=work)
                   for work in (feed, listen, lambda: self.guest.sendall(down))]
        for thread in threads:
            thread.start()
        time.sleep(0.2)  # both directions full before anybody reads
        got["down"] = child.stdout.read(len(down))
        for thread in threads:
            thread.join(20)
        self.assertTrue(got["up"] == up and got["down"] == down)
        self.guest.close()
        self.assertEqual(child.wait(10), 0)

    def test_the_escape_byte_is_ordinary_in_a_pipe(self):
        child = self.spawn("console", "web")
        child.stdin.write(b"a" + ESCAPE + b"b")
        child.stdin.close()
        self.assertEqual(self.heard(100), b"a" + ESCAPE + b"b")
        self.guest.close()
        self.assertEqual(child.wait(10), 0)

    def test_read_only_types_nothing(self):
        child = self.spawn("console", "-r", "--no-scrollback", "web")
        child.stdin.write(b"poweroff\n")
        child.stdin.close()
        self.guest.sendall(b"still here\n")
        self.assertEqual(child.stdout.read(11), b"still here\n")
        self.guest.setblocking(False)
        self.assertRaises(BlockingIOError, self.guest.recv, 1)
        self.guest.close()
        self.assertEqual(child.wait(10), 0)
        self.assertEqual(self.qvmd.requests[0][1],
                         {"name": "web", "read_only": True, "no_scrollback": True})

    def test_the_time_bounds_the_session(self):
        child = self.spawn("console", "--timeout", "0.3", "web")
        self.guest.sendall(b"hello\n")
        self.assertEqual(child.stdout.read(), b"hello\n")
        self.assertEqual(child.wait(10), 7)

    def test_after_the_input_it_lingers_as_long_as_it_was_told(self):
        for time_, said in (("0.3", b"answer\n"), ("0", b"")):
            child = self.spawn("console", "--linger", time_, "web")
            child.stdin.write(b"question\n")
            child.stdin.close()
            self.assertEqual(self.heard(100), b"question\n")  # and its end
            if said:
                self.guest.sendall(said)
            self.assertEqual(child.stdout.read(), said)
            self.assertEqual(child.wait(10), 0)
            self.setUp()

    def test_lingering_is_bounded_by_the_time(self):
        child = self.spawn("console", "--linger", "60", "--timeout", "0.3", "web")
        child.stdin.close()
        self.assertEqual(child.wait(10), 7)

    def test_stealing_is_asked_for_and_looking_is_no_theft(self):
        child = self.spawn("console", "--steal", "web")
        self.assertTrue(self.attached.wait(10))
        self.assertEqual(self.qvmd.requests[0][1], {"name": "web", "steal": True})
        self.guest.close()
        self.assertEqual(child.wait(10), 0)
        for words in (("--steal", "-r"), ("--linger", "soon"), ("--escape", "ab"), ("--escape", ""),
                      ("--escape", "^?"), ("--escape", "ctrl-")):
            child = self.spawn("console", *words, "web")
            self.assertEqual(child.wait(10), 2, words)

    def test_a_reader_that_saw_enough_ends_it(self):
        child = self.spawn("console", "web")
        child.stdout.close()
        self.guest.sendall(b"hello\n")
        self.assertEqual(child.wait(10), 1)

    def test_without_stdin_the_guest_is_still_heard(self):
        child = subprocess.Popen([QVMCTL, "console", "web"], env=self.environment(),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 start_new_session=True)
        self.guest.sendall(b"hello\n")
        self.guest.close()
        self.assertEqual(child.communicate(timeout=10)[0], b"hello\n")
        self.assertEqual(child.returncode, 0)

    def test_signals_end_it_with_their_status(self):
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            child = self.spawn("console", "web")
            self.assertTrue(self.attached.wait(10))
            self.guest.sendall(b".")
            child.stdout.read(1)
            child.send_signal(number)
            self.assertEqual(child.wait(10), status)
            self.setUp()

    def test_an_answer_without_a_console_is_refused(self):
        self.qvmd.raw.clear()
        self.qvmd.methods["console.attach"] = lambda params: {}
        child = self.spawn("console", "web")
        self.assertEqual(child.communicate(timeout=10)[1],
                         b"qvmctl: qvmd gave no console with its answer\n")
        self.assertEqual(child.returncode, 1)

    def test_a_refusal_has_its_status(self):
        def refuse(params):
            raise Refusal("wrong-state", "guest 'web' is not running")
        self.qvmd.raw.clear()
        self.qvmd.methods["console.attach"] = refuse
        child = self.spawn("console", "web")
        self.assertEqual(child.communicate(timeout=10)[1], b"qvmctl: guest 'web' is not running\n")
        self.assertEqual(child.returncode, 4)


class TerminalTest(ConsoleTest):
    def setUp(self):
        super().setUp()
        self.master, self.slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)
        self.before = termios.tcgetattr(self.slave)

    def spawn(self, *words):
        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        child = subprocess.Popen([QVMCTL, *words], env=self.environment(), stdin=self.slave,
                                 stdout=self.slave, stderr=self.slave, preexec_fn=take_terminal)
        self.addCleanup(lambda: (child.kill(), child.wait()))
        return child

    def shown(self, until, seconds=10):
        """What the terminal shows, up to and with `until`."""
        data, end = b"", time.monotonic() + seconds
        while until not in data:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            self.assertTrue(ready, f"not shown: {until!r}; shown: {data!r}")
            data += os.read(self.master, 4096)
        return data

    def open_session(self, *words):
        child = self.spawn(*words)
        self.guest.sendall(b"ready")
        self.shown(b"ready")
        self.assertFalse(termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO))
        return child

    def expect_end(self, child, status):
        self.assertEqual(child.wait(10), status)
        self.assertEqual(termios.tcgetattr(self.slave), self.before)

    def test_the_escape_key_ends_it_and_what_was_typed_before_arrives(self):
        child = self.open_session("console", "web")
        os.write(self.master, b"ls\r\x03\x04\x1a" + ESCAPE + b"lost")
        self.expect_end(child, 0)
        self.assertEqual(self.heard(100), b"ls\r\x03\x04\x1a")

    def test_the_escape_key_can_be_chosen(self):
        child = self.open_session("console", "--escape", "^a", "web")
        os.write(self.master, ESCAPE)
        self.assertEqual(self.heard(1), ESCAPE)
        os.write(self.master, b"\x01")
        self.expect_end(child, 0)

    def test_without_an_escape_key_every_key_is_the_guests(self):
        child = self.open_session("console", "-e", "none", "web")
        keys = bytes(range(32)) + b"\x7f~."
        os.write(self.master, keys)
        self.assertEqual(self.heard(len(keys)), keys)
        child.terminate()
        self.expect_end(child, 128 + signal.SIGTERM)

    def test_the_first_line_says_how_to_leave(self):
        self.spawn("console", "web")
        self.assertIn(b"[console of guest 'web'; ctrl-] ends it]", self.shown(b"ends it]"))

    def test_the_guests_end_gives_the_terminal_back(self):
        child = self.open_session("console", "web")
        self.guest.close()
        self.expect_end(child, 0)

    def test_a_guest_that_ends_is_told_with_its_reason(self):
        ended = guest("web", state="failed", reason="guest-crash", message="triple fault")
        self.qvmd.methods["guest.wait"] = lambda params: {"guest": ended}
        self.qvmd.methods["guest.list"] = lambda params: {"guests": [ended]}
        child = self.open_session("console", "web")
        self.guest.close()
        self.expect_end(child, 0)
        self.shown(b"[guest 'web' is failed (guest-crash): triple fault]")

    def test_signals_give_the_terminal_back(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT,
                       signal.SIGSEGV):
            with self.subTest(number=number):
                child = self.open_session("console", "web")
                child.send_signal(number)
                ended = -number if number == signal.SIGSEGV else 128 + number
                # a sanitizer takes the place of the kernel for crashes, with a status of its own
                status = child.wait(10)
                if not (number == signal.SIGSEGV and status == 1):
                    self.assertEqual(status, ended)
                self.assertEqual(termios.tcgetattr(self.slave), self.before)
            super().setUp()

    def test_stopped_and_continued_the_terminal_follows(self):
        child = self.open_session("console", "web")
        child.send_signal(signal.SIGTSTP)
        self.assertTrue(os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1]))
        self.assertEqual(termios.tcgetattr(self.slave), self.before)
        child.send_signal(signal.SIGCONT)
        os.write(self.master, b"x")
        self.assertEqual(self.heard(1), b"x")
        self.assertFalse(termios.tcgetattr(self.slave)[3] & termios.ICANON)
        os.write(self.master, ESCAPE)
        self.expect_end(child, 0)

    def test_the_time_gives_the_terminal_back(self):
        child = self.open_session("console", "--timeout", "0.5", "web")
        self.expect_end(child, 7)

    def test_read_only_at_a_terminal_ends_by_ctrl_c_and_types_nothing(self):
        child = self.open_session("console", "-r", "web")
        os.write(self.master, b"poweroff\r\x03")
        self.expect_end(child, 0)
        self.assertEqual(self.heard(100), b"")

    def sizes(self):
        return [(params["columns"], params["rows"]) for method, params in self.qvmd.requests
                if method == "console.size"]

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until_told(self, sizes):
        end = time.monotonic() + 10
        while self.sizes() != sizes:
            self.assertLess(time.monotonic(), end, self.sizes())
            time.sleep(0.01)

    def test_the_size_of_the_terminal_is_told_at_the_start_and_when_it_changes(self):
        self.resize(24, 80)
        child = self.open_session("console", "web")
        self.until_told([(80, 24)])
        self.resize(30, 100)
        self.until_told([(80, 24), (100, 30)])
        os.write(self.master, ESCAPE)
        self.expect_end(child, 0)

    def test_who_only_looks_tells_no_size(self):
        self.resize(24, 80)
        child = self.open_session("console", "-r", "web")
        os.write(self.master, ESCAPE)
        self.expect_end(child, 0)
        self.assertEqual(self.sizes(), [])

    def test_start_attaches_at_once_with_c(self):
        child = self.open_session("start", "-c", "web")
        os.write(self.master, ESCAPE)
        self.expect_end(child, 0)
        self.assertEqual([method for method, _ in self.qvmd.requests],
                         ["guest.start", "console.attach"])

    def test_other_commands_leave_the_terminal_alone_even_in_the_background(self):
        self.qvmd.methods["guest.list"] = lambda params: {"guests": []}
        script = f"set -m; {QVMCTL} list & wait $!; echo status=$?"
        attributes = termios.tcgetattr(self.slave)

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        child = subprocess.Popen(["/bin/bash", "-c", script], env=self.environment(),
                                 stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                 preexec_fn=take_terminal)
        self.addCleanup(lambda: (child.kill(), child.wait()))
        self.assertIn(b"status=0", self.shown(b"status="  b"0"))
        self.assertEqual(termios.tcgetattr(self.slave), attributes)


if __name__ == "__main__":
    unittest.main()
