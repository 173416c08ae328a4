"""A qvmd of one's own: its process, its files, the qvms that it has started."""

import base64
import contextlib
import glob
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

from rpc import BUILD, TIMEOUT, Client

QVMD = os.path.join(BUILD, "daemon", "qvmd")
QVMD_CRASHING = os.path.join(BUILD, "tests", "integration", "qvmd_crashing")
QVM = os.path.join(BUILD, "qvm-worker", "qvm")
VDEVS = os.path.join(BUILD, "vdevs")
# The kernel bounds processes and threads by user: tests that run side by side share no uids.
UID_FIRST = 2000000000 + os.getpid() % 30000 * 65536


def start_ticks(pid):
    """When the process began, or None: field 22 of its stat."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def command(pid, word=0):
    """That word of the process's command, or None."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return (file.read().split("\0")[word:] or [None])[0]
    except OSError:
        return None


def is_spare(pid):
    """Whether the process is a qvm that waits for its guest."""
    return command(pid, 1) == "--spare"


class Qvmd:
    """A private instance, started at once. close() ends it, its guests, and its directory.

    A crashing one can be killed at its durable steps (daemon/crash_point.h): arm() and disarm()."""

    def __init__(self, *settings, worker=QVM, vdevs=VDEVS, crashing=False):
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
        self.vdevs = vdevs
        self.program = QVMD_CRASHING if crashing else QVMD
        self.runner = ()  # a program, with its options, that runs it
        self.crash_file = os.path.join(self.top, "crash")
        self.process = None
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("\n".join((f"uid-first {UID_FIRST}", *settings)) + "\n")
        self.start()

    def start(self):
        """Start qvmd; returns when it says that it is ready, or (armed) was killed before."""
        read_fd, write_fd = os.pipe()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.runner, self.program, "--config", self.config, "--private", self.home,
                 "--worker", self.worker, "--vdevs", self.vdevs, "--ready-fd", str(write_fd)],
                stderr=log, stdout=log, stdin=subprocess.DEVNULL, pass_fds=[write_fd],
                env={**os.environ, "QVM_CRASH_FILE": self.crash_file})
        os.close(write_fd)
        with os.fdopen(read_fd) as ready:
            if ready.readline() != "ready\n":
                self.process.wait(TIMEOUT)
                if os.path.exists(self.crash_file):
                    return
                raise RuntimeError("qvmd did not start:\n" + self.log())

    def arm(self, point):
        """Count points from now on; die at that one, a number (0: at none) or a name."""
        with open(self.crash_file + ".new", "w", encoding="utf-8") as file:
            file.write(str(point))
        os.replace(self.crash_file + ".new", self.crash_file)

    def disarm(self):
        """The points that were passed since arm(), by their names."""
        os.unlink(self.crash_file)
        try:
            with open(self.crash_file + ".passed", encoding="utf-8") as file:
                passed = file.read().splitlines()
        except FileNotFoundError:
            return []
        os.unlink(self.crash_file + ".passed")
        return passed

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
        """pids of all qvm processes of this instance, by their exit record (proto/spawn_fds.h):
        they have it open, or mapped. One that does not run its program yet has it open at its
        number; qvmd may have something of an instance there, too, and is none."""
        records = os.path.join(self.home, "guests") + "/"
        found = []
        for path in glob.glob("/proc/[0-9]*"):
            pid = int(path.split("/")[2])
            if pid == self.process.pid:
                continue
            try:
                with open(path + "/cmdline", "rb") as file:
                    is_ours = file.read(4) == b"qvm\0"
                if is_ours:
                    with open(path + "/maps", encoding="utf-8", errors="replace") as file:
                        is_ours = records in file.read()
                if not is_ours:
                    link = os.readlink(path + "/fd/5")
                    is_ours = link.startswith(records) and "/exit" in link[len(records):]
            except OSError:
                continue
            if is_ours and start_ticks(pid) is not None:
                found.append(pid)
        return sorted(found)

    def kill_workers(self):
        """All of them, until none is there any more: one that dies has no exit record, but listens,
        for a moment."""
        pids = self.workers()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 20
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):  # its threads may outlive it
            if time.monotonic() > end:
                raise RuntimeError(f"killed, and still there: {pids}")
            time.sleep(0.005)

    def all_children(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path, encoding="utf-8") as file:
            return [int(pid) for pid in file.read().split()]

    def children(self):
        """pids of qvmd's children, zombies too; without spares, which come and go."""
        return [pid for pid in self.all_children() if not is_spare(pid)]

    def settle(self):
        """What does not run its program yet may become a spare, or is a hand: wait for it, unless
        it is a hand that hangs."""
        end = time.monotonic() + 1
        while time.monotonic() < end and any(command(pid) == self.program
                                             for pid in self.all_children()):
            time.sleep(0.005)

    def spares(self):
        return [pid for pid in self.all_children() if is_spare(pid)]

    def descriptors(self):
        """How many qvmd has, without the two of each spare; of a moment in which no child came or
        went, if there is one."""
        end = time.monotonic() + 2
        while True:
            self.settle()
            children = self.all_children()
            spares = self.spares()
            count = len(os.listdir(f"/proc/{self.process.pid}/fd")) - 2 * len(spares)
            if self.all_children() == children and self.spares() == spares or \
                    time.monotonic() > end:
                return count

    def descriptor_names(self):
        """What they are, by number: to be read by who wonders which one is too many."""
        found = {}
        folder = f"/proc/{self.process.pid}/fd"
        for number in os.listdir(folder) if os.path.exists(folder) else []:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[int(number)] = os.readlink(os.path.join(folder, number))
        return dict(sorted(found.items()))

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
