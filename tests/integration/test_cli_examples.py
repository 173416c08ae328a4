#!/usr/bin/env python3
"""The examples of qvm-api(7) and of etc/examples do what they show, with a real qvmd and guest."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from private_qvmd import GUESTS, QVMCTL, PrivateQvmd  # noqa: E402
from test_cli_npm import install  # noqa: E402

EXAMPLES = os.path.join(HERE, "..", "..", "etc", "examples")
PAGE = os.path.join(HERE, "..", "..", "proto", "qvm-api.7")


def examples():
    """The commands of the page: each block that begins with `$`, without the output it shows."""
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    section = text[text.index("\n.Sh EXAMPLES"):]
    for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", section, re.M | re.S):
        if not block.startswith("$ "):
            continue
        command = ""
        for line in block[2:].replace("\\e", "\\").splitlines():
            command += line + "\n"
            whole = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False)
            if whole.returncode == 0 and not line.rstrip().endswith("|"):
                break
        yield command


class ExamplesTest(unittest.TestCase):
    def setUp(self):
        self.qvmd = PrivateQvmd()
        self.addCleanup(self.qvmd.close)
        self.qvmd.put("web.qvmconf", f"system web\nram 16M\nload {GUESTS}/guest.bzimage\n"
                                     "vdev ser8250 hostdev -\n")

    def spawn(self, command):
        path = os.path.dirname(QVMCTL) + ":" + os.environ["PATH"]
        child = subprocess.Popen(
            ["bash", "-c", command.replace("/run/qvm/qvmd.sock", self.qvmd.socket)],
            env=self.qvmd.environment(PATH=path), cwd=self.qvmd.directory, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.addCleanup(self.end, child)
        return child

    @staticmethod
    def end(child):
        try:
            os.killpg(child.pid, signal.SIGKILL)  # of its own: start_new_session
        except ProcessLookupError:
            pass
        child.wait()
        child.stdout.close()

    def run_example(self, command):
        return self.spawn(command).communicate(timeout=30)[0]

    def test_each_example_of_the_page_does_what_it_shows(self):
        listing, start, follow, console = examples()
        self.assertEqual(self.run_example(start), "running\n")
        self.assertIn('"name": "web"', self.run_example(listing))
        self.qvmd.ctl("console", "--timeout", "0.5", "web")  # until it has said something
        self.assertIn("qvm-guest: up", self.run_example(console))
        follower = self.spawn(follow)
        self.qvmd.ctl("wait", "web", "stopped", "--timeout", "0.5")  # until it has subscribed
        self.assertEqual(self.qvmd.ctl("console", "web", input="crash\n").returncode, 0)
        self.assertRegex(follower.stdout.readline(), "^web: triple fault")


class ProgramsTest(unittest.TestCase):
    """The programs that are installed as examples, as they stand."""

    GUEST = ("system {name}\nram 16M\nload " + GUESTS + "/guest.bzimage\n"
             "vdev ser8250 hostdev -\n")

    def setUp(self):
        self.qvmd = PrivateQvmd()
        self.addCleanup(self.qvmd.close)
        for name in ("rack7-a", "rack7-b", "other"):
            self.define(name, self.GUEST)

    def define(self, name, text):
        self.qvmd.put(name + ".qvmconf", text.format(name=name))
        done = self.qvmd.ctl("define", name + ".qvmconf")
        self.assertEqual(done.returncode, 0, done.stderr)

    def crash(self, name):
        """Type `crash` when the guest reads."""
        done = self.qvmd.ctl("start", name, "--timeout", "20")
        self.assertEqual(done.returncode, 0, done.stderr)
        session = self.qvmd.spawn("console", name, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(lambda: (session.kill(), session.wait()))
        said = b""
        while b"\n> " not in said.replace(b"\r", b""):
            piece = os.read(session.stdout.fileno(), 4096)
            self.assertTrue(piece, said)
            said += piece
        session.communicate(b"crash\n", timeout=20)

    def run_program(self, *words):
        return subprocess.run([os.path.join(EXAMPLES, words[0]), *words[1:]], text=True,
                              env=self.qvmd.environment(), capture_output=True, timeout=60,
                              check=False)

    def test_rack_start_starts_all_of_a_rack_and_tells_what_failed(self):
        done = self.run_program("rack-start", "-t", "20", "rack7-")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rows = done.stdout.splitlines()
        self.assertRegex("\n".join(sorted(rows[:2])),
                         r"^rack7-a: running, pid \d+\nrack7-b: running, pid \d+$")
        self.assertEqual(rows[2:], ["2 of 2 run"])
        self.assertEqual(self.qvmd.guests()["other"]["state"], "defined")
        self.define("rack7-c", "system {name}\nram 16M\nload /none\n")
        done = self.run_program("rack-start", "-t", "20", "rack7-")
        self.assertEqual(done.returncode, 1)
        self.assertIn("rack7-c: rack7-c.qvmconf:3: ", done.stdout)
        self.assertIn("2 of 3 run", done.stdout)
        self.assertEqual(self.run_program("rack-start", "rack8-").returncode, 3)
        self.assertEqual(self.run_program("rack-start").returncode, 2)

    @unittest.skipIf(shutil.which("shellcheck") is None, "shellcheck is missing")
    def test_the_shell_program_is_clean(self):
        done = subprocess.run(["shellcheck", os.path.join(EXAMPLES, "rack-start")],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.stdout, "")

    def test_crash_watch_keeps_the_log_starts_again_and_outlives_qvmd(self):
        watch = subprocess.Popen(
            [os.path.join(EXAMPLES, "crash-watch.py"), "--logs", self.qvmd.directory,
             "--restarts", "1"], env=self.qvmd.environment(), text=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (watch.kill(), watch.wait(), watch.stdout.close()))
        self.assertIn("watching from event", watch.stdout.readline())
        self.crash("other")
        self.assertRegex(watch.stdout.readline(), "^other: failed: guest-crash: triple fault")
        self.assertIn("of its log are in", watch.stdout.readline())
        self.assertRegex(watch.stdout.readline(), r"^other: running again, pid \d+")
        log = os.path.join(self.qvmd.directory, "other-1.log")
        self.assertGreater(os.path.getsize(log), 0)
        self.qvmd.crash()
        self.qvmd.start()
        done = self.qvmd.ctl("wait", "other", "running", "--timeout", "10")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.qvmd.ctl("kill", "other")
        self.crash("other")
        self.assertIn("other: failed: guest-crash", watch.stdout.readline())
        self.assertIn("of its log are in", watch.stdout.readline())
        self.assertIn("was started again 1 times", watch.stdout.readline())

    @unittest.skipIf(shutil.which("npm") is None, "node and npm are missing")
    def test_the_nightly_report_tells_what_failed_and_what_is_left(self):
        home = os.path.join(self.qvmd.directory, "report")
        shutil.copytree(os.path.join(EXAMPLES, "nightly-report"), home)
        shutil.copytree(os.path.join(install(), "node_modules"), os.path.join(home, "node_modules"))
        with open(os.path.join(home, "package.json"), encoding="utf-8") as file:
            wanted = json.load(file)["dependencies"]["json-rpc-2.0"]
        with open(os.path.join(home, "node_modules", "json-rpc-2.0", "package.json"),
                  encoding="utf-8") as file:
            self.assertEqual(json.load(file)["version"], wanted)

        def report():
            return subprocess.run(["node", "report.mjs"], cwd=home, text=True, timeout=60,
                                  env=self.qvmd.environment(), capture_output=True, check=False)
        done = report()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("guests: 3 defined\n", done.stdout)
        self.assertIn("failed in the last 24 hours: 0\n", done.stdout)
        self.crash("other")
        done = report()
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertRegex(done.stdout, r"guests: .*1 failed")
        self.assertRegex(done.stdout, r"(?m)^memory .*: 0 MiB of \d+ MiB are given out, \d+ MiB left")
        self.assertRegex(done.stdout, r"(?m)^  20\S+Z other: guest-crash: triple fault")


if __name__ == "__main__":
    unittest.main()
