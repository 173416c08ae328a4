#!/usr/bin/env python3
"""qvmctl with many guests at once: names, patterns, --all, several files, waiting, time, Ctrl-C."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from clitest import CliTest, QVMCTL, rows, SOURCE  # noqa: E402
from fake_qvmd import guest, Refusal  # noqa: E402: clitest has found it


class ManyTest(CliTest):
    GUESTS = [guest("db", state="running", pid=1), guest("web-1", state="stopped"),
              guest("web-10", state="failed"), guest("web-2", state="running", pid=2),
              guest("web-3", state="backoff")]

    def setUp(self):
        super().setUp()
        self.qvmd.methods["guest.list"] = self.list
        self.outcome(state="stopped")
        self.qvmd.methods["guest.show"] = lambda params: {"guest": guest(params["name"])}

    def list(self, params):
        return {"guests": [one for one in self.GUESTS
                           if one["name"] in (params.get("names") or [one["name"]])]}

    def asked(self, method):
        names = [params["name"] for name, params in self.qvmd.requests if name == method]
        self.qvmd.requests.clear()
        return names


class NamesTest(ManyTest):
    def test_each_verb_takes_patterns_and_all_over_one_connection(self):
        takers = [name for name, words in synopses().items() if "--all" in words]
        self.assertGreaterEqual(set(takers), {"list", "show", "undefine", "start", "stop", "kill",
                                              "wait"})
        methods = {"list": None}
        for verb in takers:
            method = methods.get(verb, "guest." + verb)
            if verb == "list" or method not in self.qvmd.methods:
                continue
            state = ["stopped"] if verb == "wait" else []
            with self.subTest(verb=verb):
                before = len(self.qvmd.connections)
                done = self.run_ctl(verb, "web-?", "db", "web-2", *state)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(sorted(self.asked(method)), ["db", "web-1", "web-2", "web-3"])
                self.assertEqual(len(self.qvmd.connections), before + 1)
                self.assertEqual(self.run_ctl(verb, "--all", *state).returncode, 0)
                meant = {"start": ["web-1", "web-10", "web-3"], "stop": ["db", "web-2", "web-3"],
                         "kill": ["db", "web-2", "web-3"]}
                self.assertEqual(sorted(self.asked(method)),
                                 meant.get(verb, [one["name"] for one in self.GUESTS]))
                self.assertEqual(self.run_ctl(verb, "--all", "db", *state).returncode, 2)
                self.assertEqual(self.qvmd.requests, [])

    def test_list_shows_those_that_match(self):
        self.expect(["list", "-o", "name", "web-?", "db"], 0, "db\nweb-1\nweb-2\nweb-3\n")
        self.expect(["list", "-o", "name", "--all"], 0, "db\nweb-1\nweb-10\nweb-2\nweb-3\n")
        done = self.run_ctl("list", "-o", "json", "web-1*")
        self.assertEqual(json.loads(done.stdout), {"guests": self.GUESTS[1:3]})
        self.expect(["list", "-o", "name", "x*"], 3, err="qvmctl: no guest's name matches 'x*'\n")
        self.expect(["list", "-o", "name", "x*", "nobody", "d?"], 9, "db\n",
                    "qvmctl: no guest's name matches 'x*'\nqvmctl: there is no guest 'nobody'\n")

    def test_a_pattern_without_guests_is_status_3_and_asks_nothing_else(self):
        for verb in ("stop", "kill", "start", "undefine", "show"):
            self.expect([verb, "x*"], 3, err="qvmctl: no guest's name matches 'x*'\n")
        self.expect(["wait", "x*", "running"], 3, err="qvmctl: no guest's name matches 'x*'\n")
        self.assertEqual({method for method, _ in self.qvmd.requests}, {"guest.list"})
        self.expect(["stop", "x*", "db"], 9, "db: stopped\n",
                    "qvmctl: no guest's name matches 'x*'\n")

    def test_all_of_nothing_is_nothing_to_do(self):
        self.qvmd.methods["guest.list"] = lambda params: {"guests": []}
        note = "qvmctl: there is no guest to do that with\n"
        self.expect(["stop", "--all"], 0, err=note)
        self.expect(["stop", "--all", "--strict"], 4, err=note)
        self.expect(["stop", "--all", "-q"], 0)
        self.expect(["stop", "--all", "-o", "json"], 0, "", note)

    def test_json_is_a_list_if_several_may_be_meant_and_jsonl_one_a_line(self):
        for words, count in ((["db", "web-1"], 2), (["d*"], 1), (["--all"], 3)):
            done = self.run_ctl("stop", "-o", "json", *words)
            self.assertEqual(len(json.loads(done.stdout)), count)
            self.assertEqual(done.stdout.count("\n"), 1)
            done = self.run_ctl("stop", "-o", "jsonl", *words)
            self.assertEqual(len([json.loads(line) for line in done.stdout.splitlines()]), count)
        self.assertIn("guest", json.loads(self.run_ctl("stop", "-o", "json", "db").stdout))

        done = self.run_ctl("stop", "-o", "json", "x*", "y*")
        self.assertEqual((done.returncode, done.stdout), (9, "[]\n"))

    def test_in_lists_each_outcome_and_each_refusal_says_whose_it_is(self):
        def undefine(params):
            if params["name"] == "b":
                raise Refusal("wrong-state", "guest 'b' is running")
            return {}
        self.qvmd.methods["guest.undefine"] = undefine
        wanted = [{"name": "a"}, {"name": "b", "error": "wrong-state",
                                  "message": "guest 'b' is running"}, {"name": "c"}]
        done = self.run_ctl("undefine", "-o", "json", "a", "b", "c")
        self.assertEqual((done.returncode, json.loads(done.stdout)), (9, wanted))
        done = self.run_ctl("undefine", "-o", "jsonl", "a", "b", "c")
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()], wanted)
        done = self.run_ctl("undefine", "-o", "jsonl", "b")
        self.assertEqual((done.returncode, json.loads(done.stdout)), (4, wanted[1]))
        self.expect(["undefine", "-o", "json", "a"], 0, "{}\n")
        self.expect(["undefine", "-o", "json", "b"], 4, err="qvmctl: guest 'b' is running\n")

    def test_a_refusal_that_names_no_guest_is_told_with_its_guest(self):
        def start(params):
            raise Refusal("wrong-state", "the host was drained" if params["name"] == "a"
                          else "guest 'b' is stopping")
        self.qvmd.methods["guest.start"] = start
        self.expect(["start", "a", "b"], 9,
                    err="qvmctl: a: the host was drained\nqvmctl: guest 'b' is stopping\n")
        self.expect(["start", "a"], 4, err="qvmctl: the host was drained\n")

    def test_show_of_many_keeps_their_order(self):
        held = []

        def show(connection, request, params):
            held.append((request, params["name"]))
            if len(held) == 3:
                for number, name in reversed(held):
                    connection.result(number, {"guest": guest(name)})
        self.qvmd.raw["guest.show"] = show
        self.assertEqual(self.run_ctl("show", "-o", "name", "c", "a", "b").stdout, "c\na\nb\n")

    def test_1024_names_and_not_one_more(self):
        names = [f"g{i}" for i in range(1025)]
        self.assertEqual(self.run_ctl("kill", *names).returncode, 2)
        self.assertEqual(self.qvmd.requests, [])
        done = self.run_ctl("kill", "-o", "name", *names[:1024])
        self.assertEqual((done.returncode, sorted(done.stdout.split())), (0, sorted(names[:1024])))
        self.assertEqual(self.run_ctl("wait", *names, "running").returncode, 2)

    def test_five_thousand_guests_are_stopped_by_all(self):
        many = [guest(f"guest-{i}", state="running") for i in range(5000)]
        self.qvmd.methods["guest.list"] = lambda params: {"guests": many}
        done = self.run_ctl("stop", "--all", "-o", "name")
        self.assertEqual((done.returncode, len(set(done.stdout.split()))), (0, 5000), done.stderr)

    def test_answers_that_nobody_asked_for_are_not_counted(self):
        def stop(connection, request, params):
            for number in (request, request, request + 1000, 0):
                connection.result(number, {"guest": guest(params["name"], state="stopped")})
        self.qvmd.raw["guest.stop"] = stop
        self.expect(["stop", "-o", "name", "a", "b", "c"], 0, "a\nb\nc\n")


class EventsTest(ManyTest):
    def setUp(self):
        super().setUp()
        self.qvmd.methods["events.list"] = lambda params: {"last": 9, "events": [
            {"seq": seq, "time": "2026-01-01T00:00:00Z", "what": "state", "guest": name}
            if name else {"seq": seq, "time": "2026-01-01T00:00:00Z", "what": "daemon-start"}
            for seq, name in enumerate(["", "db", "web-1", "x", "web-2", "", "db", "web-1"], 1)]}

    def shown(self, *words):
        done = self.run_ctl("events", "-o", "jsonl", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line)["seq"] for line in done.stdout.splitlines()]

    def test_events_of_several_guests_and_patterns_are_chosen_here(self):
        self.assertEqual(self.shown("web-*"), [3, 5, 8])
        self.assertEqual(self.shown("web-*", "db"), [2, 3, 5, 7, 8])
        self.assertEqual(self.shown("-n", "2", "web-*", "db"), [7, 8])
        self.assertEqual(self.shown("y*"), [])
        self.assertEqual([params.get("limit") for _, params in self.qvmd.requests], [None] * 4)
        done = self.run_ctl("events", "-o", "json", "web-2", "x")
        self.assertEqual([event["seq"] for event in json.loads(done.stdout)["events"]], [4, 5])
        self.qvmd.requests.clear()
        self.shown("-n", "2", "db")
        self.shown("--all")
        self.assertEqual(self.qvmd.requests, [("events.list", {"guest": "db", "limit": 2}),
                                              ("events.list", {})])

    def test_those_that_are_followed_too(self):
        def subscribe(connection, request, params):
            connection.result(request, {"events": [], "last": 1})
            for seq, name in enumerate(("db", "web-1", "x", "web-7"), 2):
                connection.event(seq=seq, time="2026-01-01T00:00:00Z", what="state", guest=name)
        self.qvmd.raw["events.subscribe"] = subscribe
        child = subprocess.Popen([QVMCTL, "events", "-f", "-o", "jsonl", "web-*", "x"], text=True,
                                 env=self.environment(), stdout=subprocess.PIPE)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.assertEqual([json.loads(child.stdout.readline())["guest"] for _ in range(3)],
                         ["web-1", "x", "web-7"])


class FilesTest(ManyTest):
    def setUp(self):
        super().setUp()
        for name in ("a", "b", "c"):
            self.put(name + ".qvmconf", f"system {name}\nram 16M\n")

    def test_several_files_are_several_guests(self):
        for verb in ("start", "define"):
            done = self.run_ctl(verb, "-o", "name", "a.qvmconf", "b.qvmconf", "c.qvmconf")
            self.assertEqual((done.returncode, done.stdout), (0, "a\nb\nc\n"), done.stderr)
            sent = [(params["name"], params["definition"]["sources"][0]["name"],
                     params["definition"]["words"])
                    for method, params in self.qvmd.requests if method == "guest." + verb]
            self.assertEqual(sent, [(name, name + ".qvmconf", ["@0"]) for name in "abc"])

    def test_words_belong_to_the_file_before_them(self):
        self.run_ctl("start", "a.qvmconf", "ram", "32M", "@b.qvmconf")
        self.assertEqual(len(self.qvmd.requests), 1)
        self.assertEqual(self.qvmd.requests[0][1]["definition"]["words"],
                         ["@0", "ram", "32M", "@1"])

    def test_a_file_that_cannot_be_read_does_not_keep_the_others(self):
        self.expect(["start", "a.qvmconf", "none.qvmconf", "c.qvmconf"], 9,
                    "a: stopped\nc: stopped\n",
                    "qvmctl: 'none.qvmconf' cannot be opened: No such file or directory\n")
        self.expect(["define", "none.qvmconf", "a.qvmconf"], 9, "a: defined\n",
                    "qvmctl: 'none.qvmconf' cannot be opened: No such file or directory\n")

    def test_two_files_of_one_guest_are_refused_before_anything_is_done(self):
        self.put("again.qvmconf", "system a\n")
        self.expect(["start", "a.qvmconf", "b.qvmconf", "again.qvmconf"], 1,
                    err="qvmctl: 'a.qvmconf' and 'again.qvmconf' both describe the guest 'a'\n")
        self.assertEqual(self.qvmd.requests, [])

    def test_one_console_is_for_one_guest(self):
        for words in (["a.qvmconf", "b.qvmconf"], ["web-*"], ["--all"], ["a", "b"]):
            for option in ("-c", "--wait"):
                self.assertEqual(self.run_ctl("start", option, *words).returncode, 2)
        self.assertEqual(self.qvmd.requests, [])

    def test_check_reads_each_file(self):
        self.put("qvm", "#!/bin/sh\n[ $1 != @b.qvmconf ] || exit 65\necho $1\n")
        os.chmod(os.path.join(self.directory, "qvm"), 0o755)
        self.expect(["check", "--qvm", "./qvm", "a.qvmconf", "b.qvmconf", "c.qvmconf"], 9,
                    "@a.qvmconf\n@c.qvmconf\n")
        self.expect(["check", "--qvm", "./qvm", "a.qvmconf", "c.qvmconf"], 0,
                    "@a.qvmconf\n@c.qvmconf\n")


class WaitTest(ManyTest):
    """qvmd's part of waiting is tested with the real one, in test_cli_qvmd.py and test_life.py."""

    def answer(self, answers):
        def wait(connection, request, params):
            answer = answers.get(params["name"])
            if isinstance(answer, Refusal):
                connection.refuse(request, answer.name, str(answer))
            elif answer is not None:
                connection.result(request, {"guest": guest(params["name"], state=answer)})
        self.qvmd.raw["guest.wait"] = wait

    def test_wait_for_all_is_over_when_each_has_been_there(self):
        self.answer({"a": "stopped", "b": "stopped"})
        self.expect(["wait", "a", "b", "stopped"], 0, "a: stopped\nb: stopped\n")
        self.answer({"a": "stopped"})
        self.assertEqual(self.run_ctl("wait", "--timeout", "0.1", "-q", "b", "a", "stopped")
                         .returncode, 7)

    def test_wait_for_any_is_over_with_the_first(self):
        self.answer({"b": "stopped"})
        self.expect(["wait", "--any", "a", "b", "c", "stopped"], 0, "b: stopped\n")

    def test_what_cannot_be_any_more_ends_it_with_4(self):
        rest = Refusal("wrong-state", "guest 'b' is failed (guest-crash) until somebody starts it")
        self.answer({"b": rest})
        self.expect(["wait", "a", "b", "running"], 4, err=f"qvmctl: {rest}\n")
        self.answer({"a": "running", "b": rest})
        self.expect(["wait", "--any", "b", "a", "running"], 0, "a: running\n", f"qvmctl: {rest}\n")
        self.answer({"a": rest, "b": rest})
        self.expect(["wait", "--any", "b", "a", "running"], 4, "", f"qvmctl: {rest}\n" * 2)
        self.answer({"b": Refusal("no-such-guest", "there is no guest 'b'")})
        self.expect(["wait", "a", "b", "running"], 3, err="qvmctl: there is no guest 'b'\n")

    def test_keep_lets_qvmd_wait_on(self):
        self.answer({"a": "running"})
        self.run_ctl("wait", "a", "running")
        self.run_ctl("wait", "--keep", "a", "running")
        self.assertEqual([params.get("or_rest") for _, params in self.qvmd.requests], [True, None])

    def test_the_time_is_over_for_all_that_are_not_there(self):
        late = Refusal("timeout", "guest 'b' is still running")
        self.answer({"a": "stopped", "b": late})
        self.expect(["wait", "a", "b", "c", "stopped"], 7, "a: stopped\n",
                    "qvmctl: the time is over, and it is not so yet of b c\n")
        self.expect(["wait", "b", "stopped"], 7, err="qvmctl: guest 'b' is still running\n")

    def test_no_more_than_1000_at_once(self):
        for count, status in ((1000, 7), (1001, 1)):
            many = [guest(f"g{i}") for i in range(count)]
            self.qvmd.methods["guest.list"] = lambda params, many=many: {"guests": many}
            self.answer({"g3": Refusal("timeout", "no")})
            done = self.run_ctl("wait", "--all", "running")
            self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn("at most 1000 guests", done.stderr)


def synopses():
    """The synopsis of each command, from its help."""
    found = {}
    names = subprocess.run([QVMCTL, "help", "--commands"], capture_output=True, text=True,
                           check=True).stdout.split()
    for name in names:
        text = subprocess.run([QVMCTL, "help", name], capture_output=True, text=True,
                              check=True).stdout
        head = re.match(r"qvmctl \S+(.*\n(?: {8}.*\n)*)", text).group(1)
        found[name] = " ".join(head.split())
    return found


class TimeTest(ManyTest):
    """Each command of the table ends with 7 when the time is over; a new one must, too."""

    LOCAL = {"version", "help", "completion"}  # ask nobody
    WORDS = {"NAME": "web", "STATE": "running", "FILE": "web.qvmconf", "METHOD": "host.info",
             "SETTING=VALUE": "restart=always", "SHELL": "bash", "KEY": "ret", "SIZE": "0", "VDEV": "disk", "TEXT": "a", "X": "1",
             "Y": "1", "REGION": "ring", "OFFSET": "0", "BYTES": "1", "CLIENT": "0"}
    MORE = {"top": ["-b"]}  # which wants a terminal otherwise

    def command_line(self, name, synopsis):
        """The shortest that the synopsis allows: its first form, without what is optional."""
        while "[" in synopsis:  # brackets in brackets
            synopsis = re.sub(r"\[[^][]*\]", "", synopsis)
        form = synopsis.split("|")[0]
        words = [word for word in form.split() if word != "..."]
        unknown = [word for word in words if word not in self.WORDS]
        self.assertEqual(unknown, [], f"{name}: say in WORDS what stands for these")
        return [name, *self.MORE.get(name, []), *(self.WORDS[word] for word in words)]

    def test_every_command_gives_up_in_time_when_qvmd_is_silent(self):
        self.put("web.qvmconf", "system web\nram 16M\n")
        self.put("qvm", "#!/bin/sh\nexec sleep 60\n")
        os.chmod(os.path.join(self.directory, "qvm"), 0o755)
        silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(silent.close)
        path = os.path.join(self.directory, "silent.sock")
        silent.bind(path)
        silent.listen(64)
        children = {}
        for name, synopsis in synopses().items():
            children[name] = subprocess.Popen(
                [QVMCTL, "--timeout", "100ms", *self.command_line(name, synopsis)],
                env={"PATH": os.environ["PATH"], "QVM_SOCKET": path, "QVM_QVM": "./qvm"},
                cwd=self.directory, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
            self.addCleanup(children[name].wait)
            self.addCleanup(children[name].kill)
        for name, child in children.items():
            with self.subTest(command=name):
                out, err = child.communicate(timeout=60)
                self.assertEqual(child.returncode, 0 if name in self.LOCAL else 7, err)
                if name not in self.LOCAL:
                    self.assertTrue(err.startswith("qvmctl: "), err)
                    self.assertEqual(out, "")

    def test_to_ask_who_is_meant_takes_no_longer_either(self):
        self.qvmd.raw["guest.list"] = lambda connection, request, params: None
        for words in (["stop", "x*"], ["start", "--all"], ["wait", "x*", "running"],
                      ["show", "--all"]):
            self.expect([*words, "--timeout", "0.1"], 7,
                        err="qvmctl: qvmd did not answer within 0.1 s\n")

    def test_a_daemon_that_takes_no_connection_is_7_too(self):
        full = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(full.close)
        path = os.path.join(self.directory, "full.sock")
        full.bind(path)
        full.listen(0)
        first = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(first.close)
        first.connect(path)
        done = self.run_ctl("--socket", path, "--timeout", "0.1", "list")
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("did not take the connection", done.stderr)

    def test_the_time_bounds_all_that_is_read(self):
        def drip(connection, request, params):
            time.sleep(0.08)
            connection.result(request, {"guest": guest(params["name"])})
        self.qvmd.raw["guest.show"] = drip
        done = self.run_ctl("show", "--timeout", "0.2", *[f"g{i}" for i in range(20)])
        self.assertEqual(done.returncode, 7)


class InterruptTest(ManyTest):
    def interrupt(self, method, *words, answered=0, asked=1):
        """Run qvmctl, answer so many requests of that method, and interrupt it when so many have
        been asked."""
        enough = threading.Event()
        lock, seen = threading.Lock(), []

        def answer(connection, request, params):
            with lock:
                seen.append(params.get("name"))
                if len(seen) <= answered:
                    connection.result(request, {"guest": guest(params["name"], state="stopped")})
                if len(seen) == asked:
                    enough.set()
        self.qvmd.raw[method] = answer
        child = subprocess.Popen([QVMCTL, *words], env=self.environment(), cwd=self.directory,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out = "".join(child.stdout.readline() for _ in range(answered))
        self.assertTrue(enough.wait(10))
        child.send_signal(signal.SIGINT)
        rest, err = child.communicate(timeout=10)
        self.assertEqual(child.returncode, 130)
        return out + rest, err

    MORE = "what was asked for goes on: see `qvmctl list`\n"

    def test_what_has_answered_was_told_and_what_has_not_is_said(self):
        self.assertEqual(self.interrupt("guest.stop", "stop", "a", "b", "c", answered=2,
                                        asked=3), (
            "a: stopped\nb: stopped\n",
            "\nqvmctl: interrupted: 3 of 3 guests were asked, 2 have answered; " + self.MORE))
        names = [f"g{i}" for i in range(20)]
        self.assertEqual(self.interrupt("guest.start", "start", *names, asked=16), (
            "", "\nqvmctl: interrupted: 16 of 20 guests were asked, 0 have answered; " + self.MORE))

    def test_one_guest_is_called_by_its_name(self):
        self.assertEqual(self.interrupt("guest.kill", "kill", "web"),
                         ("", "\nqvmctl: interrupted: guest 'web' has not answered; " + self.MORE))

    def test_what_the_host_was_asked_for_goes_on(self):
        self.assertEqual(self.interrupt("host.drain", "drain"),
                         ("", "\nqvmctl: interrupted: " + self.MORE))

    def test_who_only_looked_leaves_nothing_behind(self):
        self.assertEqual(self.interrupt("guest.wait", "wait", "web", "running"),
                         ("", "\nqvmctl: interrupted\n"))
        self.assertEqual(self.interrupt("guest.list", "list"), ("", "\nqvmctl: interrupted\n"))

    def test_in_the_background_of_a_script_it_is_not_interrupted(self):
        """A shell without job control starts what is in the background with SIGINT ignored."""
        script = f'{QVMCTL} stop web & sleep 0.2; kill -INT $!; wait $!; echo "status $?"'
        go = threading.Event()

        def stop(connection, request, params):
            go.wait(10)
            connection.result(request, {"guest": guest("web", state="stopped")})
        self.qvmd.raw["guest.stop"] = stop
        threading.Timer(0.6, go.set).start()
        done = subprocess.run(["sh", "-c", script], env=self.environment(), capture_output=True,
                              text=True, timeout=30, check=False)
        self.assertEqual(done.stdout, "web: stopped\nstatus 0\n", done.stderr)


if __name__ == "__main__":
    unittest.main()
