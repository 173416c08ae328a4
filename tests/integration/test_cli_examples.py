#!/usr/bin/env python3
"""The examples of qvm-api(7) do what they show, with a real qvmd and guest."""

import os
import re
import signal
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from private_qvmd import GUESTS, QVMCTL, PrivateQvmd  # noqa: E402

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


if __name__ == "__main__":
    unittest.main()
