#!/usr/bin/env python3
"""qvmctl with the real qvmd, the real qvm and the bare-metal guest."""

import json
import os
import signal
import subprocess
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from private_qvmd import BUILD, PrivateQvmd  # noqa: E402

GUEST = ("system {name}\nram 16M\nload $env{{QVM_GUEST_DIR}}/guest.bzimage\n"
         "vdev ser8250 hostdev -\n")


class QvmdTest(unittest.TestCase):
    def setUp(self):
        self.qvmd = PrivateQvmd()
        self.addCleanup(self.qvmd.close)
        self.put("web")

    def put(self, name, text=GUEST):
        self.qvmd.put(name + ".qvmconf", text.format(name=name))

    def expect(self, status, *words, **options):
        done = self.qvmd.ctl(*words, **options)
        self.assertEqual(done.returncode, status, (words, done.stdout, done.stderr,
                                                   self.qvmd.log()))
        return done

    def start(self, name="web"):
        self.expect(0, "start", name + ".qvmconf", "--timeout", "20")

    def claimed(self):
        pools = json.loads(self.expect(0, "info", "-o", "json").stdout)["pools"]
        return [pool["claimed"] for pool in pools]

    def test_check_starts_nothing_and_says_where_it_is_wrong(self):
        self.expect(0, "check", "web.qvmconf")
        self.put("bad", "system bad\nram 16M\nfly high\n")
        self.assertRegex(self.expect(1, "check", "bad.qvmconf").stderr, r"^bad\.qvmconf:3: ")
        self.assertEqual(self.qvmd.guests(), {})

    def test_a_guest_from_its_file_to_its_end(self):
        done = self.expect(0, "start", "web.qvmconf", "--timeout", "20")
        pid = self.qvmd.guests()["web"]["pid"]
        self.assertEqual(done.stdout, f"web: running, pid {pid}\n")
        self.assertTrue(os.path.exists(f"/proc/{pid}"))
        row = self.expect(0, "list", "--no-headers").stdout.split()
        self.assertEqual(row[:6], ["web", "running", str(pid), "1", "16MiB", "-"])
        self.assertRegex(self.expect(0, "show", "web").stdout, r"(?m)^memory +16MiB +- ")
        self.expect(0, "wait", "web", "running", "--timeout", "5")
        self.assertIn("web: stopped (poweroff)\n", self.expect(0, "stop", "web").stdout)
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.assertEqual(self.claimed(), [0, 0])
        self.expect(0, "undefine", "web")
        self.assertEqual(self.qvmd.guests(), {})
        self.expect(3, "show", "web")

    def test_to_ask_for_what_is_so_already_is_no_error(self):
        self.start()
        pid = self.qvmd.guests()["web"]["pid"]
        for words in (["start", "web"], ["wait", "web", "running"]):
            self.expect(0, *words)
        self.assertNotEqual(self.expect(0, "start", "web").stderr, "")
        self.expect(4, "start", "--strict", "web")
        self.assertEqual(self.qvmd.guests()["web"]["pid"], pid)
        self.expect(0, "kill", "web")
        for words in (["kill", "web"], ["stop", "web"]):
            self.assertNotEqual(self.expect(0, *words).stderr, "")
            self.expect(4, "--strict", *words)

    def test_what_the_state_does_not_allow_is_4(self):
        self.start()
        self.expect(4, "undefine", "web")
        self.put("web", GUEST + "cmdline other\n")
        self.expect(4, "start", "web.qvmconf")
        self.assertEqual(self.qvmd.guests()["web"]["state"], "running")

    def test_a_configuration_error_starts_and_claims_nothing(self):
        self.put("bad", GUEST + "vdev flux-compensator\n")
        done = self.expect(1, "start", "bad.qvmconf", "--timeout", "20")
        self.assertRegex(done.stderr, r"^bad\.qvmconf:5: ")
        self.assertEqual(self.claimed(), [0, 0])
        self.put("missing", "system missing\nram 16M\nload /none/kernel\n")
        done = self.expect(1, "start", "missing.qvmconf", "--timeout", "20")
        self.assertRegex(done.stderr, r"^missing\.qvmconf:3: .*/none/kernel")
        self.assertEqual(self.claimed(), [0, 0])

    def test_more_memory_than_there_is_is_8(self):
        self.put("big", GUEST.replace("16M", "1000G"))
        self.assertRegex(self.expect(8, "start", "big.qvmconf").stderr, r"^big\.qvmconf:2: ")
        self.assertEqual(self.claimed(), [0, 0])

    def test_commands_over_the_console_through_a_pipe(self):
        self.start()
        self.wait_for_prompt()
        done = self.expect(0, "console", "web", input="echo hello from here\npoweroff\n")
        self.assertIn("qvm-guest: up", done.stdout)  # said before: scrollback
        self.assertIn("\nhello from here", done.stdout.replace("\r", ""))
        self.expect(0, "wait", "web", "stopped", "--timeout", "10")
        self.assertEqual(self.qvmd.guests()["web"]["reason"], "poweroff")

    def wait_for_prompt(self):
        """Until the guest reads: a serial line that is set up forgets what came before."""
        viewer = self.qvmd.spawn("console", "--read-only", "web", stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE)
        self.addCleanup(lambda: (viewer.kill(), viewer.wait(), viewer.stdout.close()))
        self.read_until(viewer, b"\n> ")
        viewer.kill()
        viewer.wait()

    def run_session(self, words, command):
        """Start with the console, and type when the guest is ready: a serial line that is set up
        forgets what came before. Returns status and stderr."""
        session = self.qvmd.spawn("start", "-c", *words, "web.qvmconf", "--timeout", "20",
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        self.addCleanup(lambda: (session.kill(), session.wait()))
        self.read_until(session, b"\n> ")
        _, err = session.communicate(command, timeout=30)
        return session.returncode, err.decode()

    def test_start_with_its_console(self):
        self.assertEqual(self.run_session([], b"poweroff\n"), (0, ""))

    def test_start_waits_for_the_end_and_tells_how_it_was(self):
        for command, status, reason in ((b"poweroff\n", 0, "poweroff"),
                                        (b"crash\n", 1, "guest-crash")):
            ended, err = self.run_session(["--wait"], command)
            self.assertEqual(ended, status, err)
            self.assertEqual(self.qvmd.guests()["web"]["reason"], reason)
            self.assertEqual("guest 'web' failed" in err, status == 1)

    def test_followers_see_each_step_as_it_happens(self):
        follower = self.qvmd.spawn("events", "-f", "-n", "1", "-o", "jsonl", text=True,
                                   stdout=subprocess.PIPE)
        self.addCleanup(lambda: (follower.kill(), follower.wait(), follower.stdout.close()))
        self.assertEqual(json.loads(follower.stdout.readline())["what"], "daemon-start")
        self.start()
        self.expect(0, "kill", "web")
        seen = []
        while "stopped" not in seen:
            event = json.loads(follower.stdout.readline())
            seen.append(event.get("state", event["what"]))
        self.assertEqual(seen, ["defined", "starting", "running", "stopping", "stopped"])

    def test_many_at_once_and_one_that_is_not_there(self):
        names = [f"g{i}" for i in range(5)]
        for name in names:
            self.put(name)
            self.expect(0, "define", name + ".qvmconf")
        self.expect(0, "start", *names, "--timeout", "30")
        self.assertEqual({one["state"] for one in self.qvmd.guests().values()}, {"running"})
        done = self.expect(9, "stop", "--timeout", "20", *names, "nobody")
        self.assertEqual(len(done.stdout.splitlines()), 5)
        self.assertEqual(self.claimed(), [0, 0])

    def test_patterns_and_all_mean_what_qvmd_knows(self):
        names = ["db", "web-1", "web-2", "web.x_y-z"]
        for name in names:
            self.put(name)
        done = self.expect(0, "start", *[name + ".qvmconf" for name in names], "--timeout", "30")
        self.assertEqual(len(done.stdout.splitlines()), 4)
        self.assertEqual(sorted(self.expect(0, "kill", "-o", "name", "web-*").stdout.split()),
                         ["web-1", "web-2"])
        self.assertEqual(self.expect(0, "list", "-o", "name", "web*").stdout.split(), names[1:])
        done = self.expect(0, "start", "--all", "-o", "name", "--timeout", "30")
        self.assertEqual(sorted(done.stdout.split()), ["web-1", "web-2"])
        done = self.expect(9, "undefine", "--all")
        self.assertEqual(done.stderr.count("stop it first"), 4, done.stderr)
        self.expect(0, "wait", "--all", "running", "--timeout", "10")
        self.expect(0, "stop", "--all", "--timeout", "30")
        self.expect(0, "wait", "--all", "stopped", "--timeout", "10")
        self.assertEqual(self.expect(0, "stop", "--all").stdout, "")
        self.assertEqual(self.claimed(), [0, 0])
        self.expect(0, "undefine", "web*")
        self.assertEqual(list(self.qvmd.guests()), ["db"])

    def test_names_may_have_63_characters(self):
        longest = "w" + "x" * 62
        self.put(longest)
        self.expect(0, "define", longest + ".qvmconf")
        self.expect(0, "show", longest)
        self.put(longest + "x")
        self.expect(1, "define", longest + "x.qvmconf")
        for words in (["show", longest + "x"], ["kill", ""], ["stop", "--", "-x"]):
            self.expect(2, *words)
        self.assertEqual(list(self.qvmd.guests()), [longest])

    def test_wait_does_not_wait_for_what_cannot_be(self):
        self.expect(0, "define", "web.qvmconf")
        done = self.expect(4, "wait", "web", "running")
        self.assertEqual(done.stderr, "qvmctl: guest 'web' is defined until somebody starts it\n")
        self.expect(7, "wait", "--keep", "--timeout", "0.1", "web", "running")
        self.assertEqual(self.run_session([], b"crash\n")[0], 0)
        self.expect(0, "wait", "web", "failed", "--timeout", "10")
        for state in ("running", "stopped"):
            done = self.expect(4, "wait", "web", state)
            self.assertRegex(done.stderr, r"'web' is failed \(guest-crash: .+\) until somebody")
        self.start()
        waiting = self.qvmd.spawn("wait", "web", "paused", stderr=subprocess.PIPE, text=True)
        keeping = self.qvmd.spawn("wait", "--keep", "web", "stopped", "--timeout", "20")
        for child in (waiting, keeping):
            self.addCleanup(lambda child=child: (child.kill(), child.wait()))
        self.expect(7, "wait", "web", "stopped", "--timeout", "0.3")  # until both have asked
        self.expect(0, "kill", "web")
        self.assertIn("'web' is stopped (killed", waiting.communicate(timeout=10)[1])
        self.assertEqual((waiting.returncode, keeping.wait(10)), (4, 0))

    def test_wait_ends_when_the_guest_is_undefined(self):
        self.expect(0, "define", "web.qvmconf")
        waiting = self.qvmd.spawn("wait", "--keep", "web", "running", stderr=subprocess.PIPE,
                                  text=True)
        self.addCleanup(lambda: (waiting.kill(), waiting.wait(), waiting.stderr.close()))
        self.expect(7, "wait", "--keep", "web", "running", "--timeout", "0.3")
        self.expect(0, "undefine", "web")
        self.assertEqual(waiting.wait(10), 3)

    def test_wait_for_any_of_many(self):
        names = [f"g{i}" for i in range(3)]
        for name in names:
            self.put(name)
        self.expect(0, "define", *[name + ".qvmconf" for name in names])
        self.expect(0, "start", "g0", "g1", "--timeout", "30")
        waiting = self.qvmd.spawn("wait", "--any", "-o", "name", "g?", "stopped", text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (waiting.kill(), waiting.wait()))
        self.expect(7, "wait", "g1", "stopped", "--timeout", "0.3")
        self.expect(0, "kill", "g1")
        self.assertEqual((waiting.communicate(timeout=10)[0], waiting.returncode), ("g1\n", 0))

    def test_a_session_outlives_the_daemon_and_the_next_one_knows_the_guest(self):
        self.start()
        pid = self.qvmd.guests()["web"]["pid"]
        session = self.qvmd.spawn("console", "--no-scrollback", "web", stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        self.addCleanup(lambda: (session.kill(), session.wait(), session.stdout.close()))
        session.stdin.write(b"echo before\n")
        session.stdin.flush()
        self.read_until(session, b"\nbefore")
        self.qvmd.crash()
        self.expect(6, "list")
        session.stdin.write(b"echo meanwhile\n")
        session.stdin.flush()
        self.read_until(session, b"\nmeanwhile")
        self.qvmd.start()
        self.expect(0, "wait", "web", "running", "--timeout", "10")
        self.assertEqual(self.qvmd.guests()["web"]["pid"], pid)
        session.stdin.write(b"poweroff\n")
        session.stdin.close()
        self.assertEqual(session.wait(10), 0)
        self.expect(0, "wait", "web", "stopped", "--timeout", "10")

    def read_until(self, session, wanted):
        data = b""
        while wanted not in data.replace(b"\r", b""):
            piece = os.read(session.stdout.fileno(), 4096)
            self.assertTrue(piece, data)
            data += piece

    def test_a_qvmctl_that_is_killed_in_the_middle_of_start_leaves_a_whole_guest(self):
        for delay in (0.001, 0.003, 0.006):
            child = self.qvmd.spawn("start", "web.qvmconf", stdout=subprocess.DEVNULL)
            try:
                child.wait(delay)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
            if "web" in self.qvmd.guests():  # it had said what it wanted
                self.expect(0, "start", "web", "--timeout", "20")
                self.expect(0, "kill", "web")
            self.assertEqual(self.claimed(), [0, 0])

    def test_a_qvmctl_that_is_killed_in_the_middle_of_stop_loses_nothing(self):
        for delay in (0.001, 0.002, 0.004):
            self.start()
            pid = self.qvmd.guests()["web"]["pid"]
            child = self.qvmd.spawn("stop", "web", stdout=subprocess.DEVNULL)
            try:
                child.wait(delay)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
            self.expect(0, "stop", "--timeout", "20", "web")
            self.assertEqual(self.qvmd.guests()["web"]["reason"], "poweroff")
            self.assertFalse(os.path.exists(f"/proc/{pid}"))
            self.assertEqual(self.claimed(), [0, 0])

    def test_the_log_tells_why_a_guest_failed(self):
        self.assertEqual(self.run_session(["--wait"], b"crash\n")[0], 1)
        self.assertNotEqual(self.expect(0, "log", "web").stdout, "")

    def test_logs_of_several_guests_are_followed_over_a_restart_of_qvmd(self):
        self.put("db")
        for name in ("db", "web"):
            self.start(name)
        child = self.qvmd.spawn("log", "-f", "--console", "*", stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        timer = threading.Timer(60, child.kill)  # then its output ends
        timer.start()
        self.addCleanup(timer.cancel)

        def read_until(*wanted):
            wanted = set(wanted)
            while wanted:
                line = child.stdout.readline()
                self.assertNotEqual(line, "", wanted)
                wanted = {one for one in wanted if one not in line}

        read_until("db  | qvm-guest: up", "web | qvm-guest: up")
        self.qvmd.crash()
        self.qvmd.start()
        for name in ("web", "db"):
            self.expect(0, "reset", name)
        read_until("db  | -- qvm: guest 'db' rebooted", "web | -- qvm: guest 'web' rebooted")

    def test_call_reaches_every_method_by_name(self):
        document = json.loads(self.expect(0, "call", "rpc.discover").stdout)
        self.assertGreater(len(document["methods"]), 10)
        with open(os.path.join(BUILD, "etc", "openrpc.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file), document)  # what is installed
        self.expect(2, "call", "guest.fly")
        self.expect(3, "call", "guest.show", '{"name":"nobody"}')


if __name__ == "__main__":
    unittest.main()
