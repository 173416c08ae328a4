#!/usr/bin/env python3
"""qvmctl show, log, events, info and check, against a qvmd that says what a test wants."""

import base64
import json
import os
import subprocess
import unittest

from clitest import CliTest, QVMCTL
from fake_qvmd import Refusal, guest  # noqa: E402: clitest has found it


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

    def test_follow_shows_each_event_at_once_and_waits_for_a_daemon_that_went(self):
        def subscribe(connection, request, params):
            connection.result(request, {"events": [self.EVENT], "last": 7})
        self.qvmd.raw["events.subscribe"] = subscribe
        child = subprocess.Popen([QVMCTL, "events", "-f", "-o", "jsonl", "--timeout", "2"], text=True,
                                 env=self.environment(), stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        self.assertEqual(json.loads(child.stdout.readline())["seq"], 7)
        for seq in (8, 9):
            self.qvmd.connections[0].event(**{**self.EVENT, "seq": seq})
            self.assertEqual(json.loads(child.stdout.readline())["seq"], seq)
        self.qvmd.connections[0].close()
        self.assertIn("qvmd is gone; waiting for it", child.communicate(timeout=10)[1])
        self.assertEqual(child.returncode, 7)
        self.assertIn(9, [params.get("since") for _, params in self.qvmd.requests])

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
        self.assertRegex(text, r"(?m)^file +- +write +- +/disk$")
        self.assertRegex(text, r"(?m)^lsr +0x60\\x1b$")
        self.assertNotIn("reason", text)
        self.assertNotIn("ram 64M", text)
        self.assertIn("\nram 64M\n", self.run_ctl("show", "-w", "web").stdout)
        self.assertEqual(self.run_ctl("show", "-o", "name", "web", "db").stdout, "web\ndb\n")

    def test_many_names_that_no_request_can_carry_are_all_refused(self):
        names = [f"\udcff{i}" for i in range(40)]  # a byte that is no UTF-8
        done = subprocess.run([QVMCTL, "--timeout", "5s", "show", *names], capture_output=True,
                              timeout=30, env=self.environment(), check=False)
        self.assertEqual(done.returncode, 9)
        self.assertEqual(done.stderr.count(b"is not UTF-8"), 40)

    def test_the_version_can_be_read_by_programs(self):
        version = self.run_ctl("version").stdout.split()[1]
        self.expect(["version", "-o", "json"], 0, f'{{"version":"{version}"}}\n')
        self.assertEqual(self.qvmd.requests, [])

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

    def say(self, **texts):
        def log(params):
            text = texts[params["name"]].encode()
            begin = params.get("offset", 0)
            return {"data": base64.b64encode(text[begin:begin + 5]).decode(), "instance": 1,
                    "next": min(begin + 5, len(text)), "end": len(text)}
        self.qvmd.methods["guest.log"] = log

    def test_logs_of_several_guests_have_the_name_before_each_whole_line(self):
        self.say(db="one\r\n\ntwo", web="a longer line\nx\n")
        done = self.run_ctl("log", "db", "web", "db")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertEqual([line for line in lines if line.startswith("db ")],
                         ["db  | one", "db  | ", "db  | two"])
        self.assertEqual([line for line in lines if line.startswith("web")],
                         ["web | a longer line", "web | x"])
        self.assertEqual(len(lines), 5)

    def test_a_line_without_an_end_is_broken_and_kept_in_bounds(self):
        self.say(a="x" * 10000, b="y\n")
        done = self.run_ctl("log", "a", "b")
        self.assertEqual(sorted(map(len, done.stdout.splitlines())), [5, 10000 - 2 * 4095 + 4] +
                         [4095 + 4] * 2)

    def test_a_pattern_names_each_line_and_the_pieces_of_json_too(self):
        self.qvmd.methods["guest.list"] = lambda params: {"guests": [guest("db"), guest("web")]}
        self.say(web="hi\n")
        self.assertEqual(self.run_ctl("log", "w*").stdout, "web | hi\n")
        said = json.loads(self.run_ctl("-o", "jsonl", "log", "w*").stdout)
        self.assertEqual((said["name"], said["data"]), ("web", "aGkK"))
        self.assertNotIn("name", json.loads(self.run_ctl("-o", "json", "log", "web").stdout))

    def test_a_refusal_of_one_log_does_not_keep_the_others(self):
        self.say(db="one\n")
        self.qvmd.methods["guest.log"] = self.refuse_unknown(self.qvmd.methods["guest.log"])
        done = self.run_ctl("log", "nobody", "db")
        self.assertEqual((done.returncode, done.stdout), (9, "db     | one\n"))
        self.assertEqual(done.stderr, "qvmctl: there is no guest 'nobody'\n")

    @staticmethod
    def refuse_unknown(log):
        def refuse(params):
            if params["name"] == "nobody":
                raise Refusal("not-found", "there is no guest 'nobody'")
            return log(params)
        return refuse

    def test_a_session_is_at_one_console_and_follow_at_several(self):
        for words in (("a", "b"), ("--all",), ("a*",), ("-f", "--steal", "a")):
            self.assertEqual(self.run_ctl("console", *words).returncode, 2, words)
        self.say(a="1\n", b="2\n")
        done = self.run_ctl("--timeout", "300ms", "console", "-f", "a", "b")
        self.assertEqual(sorted(done.stdout.splitlines()), ["a | 1", "b | 2"])
        self.assertEqual({params.get("console") for _, params in self.qvmd.requests}, {True})

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
