"""A qvm without a qvmd, in a directory of its own. QVM_BUILD names the build directory."""

import glob
import os
import select
import shutil
import subprocess
import tempfile
import unittest

BUILD = os.environ["QVM_BUILD"]
QVM = os.path.join(BUILD, "qvm-worker/qvm")
GUESTS = os.path.join(BUILD, "tests/guests/bare")

BARE = f"""system bare
ram 16M
guest load {GUESTS}/guest.bzimage
vdev ser8250
    hostdev -
"""
BANNER = b"qvm-guest: up"
PROMPT = b"> "


class AloneTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-alone-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.put("bare.qvmconf", BARE)

    def put(self, name, text):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def environment(self, **more):
        return {"QVM_VDEVS": os.path.join(BUILD, "vdevs"), **more}

    def run_qvm(self, *words, typed=b"", prefix=(), **env):
        return subprocess.run([*prefix, QVM, *words], input=typed, capture_output=True, timeout=20,
                              cwd=self.directory, env=self.environment(**env), check=False)

    def run_as_nobody(self, *words):
        """With copies of what it needs: the tree may lie where only root may go."""
        os.chmod(self.directory, 0o755)
        for path in (QVM, f"{GUESTS}/guest.bzimage", *glob.glob(f"{BUILD}/vdevs/*.so")):
            shutil.copy(path, self.directory)
        self.put("bare.qvmconf", BARE.replace(GUESTS, self.directory))
        return subprocess.run(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "./qvm", *words],
            capture_output=True, timeout=20, cwd=self.directory,
            env=self.environment(QVM_VDEVS=self.directory), check=False)

    def refused(self, words, status, sentence, **options):
        done = self.run_qvm(*words, **options)
        self.assertEqual((done.returncode, done.stdout, done.stderr.decode()),
                         (status, b"", sentence + "\n"))

    def start(self, *words, **options):
        process = subprocess.Popen([QVM, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, cwd=self.directory,
                                   env=self.environment(), **options)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def read_until(self, fd, wanted, count=1):
        data = b""
        while data.count(wanted) < count:
            ready, _, _ = select.select([fd], [], [], 10)
            self.assertTrue(ready, data)
            piece = os.read(fd, 4096)
            self.assertTrue(piece, data)
            data += piece
        return data

    def type_at(self, process, *lines):
        for line in lines:
            process.stdin.write(line + b"\r")
        process.stdin.flush()
