"""What tests of qvmctl against a qvmd of their own making stand on."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fake"))
from fake_qvmd import FakeQvmd, guest  # noqa: E402

SOURCE = os.path.join(HERE, "..", "..")
QVMCTL = os.path.join(os.environ["QVM_BUILD"], "cli", "qvmctl")


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
