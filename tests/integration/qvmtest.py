"""A private qvmd, clients that speak raw JSON-RPC to it, and the invariants that hold after every
fault. QVM_BUILD names the build directory.

    class MyTest(QvmdTest):
        def test_something(self):
            self.qvmd.call("guest.start", name="a", definition=bare("a"))
"""

import base64
import glob
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ["QVM_BUILD"]
QVMD = os.path.join(BUILD, "daemon", "qvmd")
QVMD_CRASHING = os.path.join(BUILD, "tests", "integration", "qvmd_crashing")
QVM = os.path.join(BUILD, "qvm-worker", "qvm")
VDEVS = os.path.join(BUILD, "vdevs")
GUESTS = os.path.join(BUILD, "tests", "guests", "bare")
IMAGE = os.path.join(GUESTS, "guest.bzimage")

LIVE = ("starting", "running", "paused", "stopping", "unreachable", "stuck")
TIMEOUT = 60
SKIPPED = 77


def definition(text, name="t.qvmconf", directory="/"):
    return {"words": ["@0"], "sources": [{"name": name, "directory": directory, "text": text}]}


def bare(name, run="", ram="16M", more="", image=IMAGE):
    """The bare-metal guest; `run` are commands that it obeys when it is up."""
    cmdline = f'cmdline "run={run}"\n' if run else ""
    return definition(f"system {name}\nram {ram}\n{cmdline}load {image}\nvdev ser8250\n{more}",
                      name=f"{name}.qvmconf")


class Refused(Exception):
    """An error that qvmd answered."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.name = error["data"]["name"]
        self.code = error["code"]
        self.message = error["message"]


class Client:
    """One connection. Notifications that come in between are kept in `events`."""

    def __init__(self, path, timeout=TIMEOUT):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.buffer = b""
        self.fds = []
        self.events = []
        self.last_id = 0

    def close(self):
        self.socket.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, method, /, **params):
        self.last_id += 1
        self.send(json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method,
                              "params": params}).encode() + b"\n")
        return self.last_id

    def line(self):
        """The next line as JSON; None at the end of the connection."""
        while b"\n" not in self.buffer:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, 8)
            except ConnectionResetError:
                return None
            self.fds += fds
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def answer(self, number):
        while True:
            line = self.line()
            if line is None:
                raise EOFError("qvmd hung up")
            if line.get("method") == "event":
                self.events.append(line["params"])
            elif line.get("id") == number:
                if "error" in line:
                    raise Refused(line["error"])
                return line["result"]

    def call(self, method, /, **params):
        return self.answer(self.request(method, **params))

    def event(self, **members):
        """The next event that has these members."""
        while True:
            for event in self.events:
                if all(event.get(key) == value for key, value in members.items()):
                    self.events.remove(event)
                    return event
            line = self.line()
            if line is None:
                raise EOFError("qvmd hung up")
            self.events.append(line["params"])


def start_ticks(pid):
    """When the process began, or None: field 22 of its stat."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Qvmd:
    """A private instance, started at once. close() ends it, its guests, and its directory."""

    def __init__(self, *settings, worker=QVM):
        self.holder = tempfile.TemporaryDirectory(prefix="qvm-test-")
        self.top = self.holder.name
        os.chmod(self.top, 0o755)
        self.home = os.path.join(self.top, "q")
        os.mkdir(self.home, 0o755)
        self.config = os.path.join(self.top, "qvmd.conf")
        self.log_path = os.path.join(self.top, "qvmd.log")
        self.socket = os.path.join(self.home, "qvmd.sock")
        self.store = os.path.join(self.home, "state", "qvm.db")
        self.worker = worker
        self.process = None
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("\n".join(settings) + "\n")
        self.start()

    def start(self, crash_at=None):
        """Start qvmd; returns when it says that it is ready. With `crash_at` it is killed at its
        n-th durable step, which may be before that."""
        program = QVMD if crash_at is None else QVMD_CRASHING
        crash = {} if crash_at is None else {"QVM_CRASH_AT": str(crash_at)}
        read_fd, write_fd = os.pipe()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [program, "--config", self.config, "--private", self.home, "--worker", self.worker,
                 "--vdevs", VDEVS, "--ready-fd", str(write_fd)],
                stderr=log, stdout=log, stdin=subprocess.DEVNULL, pass_fds=[write_fd],
                env={**os.environ, **crash})
        os.close(write_fd)
        with os.fdopen(read_fd) as ready:
            if ready.readline() != "ready\n" and crash_at is None:
                self.process.wait(TIMEOUT)
                raise RuntimeError("qvmd did not start:\n" + self.log())

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def crash(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(TIMEOUT)

    def stop(self):
        self.process.terminate()
        return self.process.wait(TIMEOUT)

    def restart(self):
        self.crash()
        self.start()

    def client(self, timeout=TIMEOUT):
        return Client(self.socket, timeout)

    def call(self, method, /, **params):
        with self.client() as client:
            return client.call(method, **params)

    def guest(self, name):
        return self.call("guest.list", names=[name])["guests"][0]

    def guests(self):
        return {one["name"]: one for one in self.call("guest.list")["guests"]}

    def wait(self, name, state, timeout_ms=20000):
        return self.call("guest.wait", name=name, state=state, timeout_ms=timeout_ms)["guest"]

    def events(self, **params):
        return self.call("events.list", **params)["events"]

    def console(self, name):
        data = self.call("console.read", name=name)["data"]
        return base64.b64decode(data).decode("utf-8", "replace")

    def type(self, name, text):
        self.call("console.write", name=name, data=base64.b64encode(text.encode()).decode())

    def rows(self, sql, *values):
        """What stands in the database: qvmd keeps it locked, so a copy is read."""
        with tempfile.TemporaryDirectory(prefix="qvm-copy-") as copy:
            for end in ("", "-wal"):
                if os.path.exists(self.store + end):
                    shutil.copyfile(self.store + end, os.path.join(copy, "qvm.db" + end))
            database = sqlite3.connect(os.path.join(copy, "qvm.db"))
            try:
                return database.execute(sql, values).fetchall()
            finally:
                database.close()

    def forge(self, sql, *values):
        """Change the database; qvmd must not run."""
        database = sqlite3.connect(self.store, timeout=1)
        with database:
            database.execute(sql, values)
        database.close()

    def workers(self):
        """pids of all qvm processes of this instance, by the log that they write to."""
        found = []
        logs = os.path.join(self.home, "log") + "/"
        for path in glob.glob("/proc/[0-9]*/fd/1"):
            try:
                target = os.readlink(path)
            except OSError:
                continue
            pid = int(path.split("/")[2])
            if target.startswith(logs) and start_ticks(pid) is not None:
                found.append(pid)
        return sorted(found)

    def children(self):
        """pids of qvmd's children, zombies too."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path, encoding="utf-8") as file:
            return [int(pid) for pid in file.read().split()]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def directories(self):
        return sorted(os.listdir(os.path.join(self.home, "guests")))

    def end(self):
        """However it is: afterwards it does not run."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self):
        try:
            self.end()
        finally:
            for pid in self.workers():
                os.kill(pid, signal.SIGKILL)
            end = time.monotonic() + 10
            while self.workers() and time.monotonic() < end:
                time.sleep(0.01)
            self.holder.cleanup()


class QvmdTest(unittest.TestCase):
    """A test with a qvmd of its own; the invariants are asserted at its end."""

    settings = ()
    worker = QVM

    def setUp(self):
        self.qvmd = Qvmd(*self.settings, worker=self.worker)
        self.addCleanup(self.finish)

    def finish(self):
        if not self._outcome.success:
            sys.stderr.write(self.qvmd.log())
        self.qvmd.end()
        log = self.qvmd.log()
        self.qvmd.close()
        for words in ("Sanitizer", "runtime error"):  # in builds that look for such things
            self.assertNotIn(words, log, log)

    def start(self, name, *words, **more):
        """Start the bare guest under that name."""
        return self.qvmd.call("guest.start", name=name,
                              definition=bare(name, *words, **more))["guest"]

    def start_deaf(self, name, how="hang"):
        """A guest that hears no power button any more."""
        guest = self.start(name, run=f"echo_deaf,{how}")
        self.assert_console(name, "deaf")
        time.sleep(0.02)
        return guest

    def refused(self, error, method, /, **params):
        """The call is refused under this stable name; returns the sentence."""
        with self.assertRaises(Refused) as caught:
            self.qvmd.call(method, **params)
        self.assertEqual(caught.exception.name, error, caught.exception.message)
        return caught.exception.message

    def eventually(self, check, what, within=5):
        """`check` becomes true, and soon."""
        end = time.monotonic() + within
        while not check():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.005)

    def assert_console(self, name, text, within=20):
        self.eventually(lambda: text in self.qvmd.console(name),
                        f"{name} never said {text!r}", within)

    # ---- the invariants of docs/design.md, by their numbers ----

    def assert_one_holder(self):  # I1
        twice = self.qvmd.rows(
            "SELECT a.kind, a.resource FROM claim a JOIN claim b ON a.kind = b.kind"
            " AND a.resource = b.resource AND a.instance < b.instance"
            " WHERE (a.is_exclusive OR b.is_exclusive)")
        self.assertEqual(twice, [], "I1: a resource has two holders")

    def assert_workers_are_known(self):  # I2, I3
        def rows():
            return {pid: ticks for pid, ticks in self.qvmd.rows(
                "SELECT pid, start_ticks FROM instance WHERE state IN ('starting', 'running',"
                " 'paused', 'stopping', 'unreachable', 'stuck')")}

        end = time.monotonic() + 1
        while True:
            workers = {pid: start_ticks(pid) for pid in self.qvmd.workers()}
            known = rows()
            if known == workers:
                return
            if time.monotonic() > end:
                break
            time.sleep(0.01)
        self.assertEqual(known, workers, "I2, I3: rows and processes differ: " +
                         self.tell_of(workers))

    def tell_of(self, pids):
        """Rows, and what the kernel says of processes, for somebody who looks for the reason."""
        told = [str(self.qvmd.rows("SELECT id, guest, pid, start_ticks, state, reason, message"
                                   " FROM instance ORDER BY id DESC LIMIT 3"))]
        for pid in pids:
            for name in ("cmdline", "wchan", "status"):
                try:
                    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
                        told.append(file.read().replace("\0", " ")[:400])
                except OSError as error:
                    told.append(str(error))
        return "\n".join(told)

    def assert_dead_hold_nothing(self, within=5):  # I4
        self.eventually(lambda: self.qvmd.rows(
            "SELECT claim.resource FROM claim JOIN instance ON instance.id = claim.instance"
            " WHERE instance.state IN ('stopped', 'failed')") == [],
            "I4: a dead instance holds something", within)

    def assert_no_gap(self):  # I7
        numbers = [event["seq"] for event in self.qvmd.events()]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)), "I7: events have a gap")

    def assert_invariants(self):
        self.assert_one_holder()
        self.assert_workers_are_known()
        self.assert_dead_hold_nothing()
        self.assert_no_gap()
        self.eventually(lambda: len(self.qvmd.directories()) == len(self.qvmd.workers()),
                        "I8: directories are left behind")

    def measure(self):
        """What must return to its start value (I8)."""
        self.qvmd.call("guest.list")
        time.sleep(0.05)  # for connections that are just being closed
        return {"descriptors": self.qvmd.descriptors(), "children": len(self.qvmd.children()),
                "directories": self.qvmd.directories(), "workers": self.qvmd.workers()}

    def assert_returns_to(self, before, within=5):
        end = time.monotonic() + within
        while (now := self.measure()) != before and time.monotonic() < end:
            pass
        self.assertEqual(now, before, "I8: something is left")


def main():
    """For test files: skip loudly where the machine cannot do it."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("SKIPPED: /dev/kvm is missing or not writable; nothing of this file was tried")
        sys.exit(SKIPPED)
    unittest.main()
