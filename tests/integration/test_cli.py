#!/usr/bin/env python3
"""qvmctl against a qvmd that says what a test wants: output, exit statuses, bad answers."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fake"))
from fake_qvmd import FakeQvmd, Refusal, guest  # noqa: E402

SOURCE = os.path.join(HERE, "..", "..")
QVMCTL = os.path.join(os.environ["QVM_BUILD"], "cli", "qvmctl")

HEADER = "NAME  STATE    PID  VCPUS  MEMORY  CPUS  DEVICES  UPTIME  RESTARTS  OWNER\n"


def rows(name, pattern):
    """The rows of one list of proto/*.def that match."""
    with open(os.path.join(SOURCE, "proto", name), encoding="utf-8") as file:
        return re.findall(pattern, file.read(), re.M)


class CliTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-cli-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.qvmd = FakeQvmd(self.directory)
        self.addCleanup(self.qvmd.close)

    def environment(self):
        return {"PATH": os.environ["PATH"], "QVM_SOCKET": self.qvmd.path}

    def run_ctl(self, *words, **options):
        return subprocess.run([QVMCTL, *words], capture_output=True, text=True, timeout=30,
                              env=self.environment(), cwd=self.directory, check=False, **options)

    def expect(self, words, status, out="", err=""):
        done = self.run_ctl(*words)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (status, out, err))

    def put(self, name, text):
        with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
            file.write(text)

    def outcome(self, **members):
        """Answer for every method that changes a guest."""
        def answer(params):
            note = {"note": members["note"]} if "note" in members else {}
            fields = {key: value for key, value in members.items() if key != "note"}
            return {"guest": guest(params["name"], **fields), **note}
        for method in ("start", "stop", "kill", "define", "undefine", "wait"):
            self.qvmd.methods["guest." + method] = answer


class ListTest(CliTest):
    GUESTS = [
        guest("db", state="failed", reason="guest-crash", message="triple fault", instance=3),
        guest("web", state="running", desired="running", pid=4711, vcpus=2, memory=536870912,
              uptime_ms=185000, restarts=1, instance=9, owner="anna", owner_uid=1000),
    ]

    def setUp(self):
        super().setUp()
        self.qvmd.methods["guest.list"] = lambda params: {"guests": self.GUESTS}

    def test_a_table_has_one_row_for_each_guest_and_nothing_else(self):
        self.expect(["list"], 0, (
            "NAME  STATE     PID  VCPUS  MEMORY  CPUS  DEVICES  UPTIME  RESTARTS  OWNER\n"
            "db    failed      -      -       -  -           -       -         -  root\n"
            "web   running  4711      2  512MiB  -           0   3m05s         1  anna\n"))

    def test_wide_adds_the_reason_and_no_headers_takes_the_header(self):
        done = self.run_ctl("list", "-w", "--no-headers")
        self.assertEqual([line.split()[9:] for line in done.stdout.splitlines()],
                         [["root", "guest-crash", "triple", "fault"], ["anna", "-", "-"]])

    def test_without_guests_there_is_the_header_alone(self):
        self.qvmd.methods["guest.list"] = lambda params: {"guests": []}
        self.expect(["list"], 0, HEADER.replace("STATE    PID", "STATE  PID"))
        self.expect(["list", "--no-headers"], 0)
        self.expect(["list", "-o", "name"], 0)
        self.expect(["list", "-o", "jsonl"], 0)

    def test_json_is_what_the_daemon_said_even_what_this_qvmctl_does_not_know(self):
        self.qvmd.methods["guest.list"] = lambda params: {
            "guests": [guest("web", mood="happy")], "later": [1, {"a": None}]}
        done = self.run_ctl("list", "-o", "json")
        self.assertEqual(json.loads(done.stdout),
                         {"guests": [guest("web", mood="happy")], "later": [1, {"a": None}]})
        self.assertEqual(self.run_ctl("list", "-o", "name").stdout, "web\n")

    def test_jsonl_is_one_guest_a_line_and_name_one_name(self):
        done = self.run_ctl("list", "-o", "jsonl")
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()], self.GUESTS)
        self.expect(["-o", "name", "list"], 0, "db\nweb\n")

    def test_names_are_passed_on(self):
        self.run_ctl("list", "web", "db")
        self.assertEqual(self.qvmd.requests, [("guest.list", {"names": ["web", "db"]})])

    def test_control_characters_are_shown_harmlessly(self):
        self.qvmd.methods["guest.list"] = lambda params: {"guests": [
            guest("web", owner="\x1b[2J\u202eroot\x9b", reason="killed", message="a\nb")]}
        done = self.run_ctl("list", "-w", "--no-headers")
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertIn("\\x1b[2J\\u202eroot\\u009b", done.stdout)
        self.assertIn("a\\nb", done.stdout)

    def test_five_thousand_guests_arrive(self):
        many = [guest(f"guest-{i}", message="x" * 500) for i in range(5000)]
        self.qvmd.methods["guest.list"] = lambda params: {"guests": many}
        done = self.run_ctl("list", "-o", "name")
        self.assertEqual(done.stdout.split(), [row["name"] for row in many])

    def test_a_full_disk_is_a_failure(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([QVMCTL, "list"], stdout=full, stderr=subprocess.PIPE, text=True,
                                  env=self.environment(), timeout=30, check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (1, "qvmctl: stdout cannot be written: No space left on device\n"))


class StatusTest(CliTest):
    def test_each_refusal_of_the_list_has_its_exit_status_and_sentence(self):
        errors = rows("errors.def", r'^ERROR\(\w+, \w+, "([\w-]+)", -?\d+, (\d+),')
        self.assertGreater(len(errors), 15)
        for name, status in errors:
            def refuse(params, name=name):
                raise Refusal(name, f"no: {name}")
            self.qvmd.methods["guest.kill"] = refuse
            self.expect(["kill", "web"], int(status), err=f"qvmctl: no: {name}\n")

    def test_an_error_of_a_later_daemon_is_status_1(self):
        def refuse(params):
            raise Refusal("out-of-luck", "the stars are wrong")
        self.qvmd.methods["guest.kill"] = refuse
        self.expect(["kill", "web"], 1, err="qvmctl: the stars are wrong\n")

    def test_a_configuration_error_stands_as_it_is(self):
        def refuse(params):
            raise Refusal("busy", "web.qvmconf:14: device 'x' is held by guest 'db' (pid 4711)")
        self.qvmd.methods["guest.start"] = refuse
        self.expect(["start", "web"], 8,
                    err="web.qvmconf:14: device 'x' is held by guest 'db' (pid 4711)\n")

    def test_a_refusal_cannot_write_to_the_terminal(self):
        def refuse(params):
            raise Refusal("busy", "\x1b]0;owned\x07\nqvmctl: all is well")
        self.qvmd.methods["guest.kill"] = refuse
        self.expect(["kill", "web"], 8, err="qvmctl: \\x1b]0;owned\\x07\\nqvmctl: all is well\n")

    def test_without_a_daemon_the_status_is_6_and_the_sentence_says_what_to_do(self):
        done = self.run_ctl("--socket", "none.sock", "list")
        self.assertEqual(done.returncode, 6)
        self.assertIn("there is no socket 'none.sock'; start qvmd", done.stderr)
        self.qvmd.close()
        done = self.run_ctl("list")
        self.assertEqual(done.returncode, 6)
        self.assertIn("nobody listens", done.stderr)

    @unittest.skipIf(os.geteuid() != 0, "needs root to become somebody else")
    def test_a_socket_that_may_not_be_opened_is_status_5(self):
        os.chmod(self.directory, 0o755)
        os.chmod(self.qvmd.path, 0o600)
        copy = os.path.join(self.directory, "qvmctl")
        with open(QVMCTL, "rb") as source, open(copy, "wb") as target:
            target.write(source.read())
        os.chmod(copy, 0o755)
        done = subprocess.run([copy, "list"], capture_output=True, text=True, timeout=30,
                              env=self.environment(), user=65534, group=65534, check=False)
        self.assertEqual(done.returncode, 5)
        self.assertIn("may not be opened", done.stderr)

    def test_a_socket_path_that_is_too_long_is_wrong_usage(self):
        done = self.run_ctl("--socket", "/" + "x" * 107, "list")
        self.assertEqual((done.returncode, done.stderr),
                         (2, "qvmctl: the socket's path is longer than 107 bytes\n"))
        self.assertEqual(self.run_ctl("--socket", "/" + "x" * 106, "list").returncode, 6)

    def test_a_daemon_that_does_not_answer_is_status_7(self):
        self.qvmd.raw["guest.list"] = lambda connection, request, params: None
        began = time.monotonic()
        self.expect(["list", "--timeout", "0.2"], 7,
                    err="qvmctl: qvmd did not answer within 0.2 s\n")
        self.assertLess(time.monotonic() - began, 5)

    def test_events_do_not_prolong_the_time(self):
        def chat(connection, request, params):
            for seq in range(1, 100):
                connection.event(seq=seq, time="2026-01-01T00:00:00Z", what="state")
                time.sleep(0.02)
        self.qvmd.raw["guest.list"] = chat
        self.assertEqual(self.run_ctl("list", "--timeout", "0.2").returncode, 7)

    def test_a_daemon_that_goes_away_is_status_6(self):
        self.qvmd.raw["guest.list"] = lambda connection, request, params: connection.close()
        done = self.run_ctl("list")
        self.assertEqual(done.returncode, 6)
        self.assertIn("ended the connection before it answered", done.stderr)

    def test_half_an_answer_is_none(self):
        def half(connection, request, params):
            connection.raw(b'{"jsonrpc":"2.0","id":1,"result":{"guests":[]}}')
            connection.close()
        self.qvmd.raw["guest.list"] = half
        self.assertEqual(self.run_ctl("list").returncode, 6)

    def test_answers_that_are_none_end_in_words(self):
        for answer in (b"hello\n", b"[]\n", b"{}\n", b"[" * 1000 + b"\n", b"\xff\xfe\n", b"\n",
                       b'{"jsonrpc":"2.0","id":1,"result":{"guests":[{"name":3}]}}\n',
                       b'{"jsonrpc":"2.0","id":1,"result":{"guests":7}}\n',
                       b'{"jsonrpc":"2.0","id":1,"result":3}\n',
                       b'{"jsonrpc":"2.0","id":1,"error":"no"}\n'):
            with self.subTest(answer=answer[:60]):
                self.qvmd.raw["guest.list"] = (
                    lambda connection, request, params, answer=answer: connection.raw(answer))
                done = self.run_ctl("list", "--timeout", "5")
                self.assertIn(done.returncode, (1, 2))
                self.assertTrue(done.stderr.startswith("qvmctl: "), done.stderr)
                self.assertEqual(done.stdout, "")

    def test_an_answer_without_end_is_cut(self):
        def flood(connection, request, params):
            piece = b"x" * (1 << 20)
            try:
                for _ in range(70):
                    connection.raw(piece)
            except OSError:
                pass
        self.qvmd.raw["guest.list"] = flood
        self.expect(["list"], 1, err="qvmctl: qvmd's answer is longer than 67108864 bytes\n")

    def test_an_answer_in_single_bytes_is_put_together(self):
        def drip(connection, request, params):
            connection.event(seq=1, time="2026-01-01T00:00:00Z", what="state")
            for byte in b'{"jsonrpc":"2.0","id":1,"result":{"guests":[]}}\n':
                connection.raw(bytes([byte]))
        self.qvmd.raw["guest.list"] = drip
        self.assertEqual(self.run_ctl("list").returncode, 0)

    def test_interrupted_is_130(self):
        asked = threading.Event()
        self.qvmd.raw["guest.start"] = lambda connection, request, params: asked.set()
        child = subprocess.Popen([QVMCTL, "start", "web"], env=self.environment(),
                                 stderr=subprocess.PIPE, text=True)
        self.assertTrue(asked.wait(10))
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.communicate(timeout=10)[1].strip(), "qvmctl: interrupted")
        self.assertEqual(child.returncode, 130)

    def test_wrong_usage_is_status_2_before_anything_is_asked(self):
        for words in ([], ["fly"], ["list", "--fly"], ["stop"], ["wait", "web"], ["show"],
                      ["wait", "web", "happy"], ["-o", "xml", "list"], ["-o", "name", "info"],
                      ["stop", "--timeout", "0", "web"], ["stop", "--timeout", "86401", "web"],
                      ["console", "--escape", "abc", "web"], ["start", "-c", "a", "b"],
                      ["start", "-c", "-o", "json", "a"], ["events", "-n", "10001"],
                      ["log", "--size", "131073", "web"], ["console", "a", "b"]):
            with self.subTest(words=words):
                done = self.run_ctl(*words)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertTrue(done.stderr.startswith("qvmctl: "))
        self.assertEqual(self.qvmd.requests, [])


class ChangeTest(CliTest):
    def test_start_sends_the_definition_as_the_command_line_had_it(self):
        self.outcome(state="running", pid=4711)
        self.put("web.qvmconf", "system web\nram $env{PATH}\n")
        self.expect(["start", "web.qvmconf", "cmdline", "quiet", "--timeout", "3"], 0,
                    "web: running, pid 4711\n")
        self.assertEqual(self.qvmd.requests, [("guest.start", {
            "name": "web", "timeout_ms": 3000,
            "definition": {
                "words": ["@0", "cmdline", "quiet"],
                "sources": [{"name": "web.qvmconf", "directory": self.directory,
                             "text": "system web\nram $env{PATH}\n"}],
                "env": [{"name": "PATH", "value": os.environ["PATH"]}]}})])

    def test_a_configuration_that_cannot_be_read_asks_nothing(self):
        self.put("web.qvmconf", "system web\ncmdline \"never closed\n")
        done = self.run_ctl("start", "web.qvmconf")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^web\.qvmconf:2: ")
        self.expect(["start", "none.qvmconf"], 1,
                    err="qvmctl: 'none.qvmconf' cannot be opened: No such file or directory\n")
        self.assertEqual(self.qvmd.requests, [])

    def test_a_configuration_may_come_through_a_pipe(self):
        self.outcome(state="running", pid=1)
        done = self.run_ctl("start", "/dev/stdin", input="system web\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.qvmd.requests[0][1]["definition"]["sources"][0]["text"],
                         "system web\n")

    def test_a_file_of_that_name_is_started_rather_than_a_guest(self):
        self.outcome(state="running", pid=1)
        self.run_ctl("start", "web")
        self.put("web", "system other\n")
        self.run_ctl("start", "web")
        self.assertEqual([params["name"] for _, params in self.qvmd.requests], ["web", "other"])
        self.assertNotIn("definition", self.qvmd.requests[0][1])

    def test_nothing_to_do_is_0_with_a_note_and_4_with_strict(self):
        note = "guest 'web' was running already"
        self.outcome(state="running", pid=4711, note=note)
        self.expect(["start", "web"], 0, "web: running, pid 4711\n", f"qvmctl: web: {note}\n")
        self.expect(["start", "--strict", "web"], 4, "web: running, pid 4711\n",
                    f"qvmctl: web: {note}\n")
        self.expect(["-q", "start", "web"], 0)
        self.expect(["-q", "--strict", "start", "web"], 4)

    def test_what_changed_is_said_in_each_format(self):
        self.outcome(state="stopped", reason="poweroff")
        self.expect(["stop", "web"], 0, "web: stopped (poweroff)\n")
        self.expect(["stop", "-o", "name", "web"], 0, "web\n")
        for form in ("json", "jsonl"):
            done = self.run_ctl("stop", "-o", form, "web")
            self.assertEqual(json.loads(done.stdout)["guest"]["reason"], "poweroff")
        self.expect(["undefine", "web"], 0, "web: undefined\n")
        self.put("web.qvmconf", "system web\n")
        self.expect(["define", "web.qvmconf"], 0, "web: defined\n")
        self.assertEqual(self.qvmd.requests[-1][0], "guest.define")

    def test_stop_and_wait_pass_their_options_on(self):
        self.outcome(state="stopped")
        self.run_ctl("stop", "--timeout", "1.5", "--kill", "web")
        self.run_ctl("stop", "web")
        self.run_ctl("wait", "web", "stopped", "--timeout", "2m")
        self.assertEqual([params for _, params in self.qvmd.requests], [
            {"name": "web", "timeout_ms": 1500, "kill": True}, {"name": "web"},
            {"name": "web", "state": "stopped", "timeout_ms": 120000}])

    def test_some_of_many_failed_is_9_and_the_others_were_done(self):
        def stop(params):
            if params["name"] == "b":
                raise Refusal("no-such-guest", "there is no guest 'b'")
            return {"guest": guest(params["name"], state="stopped", reason="poweroff")}
        self.qvmd.methods["guest.stop"] = stop
        self.expect(["stop", "a", "b", "c"], 9, "a: stopped (poweroff)\nc: stopped (poweroff)\n",
                    "qvmctl: there is no guest 'b'\n")
        self.expect(["stop", "b"], 3, err="qvmctl: there is no guest 'b'\n")

    def test_many_are_asked_at_once_and_answers_may_come_in_any_order(self):
        waiting, lock, most = [], threading.Lock(), [0]

        def stop(connection, request, params):
            with lock:
                waiting.append((request, params["name"]))
                most[0] = max(most[0], len(waiting))
                if len(waiting) < 8:  # 40 names: answered in fives of eight, backwards
                    return
                for number, name in reversed(waiting):
                    connection.result(number, {"guest": guest(name, state="stopped")})
                waiting.clear()
        self.qvmd.raw["guest.stop"] = stop
        names = [f"g{i}" for i in range(40)]
        done = self.run_ctl("stop", "-o", "name", *names)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(done.stdout.split()), sorted(names))
        self.assertEqual(done.stdout.split()[:8], names[7::-1])

    def test_no_more_than_16_are_asked_at_once(self):
        seen = []
        self.qvmd.raw["guest.kill"] = (
            lambda connection, request, params: seen.append(params["name"]))
        self.assertEqual(self.run_ctl("kill", "--timeout", "0.5", *[f"g{i}" for i in range(40)])
                         .returncode, 7)
        self.assertEqual(len(seen), 16)

    def test_a_daemon_that_dies_between_many_is_6(self):
        def kill(connection, request, params):
            if params["name"] == "g1":
                connection.close()
            else:
                connection.result(request, {"guest": guest(params["name"], state="stopped")})
        self.qvmd.raw["guest.kill"] = kill
        self.assertEqual(self.run_ctl("kill", "g0", "g1", "g2").returncode, 6)


class ReadTest(CliTest):
    EVENT = {"seq": 7, "time": "2026-01-01T00:00:00.000Z", "what": "state", "guest": "web",
             "instance": 2, "pid": 4711, "state": "failed", "reason": "guest-crash",
             "message": "triple fault"}

    def test_events_are_a_table_or_lines_of_json(self):
        self.qvmd.methods["events.list"] = lambda params: {"events": [self.EVENT], "last": 7}
        done = self.run_ctl("events", "--since", "6", "-n", "5", "web")
        self.assertEqual([line.split() for line in done.stdout.splitlines()], [
            "SEQ TIME GUEST WHAT STATE REASON PID MESSAGE".split(),
            "7 2026-01-01T00:00:00.000Z web state failed guest-crash 4711 triple fault".split()])
        self.assertEqual(self.qvmd.requests[-1][1], {"since": 6, "guest": "web", "limit": 5})
        done = self.run_ctl("events", "-o", "jsonl")
        self.assertEqual(json.loads(done.stdout), self.EVENT)

    def test_follow_shows_each_event_at_once_and_ends_with_the_daemon(self):
        def subscribe(connection, request, params):
            connection.result(request, {"events": [self.EVENT], "last": 7})
        self.qvmd.raw["events.subscribe"] = subscribe
        child = subprocess.Popen([QVMCTL, "events", "-f", "-o", "jsonl"], text=True,
                                 env=self.environment(), stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        self.assertEqual(json.loads(child.stdout.readline())["seq"], 7)
        for seq in (8, 9):
            self.qvmd.connections[0].event(**{**self.EVENT, "seq": seq})
            self.assertEqual(json.loads(child.stdout.readline())["seq"], seq)
        self.qvmd.connections[0].close()
        self.assertIn("ended the connection", child.communicate(timeout=10)[1])
        self.assertEqual(child.returncode, 6)

    def test_start_wait_ends_as_the_guest_ends(self):
        for state, status in (("stopped", 0), ("failed", 1)):
            def start(connection, request, params):
                connection.result(request, {"guest": guest("web", state="running", pid=1)})
            def subscribe(connection, request, params, state=state):
                connection.result(request, {"events": [], "last": 3})
                for seq, name, now in ((4, "db", "failed"), (5, "web", "running"),
                                       (6, "web", "backoff"), (7, "web", state)):
                    connection.event(seq=seq, time="2026-01-01T00:00:00Z", what="state",
                                     guest=name, state=now, message="over")
            self.qvmd.raw = {"guest.start": start, "events.subscribe": subscribe}
            done = self.run_ctl("start", "--wait", "web")
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(done.stdout, "web: running, pid 1\n")
            self.assertEqual(done.stderr,
                             "" if status == 0 else "qvmctl: guest 'web' failed: over\n")

    def test_show_says_what_is_there_and_leaves_out_the_rest(self):
        self.qvmd.methods["guest.show"] = lambda params: {
            "guest": guest("web", state="running", pid=4711, memory=1 << 26, vcpus=1),
            "definition": {"words": ["@0"], "sources": [
                {"name": "web.qvmconf", "directory": "/etc", "text": "system web\nram 64M\n"}]},
            "claims": [{"kind": "memory", "id": "normal", "amount": 1 << 26},
                       {"kind": "file", "id": "/disk", "is_writable": True}],
            "vdevs": [{"name": "ser8250", "values": [{"name": "lsr", "value": "0x60\x1b"}]}]}
        text = self.run_ctl("show", "web").stdout
        self.assertRegex(text, r"(?m)^pid +4711$")
        self.assertRegex(text, r"(?m)^memory +64MiB$")
        self.assertRegex(text, r"(?m)^@0 +web.qvmconf\n +/etc$")
        self.assertRegex(text, r"(?m)^file +- +write +/disk$")
        self.assertRegex(text, r"(?m)^lsr +0x60\\x1b$")
        self.assertNotIn("reason", text)
        self.assertNotIn("ram 64M", text)
        self.assertIn("\nram 64M\n", self.run_ctl("show", "-w", "web").stdout)
        self.assertEqual(self.run_ctl("show", "-o", "name", "web", "db").stdout, "web\ndb\n")

    def test_info_shows_pools_in_their_units(self):
        self.qvmd.methods["host.info"] = lambda params: {
            "version": "9.9", "pid": 1, "started": "2026-01-01T00:00:00Z", "socket": "/s",
            "store": "/d", "kvm": "ok", "not_enforced": ["cgroups"], "guests": 2, "live": 1,
            "last_event": 40, "pools": [
                {"kind": "memory", "id": "normal", "total": 1 << 30, "claimed": 1 << 29},
                {"kind": "cpu", "id": "shared", "total": 8, "claimed": 3}]}
        text = self.run_ctl("info").stdout
        self.assertRegex(text, r"(?m)^normal +memory +1GiB +512MiB +512MiB$")
        self.assertRegex(text, r"(?m)^shared +cpu +8 +3 +5$")
        self.assertRegex(text, r"(?m)^not enforced +cgroups$")

    def test_a_log_arrives_byte_by_byte(self):
        self.qvmd.methods["guest.log"] = lambda params: {"data": "AP8bCg==", "instance": 1}
        done = subprocess.run([QVMCTL, "log", "--size", "4", "web"], capture_output=True,
                              env=self.environment(), timeout=30, check=False)
        self.assertEqual(done.stdout, b"\x00\xff\x1b\n")
        self.assertEqual(self.qvmd.requests[0][1], {"name": "web", "size": 4})

    def test_call_sends_any_object_to_any_method(self):
        self.qvmd.methods["moon.phase"] = lambda params: {"got": params}
        self.expect(["call", "moon.phase", '{"at": [1, "\\u0001"]}'], 0,
                    '{"got":{"at":[1,"\\u0001"]}}\n')
        self.expect(["call", "moon.phase"], 0, '{"got":{}}\n')
        self.expect(["call", "moon.phase", "[1]"], 2,
                    err="qvmctl: the params must be a JSON object\n")
        self.expect(["call", "sun.phase"], 2, err="qvmctl: there is no method 'sun.phase'\n")


class CheckTest(CliTest):
    def fake_qvm(self, script):
        path = os.path.join(self.directory, "qvm")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        return path

    def test_check_lets_qvm_read_the_file_and_start_nothing(self):
        qvm = self.fake_qvm('echo "$@"\n')
        self.expect(["check", "--qvm", qvm, "web.qvmconf", "ram", "64M"], 0,
                    "@web.qvmconf ram 64M dryrun\n")
        self.assertEqual(self.qvmd.requests, [])

    def test_what_qvm_refuses_is_status_1_with_its_words(self):
        qvm = self.fake_qvm("echo web.qvmconf:1: no >&2; exit 65\n")
        self.expect(["check", "--qvm", qvm, "web.qvmconf"], 1, err="web.qvmconf:1: no\n")

    def test_a_qvm_that_is_missing_dies_or_hangs_is_told_apart(self):
        done = self.run_ctl("check", "--qvm", "/none/qvm", "web.qvmconf")
        self.assertEqual(done.returncode, 1)
        self.assertIn("'/none/qvm' cannot be run", done.stderr)
        self.expect(["check", "--qvm", self.fake_qvm("kill -9 $$\n"), "web.qvmconf"], 1,
                    err="qvmctl: qvm was ended by signal 9\n")
        self.expect(["check", "--timeout", "0.2", "--qvm", self.fake_qvm("exec sleep 60\n"),
                     "web.qvmconf"], 7, err="qvmctl: qvm did not end within 0.2 s\n")


if __name__ == "__main__":
    unittest.main()
