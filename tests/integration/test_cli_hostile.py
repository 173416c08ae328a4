#!/usr/bin/env python3
"""qvmctl where things are not as they should be: closed streams, full disks, odd names, narrow
terminals, a qvmd that answers anything."""

import json
import os
import pty
import random
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from clitest import CliTest, QVMCTL  # noqa: E402
from fake_qvmd import guest, Refusal  # noqa: E402: clitest has found it
from test_cli_many import synopses  # noqa: E402


class HostileTest(CliTest):
    NAMES = [f"g{i}" for i in range(30)]

    def setUp(self):
        super().setUp()
        self.outcome(state="stopped")
        self.qvmd.methods["guest.list"] = lambda params: {
            "guests": [guest(name, state="running", message="m" * 900) for name in self.NAMES]}

    def sh(self, command, **variables):
        """Run it in bash; `qvmctl` is ours."""
        path = os.path.dirname(QVMCTL) + ":" + os.environ["PATH"]
        return subprocess.run(["bash", "-c", command], capture_output=True, timeout=30, text=True,
                              env={**self.environment(), "PATH": path, **variables},
                              cwd=self.directory, check=False, errors="replace")

    def asked(self, method):
        names = [params["name"] for name, params in self.qvmd.requests if name == method]
        self.qvmd.requests.clear()
        return names


class StreamTest(HostileTest):
    FULL = "qvmctl: stdout cannot be written: No space left on device\n"

    def test_what_is_printed_never_goes_to_qvmd_when_stdout_is_closed(self):
        for command in ("qvmctl stop a b >&-", "qvmctl stop a b <&- >&-", "qvmctl list >&-"):
            done = self.sh(command)
            self.assertEqual((done.returncode, done.stderr),
                             (1, "qvmctl: stdout cannot be written: Bad file descriptor\n"))
            self.assertIn(self.asked("guest.stop"), (["a", "b"], []))
        self.assertEqual(self.sh("qvmctl stop a <&- >&- 2>&-").returncode, 1)
        self.assertEqual(self.sh("qvmctl stop a 2>&-").returncode, 0)
        self.assertEqual(self.sh("qvmctl fly 2>&-").returncode, 2)
        self.assertEqual(self.qvmd.garbage, [])

    def test_a_full_disk_is_said_and_does_not_keep_guests_from_their_turn(self):
        for words in ("list", "help", "version", "completion zsh", "show a", "help list"):
            self.qvmd.methods["guest.show"] = lambda params: {"guest": guest(params["name"])}
            done = self.sh(f"qvmctl {words} >/dev/full")
            self.assertEqual((done.returncode, done.stderr), (1, self.FULL), words)
        done = self.sh("qvmctl stop --all >/dev/full")
        self.assertEqual((done.returncode, done.stderr), (1, self.FULL))
        self.assertEqual(self.asked("guest.stop"), self.NAMES)
        done = self.sh("qvmctl list -o json >/dev/full")  # more than fits into a buffer
        self.assertEqual((done.returncode, done.stderr.count("stdout")), (1, 1))

    def test_who_reads_no_more_does_not_keep_guests_from_their_turn(self):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run([QVMCTL, "stop", "--all"], stdout=writer, stderr=subprocess.PIPE,
                                  env=self.environment(), timeout=30, check=False)
        finally:
            os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (1, b""))
        self.assertEqual(self.asked("guest.stop"), self.NAMES)
        done = self.sh("qvmctl list | head -n 1")
        self.assertEqual((done.stdout.split()[0], done.stderr), ("NAME", ""))

    def test_nothing_is_written_to_a_terminal_but_text(self):
        def refuse(params):
            raise Refusal("busy", "\x1b]0;owned\x07\u202e\x9b31m")
        self.qvmd.methods["guest.stop"] = refuse
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update(self.environment())
            os.execv(QVMCTL, [QVMCTL, "stop", "a", "b\x1b[2J*"])
        said = b""
        try:
            while piece := os.read(fd, 4096):
                said += piece
        except OSError:
            pass  # the end of a terminal
        os.close(fd)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 9)
        self.assertNotIn(b"\x1b", said)
        self.assertIn(b"\\x1b]0;owned\\x07\\u202e\\u009b31m", said)

    def test_help_fits_into_80_columns(self):
        for words in [[], *[[name] for name in synopses()]]:
            text = self.run_ctl("help", *words).stdout
            self.assertEqual([line for line in text.splitlines() if len(line) > 80], [])


class NameTest(HostileTest):
    def test_a_name_that_is_not_utf8_is_refused_alone(self):
        done = self.sh("qvmctl stop a $'\\xff' b")
        self.assertEqual((done.returncode, done.stdout), (9, "a: stopped\nb: stopped\n"))
        self.assertEqual(done.stderr, "qvmctl: what is asked for is not UTF-8 text\n")
        self.assertEqual(self.sh("qvmctl stop $'\\xff'").returncode, 2)

    def test_odd_patterns_match_nothing_and_break_nothing(self):
        for pattern in ("[", "[]", "[a-", "*[!]", "\\*", "**********x", "[[:digit:]*",
                        "*a" * 200, "?" * 4000):
            done = self.run_ctl("stop", pattern)
            self.assertEqual(done.returncode, 3, (pattern, done.stderr))
        self.assertEqual(self.asked("guest.stop"), [])

    def test_the_locale_changes_nothing(self):
        for locale in ("C", "C.UTF-8", "tr_TR.UTF-8", "nonsense"):
            done = self.sh("qvmctl list -o name 'g1?' 'G*'", LC_ALL=locale)
            self.assertEqual((done.returncode, len(done.stdout.split())), (9, 10))

    def test_an_empty_socket_is_no_socket(self):
        self.expect(["--socket", "", "list"], 2, err="qvmctl: the socket's path is empty\n")
        self.assertEqual(self.sh("qvmctl list", QVM_SOCKET="").returncode, 6)


class AnswerTest(HostileTest):
    def test_garbage_among_the_answers_of_many_ends_in_words(self):
        for junk in (b"hello\n", b"{}\n", b"\xff\xfe\n", b'{"jsonrpc":"2.0","id":2}\n',
                     b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}\n',
                     b'{"jsonrpc":"2.0","id":2,"result":{"guest":{"name":7}}}\n'):
            def stop(connection, request, params, junk=junk):
                if params["name"] == "b":
                    connection.raw(junk)
                else:
                    connection.result(request, {"guest": guest(params["name"], state="stopped")})
            self.qvmd.raw["guest.stop"] = stop
            with self.subTest(junk=junk):
                done = self.run_ctl("stop", "--timeout", "5", "a", "b", "c")
                self.assertIn(done.returncode, (1, 9), done.stderr)
                self.assertTrue(done.stderr.startswith("qvmctl: "), done.stderr)
                self.assertEqual(done.stdout.splitlines()[:1], ["a: stopped"])

    def test_whatever_comes_qvmctl_ends_in_words(self):
        """Answers cut, doubled, mixed up and changed by chance, always the same."""
        dice = random.Random(7)
        good = b'{"jsonrpc":"2.0","id":1,"result":{"guests":[]}}\n'
        for _ in range(150):
            data = bytearray(good)
            for _ in range(dice.randint(1, 6)):
                at = dice.randrange(len(data))
                what = dice.randrange(3)
                if what == 0:
                    data[at] = dice.randrange(256)
                elif what == 1:
                    del data[at]
                else:
                    data[at:at] = data[:dice.randrange(len(data))]
            self.qvmd.raw["guest.list"] = (
                lambda connection, request, params, data=bytes(data): (connection.raw(data),
                                                                       connection.close()))
            done = self.run_ctl("list", "--timeout", "5")
            self.assertIn(done.returncode, (0, 1, 2, 6), (data, done))
            if done.returncode != 0:
                self.assertTrue(done.stderr.startswith("qvmctl: "), (data, done))

    def test_completion_waits_for_no_daemon_and_says_nothing(self):
        for answer in (lambda connection, request, params: None,  # never
                       lambda connection, request, params: connection.raw(b"hello\n"),
                       lambda connection, request, params: connection.refuse(request, "busy", "no"),
                       lambda connection, request, params: connection.result(
                           request, {"guests": [guest("\x1b[2J"), guest("a b"), guest("web")]})):
            self.qvmd.raw["guest.list"] = answer
            done = self.run_ctl("completion", "--candidates", "--", "show", "w")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(done.stdout, ("", "web\tdefined\n"))

    def test_a_slow_daemon_is_waited_for(self):
        def slow(connection, request, params):
            answer = json.dumps({"jsonrpc": "2.0", "id": request, "result": {
                "guest": guest(params["name"], state="stopped")}}).encode() + b"\n"
            for at in range(0, len(answer), 40):
                time.sleep(0.01)
                connection.raw(answer[at:at + 40])
        self.qvmd.raw["guest.stop"] = slow
        self.expect(["stop", "a", "b"], 0, "a: stopped\nb: stopped\n")


if __name__ == "__main__":
    unittest.main()
