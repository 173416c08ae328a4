"""A qvmd of the build tree in a directory of its own, for tests in Python.

QVM_BUILD names the build directory."""

import json
import os
import signal
import subprocess
import tempfile

BUILD = os.environ["QVM_BUILD"]
QVMCTL = os.path.join(BUILD, "cli", "qvmctl")
QVMD = os.path.join(BUILD, "daemon", "qvmd")
QVM = os.path.join(BUILD, "qvm-worker", "qvm")
GUESTS = os.path.join(BUILD, "tests", "guests", "bare")


class PrivateQvmd:
    """Started at once; close() ends it and every guest, and removes the directory."""

    def __init__(self, *settings, parent=None):
        self.holder = tempfile.TemporaryDirectory(prefix="qvm-test-", dir=parent)
        self.directory = self.holder.name
        os.chmod(self.directory, 0o755)  # guests run under uids of their own
        self.settings = []
        if settings:
            self.put("qvmd.conf", "\n".join(settings) + "\n")
            self.settings = ["--config", os.path.join(self.directory, "qvmd.conf")]
        self.home = os.path.join(self.directory, "q")
        self.socket = os.path.join(self.home, "qvmd.sock")
        self.log_path = os.path.join(self.directory, "log")
        self.process = None
        self.prepare()
        self.start()

    def prepare(self):
        """Before the first start."""

    def start(self):
        ready, theirs = os.pipe()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [QVMD, *self.settings, "--private", self.home, "--worker", QVM,
                 "--vdevs", os.path.join(BUILD, "vdevs"), "--ready-fd", str(theirs)],
                stderr=log, stdout=log, pass_fds=[theirs])
        os.close(theirs)
        with open(ready, "rb") as pipe:
            if not pipe.read():  # the end of the pipe without a line: it has ended
                self.process.wait()
                raise RuntimeError("qvmd did not start:\n" + self.log())

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def environment(self, **more):
        return {"PATH": os.environ["PATH"], "QVM_SOCKET": self.socket, "QVM_GUEST_DIR": GUESTS,
                "QVM_QVM": QVM, "QVM_VDEVS": os.path.join(BUILD, "vdevs"), **more}

    def ctl(self, *words, **options):
        return subprocess.run([QVMCTL, *words], capture_output=True, text=True, timeout=60,
                              env=self.environment(), cwd=self.directory, check=False, **options)

    def spawn(self, *words, **options):
        return subprocess.Popen([QVMCTL, *words], env=self.environment(), cwd=self.directory,
                                **options)

    def guests(self):
        return {one["name"]: one
                for one in json.loads(self.ctl("list", "-o", "json").stdout).get("guests", [])}

    def put(self, name, text):
        with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
            file.write(text)

    def crash(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        try:
            if self.process.poll() is not None:
                self.start()
            live = [name for name, one in self.guests().items() if one.get("pid")]
            if live:
                self.ctl("kill", *live)
        finally:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.holder.cleanup()
