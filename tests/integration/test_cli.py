#!/usr/bin/env python3
"""qvmctl against a qvmd that says what a test wants: output, exit statuses, bad answers."""

import json
import os
import signal
import subprocess
import threading
import time
import unittest

from clitest import CliTest, QVMCTL, rows
from fake_qvmd import guest, Refusal  # noqa: E402: clitest has found it

HEADER = "NAME  STATE    PID  VCPUS  MEMORY  CPUS  DEVICES  UPTIME  RESTARTS  OWNER\n"


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

    def test_wide_adds_policy_and_reason_and_no_headers_takes_the_header(self):
        self.assertEqual(self.run_ctl("list", "-w").stdout.splitlines()[0].split()[9:],
                         ["OWNER", "ENABLED", "RESTART", "REASON", "MESSAGE"])
        self.qvmd.methods["guest.list"] = lambda params: {"guests": [
            self.GUESTS[0], {**self.GUESTS[1], "enabled": True, "restart": "on-failure"}]}
        done = self.run_ctl("list", "-w", "--no-headers")
        self.assertEqual([line.split()[9:] for line in done.stdout.splitlines()],
                         [["root", "no", "no", "guest-crash", "triple", "fault"],
                          ["anna", "yes", "on-failure", "-", "-"]])

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
        self.assertIn("qvmctl: interrupted", child.communicate(timeout=10)[1])
        self.assertEqual(child.returncode, 130)

    def test_a_slip_of_the_finger_is_told_what_was_meant(self):
        for words, wrong, meant in ((["startt"], "startt", "start"), (["help", "lits"], "lits", "list")):
            self.expect(words, 2, err=f"qvmctl: there is no command '{wrong}'; did you mean "
                        f"'{meant}'?\nqvmctl: `qvmctl help` lists the commands and options\n")
        self.assertNotIn("did you mean", self.run_ctl("q").stderr)

    def test_wrong_usage_is_status_2_before_anything_is_asked(self):
        for words in ([], ["fly"], ["list", "--fly"], ["stop"], ["wait", "web"], ["show"],
                      ["wait", "web", "happy"], ["-o", "xml", "list"], ["-o", "name", "info"],
                      ["stop", "--timeout", "0", "web"], ["stop", "--timeout", "86401", "web"],
                      ["console", "--escape", "abc", "web"], ["start", "-c", "a", "b"],
                      ["start", "-c", "-o", "json", "a"], ["events", "-n", "10001"],
                      ["audit", "-n", "1001"], ["log", "--size", "131073", "web"], ["console", "a", "b"]):
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
            {"name": "web", "state": "stopped", "timeout_ms": 120000, "or_rest": True}])

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

    def test_no_more_than_16_starts_and_1000_others_are_on_the_way(self):
        for verb, many, most in (("start", 40, 16), ("kill", 1024, 1000)):
            seen = []
            self.qvmd.raw["guest." + verb] = (
                lambda connection, request, params, seen=seen: seen.append(params["name"]))
            child = subprocess.Popen([QVMCTL, verb, *[f"g{i}" for i in range(many)]],
                                     env=self.environment())
            end = time.monotonic() + 30
            while len(seen) < most and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.1)  # for one that is too many
            child.terminate()
            child.wait()
            self.assertEqual(len(seen), most)

    def test_a_daemon_that_dies_between_many_is_6(self):
        def kill(connection, request, params):
            if params["name"] == "g1":
                connection.close()
            else:
                connection.result(request, {"guest": guest(params["name"], state="stopped")})
        self.qvmd.raw["guest.kill"] = kill
        self.assertEqual(self.run_ctl("kill", "g0", "g1", "g2").returncode, 6)


if __name__ == "__main__":
    unittest.main()
