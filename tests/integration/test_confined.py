#!/usr/bin/env python3
"""What a qvm cannot do: tests/attempts/attempts.def tried from inside, in each kind of thread, with
all layers and with one layer less each time."""

import ctypes
import os
import re
import signal
import socket
import sys
import tempfile
import time
import unittest

from qvmtest import BUILD, QVM, Qvmd, QvmdTest, bare, main

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fake"))
from qvm_parent import QvmParent, definition as parent_definition  # noqa: E402

GUESTS = os.path.join(BUILD, "tests", "guests", "bare")
ATTEMPTS = os.path.join(BUILD, "tests", "attempts")
TABLE = os.path.join(HERE, "..", "attempts", "attempts.def")
THREADS = {"vcpu": "5a0", "control": "5a1", "io": "5a2"}
ALL_HARMLESS = 0xff
LANDLOCK_CREATE_RULESET = 444
SHM_KEY, SHM_SIZE, SHM_MODE, IPC_RMID = 0x71766d74, 4096, 0o1666, 0


def table():
    """[(name, with the door, without it, with namespaces alone)]."""
    with open(TABLE, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    rows = re.findall(r'ATTEMPT\((\w+),\s*"([^"]*)",\s*"([^"]*)",\s*"([^"]*)"\)', text)
    assert len(rows) == text.count("ATTEMPT("), "a row cannot be read"
    return rows


def landlock_version():
    libc = ctypes.CDLL(None, use_errno=True)
    return max(libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1), 0)


class ConfinedBase(QvmdTest):
    def setUp(self):
        if os.environ.get("QVM_HAS_DOOR") == "0":
            self.skipTest("a sanitized qvm has no door")
        self.qvmd = Qvmd(*self.settings, worker=self.worker, vdevs=os.path.join(ATTEMPTS, "vdevs"))
        self.addCleanup(self.finish)
        self.disks = tempfile.TemporaryDirectory(prefix="qvm-disks-")
        self.addCleanup(self.disks.cleanup)
        self.neighbour = self.start("neighbour")
        self.abstract = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(self.abstract.close)
        self.abstract.bind(f"\0qvm-attempt-{os.getpid()}")
        self.abstract.listen(8)
        libc = ctypes.CDLL(None)
        self.shm = libc.shmget(SHM_KEY, SHM_SIZE, SHM_MODE)
        self.addCleanup(libc.shmctl, self.shm, IPC_RMID, None)

    def attempt(self, name, *orders):
        """A guest that orders: (port, number) each."""
        folder = next(one for one in self.qvmd.directories() if one.startswith("neighbour"))
        disk = os.path.join(self.disks.name, f"{name}.img")
        with open(disk, "wb") as file:
            file.truncate(1 << 20)
        device = ("vdev attempt\n"
                  "log debug stderr\n"  # a log of its own, written behind the door
                  f"neighbour {self.neighbour['pid']}\nqvmd {self.qvmd.process.pid}\n"
                  f"config {self.qvmd.config}\napi {self.qvmd.socket}\n"
                  f"control {os.path.join(self.qvmd.home, 'guests', folder, 'control')}\n"
                  f"abstract qvm-attempt-{os.getpid()}\n"
                  f"disk {disk}\n")  # its ring is one of the descriptors
        run = ",".join(f"out_{port}_{number:x}" for port, number in orders)
        return self.start(name, run=run, more=device)

    def results(self, name):
        """{(thread, attempt): errno} of what the log of the instance tells so far."""
        with open(os.path.join(self.qvmd.home, "log", f"{name}.log"), encoding="utf-8",
                  errors="replace") as file:
            return {(thread, what): how for thread, what, how in
                    re.findall(r" attempt: (\w+) (\w+) (\w+)$", file.read(), re.M)}


class DoorTest(ConfinedBase):
    worker = QVM

    def outcome(self, thread, number, name):
        self.attempt("a", (THREADS[thread], number))
        self.eventually(lambda: (thread, name) in self.results("a") or
                        self.qvmd.guest("a")["state"] == "failed",
                        f"nothing came of {name} in the {thread} thread")
        result = self.results("a").get((thread, name))
        guest = self.qvmd.guest("a")
        if result is None:
            self.assertIn(f"signal {signal.SIGSYS.value} ", guest["message"], name)
            result = "SIGSYS"
        else:
            self.qvmd.call("guest.kill", name="a")
        return result

    def test_no_attempt_succeeds_in_any_thread(self):
        for thread in THREADS:
            for number, (name, expected, _, _) in enumerate(table()):
                with self.subTest(thread=thread, attempt=name):
                    self.assertEqual(self.outcome(thread, number, name), expected)
        self.assertEqual(self.qvmd.guest("neighbour")["pid"], self.neighbour["pid"])
        self.assert_invariants()


class StateTest(ConfinedBase):
    """What the kernel says of a qvm, whether it was a spare or not."""

    worker = QVM

    def status(self, pid):
        values = {}
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
                values[task] = dict(line.rstrip("\n").split(":\t", 1) for line in file)
        return values

    def check_rights(self, pid):
        for task, values in self.status(pid).items():
            for which in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
                self.assertEqual(int(values["Cap" + which], 16), 0, (which, values["Name"]))
            self.assertEqual(values["NoNewPrivs"], "1", task)
            self.assertEqual(values["Groups"].split(), [])

    def check_namespaces(self, pids):
        for kind in ("mnt", "pid", "net", "ipc", "uts"):
            seen = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in [*pids, os.getpid()]}
            self.assertEqual(len(seen), len(pids) + 1, kind)

    def check_mounts(self, pid):
        with open(f"/proc/{pid}/mounts", encoding="utf-8") as file:
            mounts = {line.split()[1]: line.split()[3].split(",") for line in file}
        allowed = {"/", "/vdevs", "/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib", "/usr/lib64",
                   "/usr/local/lib"}
        self.assertEqual(set(mounts) - allowed, set())
        for path, options in mounts.items():
            self.assertLessEqual({"ro", "nosuid", "nodev"}, set(options), path)

    def check_limits(self, pid):
        with open(f"/proc/{pid}/limits", encoding="utf-8") as file:
            text = file.read()
        for what, most in (("core file size", 0), ("locked memory", 0), ("processes", 640),
                           ("stack size", 1 << 20), ("data size", 2 * 640 << 20),
                           ("msgqueue size", 0), ("realtime priority", 0)):
            self.assertRegex(text, rf"Max {what} +{most} +{most} ")

    def test_each_has_its_own_of_everything_and_no_rights(self):
        if os.geteuid() != 0:
            self.skipTest("only root can give namespaces")
        spare = self.neighbour["pid"]
        os.kill(self.qvmd.process.pid, signal.SIGSTOP)  # two starts at once: one has no spare
        clients = [self.qvmd.client() for _ in range(2)]
        numbers = [client.request("guest.start", name=name, definition=bare(name))
                   for client, name in zip(clients, ("a", "b"))]
        os.kill(self.qvmd.process.pid, signal.SIGCONT)
        pids = [client.answer(number)["guest"]["pid"] for client, number in zip(clients, numbers)]
        for client in clients:
            client.close()
        for pid in [spare, *pids]:
            self.check_rights(pid)
            self.check_mounts(pid)
            self.check_limits(pid)
        self.check_namespaces([spare, *pids])


class CoreTest(ConfinedBase):
    """core-size: what a crashing qvm may leave to the kernel's handler, and never its guest's RAM."""

    worker = QVM
    settings = ("core-size 8M",)

    def test_a_core_file_is_permitted_up_to_its_size_and_has_no_ram(self):
        pid = self.neighbour["pid"]
        with open(f"/proc/{pid}/limits", encoding="utf-8") as file:
            self.assertRegex(file.read(), rf"Max core file size +{8 << 20} +{8 << 20} ")
        if os.geteuid() == 0:  # whose /proc is root's is not dumpable
            self.assertNotEqual(os.stat(f"/proc/{pid}/status").st_uid, 0)
        with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
            blocks = re.findall(r"(?m)^\w+-\w+ .* (/memfd:.*)\n(?:[A-Z]\w+:.*\n)*?VmFlags:(.*)$",
                                file.read())
        ram = [flags.split() for name, flags in blocks if "qvm-ram" in name or "ram" in name]
        self.assertTrue(ram, blocks)
        for flags in ram:
            self.assertIn("dd", flags)
        with open("/proc/sys/kernel/core_pattern", encoding="utf-8") as file:
            has_handler = file.read().startswith("|")
        self.assertEqual("there will be no core files" in self.qvmd.log(), not has_handler)

    def test_one_that_crashes_makes_no_file_by_itself(self):
        before = set(os.listdir(self.qvmd.home)), set(os.listdir("/"))
        number = [row[0] for row in table()].index("be_root")
        self.attempt("a", (THREADS["vcpu"], number))
        self.eventually(lambda: self.qvmd.guest("a")["state"] == "failed", "it lives", within=20)
        self.assertIn(f"signal {signal.SIGSYS.value} ", self.qvmd.guest("a")["message"])
        self.assertEqual((set(os.listdir(self.qvmd.home)), set(os.listdir("/"))), before)


class NoCoreTest(ConfinedBase):
    worker = QVM

    def test_without_the_option_nobody_may_read_a_qvm(self):
        if os.geteuid() != 0:
            self.skipTest("whose files are all of one user tells nothing")
        for guest in (self.neighbour, self.start("a")):
            self.assertEqual(os.stat(f"/proc/{guest['pid']}/status").st_uid, 0)
        self.assertNotIn("core files", self.qvmd.log())


class LandlockTest(unittest.TestCase):
    """Landlock alone, with neither seccomp nor namespaces nor a uid: a qvm in the host's tree, as
    the test's own user. What the kernel's version does not know yet is not asked of it."""

    FILES = ("open_a_file", "open_upwards", "open_through_proc", "open_memory_of_a_neighbour",
             "open_a_library", "open_the_root", "write_a_library", "make_a_file", "make_a_folder")
    NEWER = {4: (("connect_by_tcp", "EACCES"),),
             6: (("connect_to_an_abstract_socket", "EPERM"), ("signal_a_neighbour", "EPERM"),
                 ("signal_qvmd", "EPERM"))}

    def setUp(self):
        if os.environ.get("QVM_HAS_DOOR") == "0" or landlock_version() == 0:
            self.skipTest("there is no landlock")
        self.abstract = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(self.abstract.close)
        self.abstract.bind(f"\0qvm-attempt-{os.getpid()}")
        self.abstract.listen(8)

    def results(self, program, names):
        """What came of them in both kinds of threads."""
        numbers = {name: i for i, (name, *_) in enumerate(table())}
        orders = ",".join(f"out_{port}_{numbers[name]:x}" for name in names
                          for port in THREADS.values())
        qvm = QvmParent(os.path.join(ATTEMPTS, program), os.path.join(ATTEMPTS, "vdevs"),
                        parent_definition(
                            f"system web\nram 16M\nload {GUESTS}/guest.bzimage\n"
                            f'cmdline "run={orders}"\n' "vdev ser8250 hostdev -\nvdev attempt\n"
                            f"neighbour {os.getpid()}\nqvmd {os.getppid()}\n"
                            f"abstract qvm-attempt-{os.getpid()}\n"))
        self.addCleanup(qvm.close)
        qvm.run()
        wanted = len(names) * len(THREADS)
        end = time.monotonic() + 30
        found = {}
        while len(found) < wanted and time.monotonic() < end and qvm.is_alive():
            found = {(thread, what): how for thread, what, how in
                     re.findall(r"attempt: (\w+) (\w+) (\w+)$", qvm.log(), re.M)}
            time.sleep(0.01)
        self.assertEqual(len(found), wanted, qvm.log())
        return found

    def test_landlock_alone_keeps_a_qvm_from_files_ports_and_processes(self):
        expected = {name: "EACCES" for name in self.FILES}
        for version, rows in self.NEWER.items():
            expected.update(rows if landlock_version() >= version else ())
        for (thread, name), how in self.results("qvm_without_door", list(expected)).items():
            with self.subTest(thread=thread, attempt=name):
                self.assertEqual(how, expected[name])

    def test_without_it_they_are_possible_there(self):
        names = ["open_a_file", "open_upwards", "open_the_root", "connect_to_an_abstract_socket",
                 "signal_a_neighbour"]
        found = self.results("qvm_without_door_and_landlock", names)
        self.assertEqual(set(found.values()), {"possible"}, found)


class LayerBase(ConfinedBase):
    def check(self, column):
        if os.geteuid() != 0:
            self.skipTest("only root can give namespaces")
        for thread, port in THREADS.items():
            with self.subTest(thread=thread):
                self.attempt("a", (port, ALL_HARMLESS))
                self.eventually(lambda: (thread, "done") in self.results("a"),
                                "it never came to its end", within=30)
                self.compare(column, thread, self.results("a"))
                self.assertEqual(self.qvmd.guest("a")["state"], "running")
                self.qvmd.call("guest.kill", name="a")
        self.assertEqual(self.qvmd.guest("neighbour")["pid"], self.neighbour["pid"])
        self.assert_invariants()

    def compare(self, column, thread, results):
        tried = 0
        for row in table():
            if "-" not in row[2:]:
                tried += 1
                with self.subTest(thread=thread, attempt=row[0]):
                    self.assertIn(results.get((thread, row[0])), row[column].split("|"))
        self.assertGreater(tried, 60)


class NoDoorTest(LayerBase):
    worker = os.path.join(ATTEMPTS, "qvm_without_door")

    def test_without_seccomp_landlock_and_namespaces_hold(self):
        self.check(2 if landlock_version() > 0 else 3)


class NamespacesTest(LayerBase):
    worker = os.path.join(ATTEMPTS, "qvm_without_door_and_landlock")
    settings = ("spares 0",)  # the other tests take spares

    def test_without_seccomp_and_landlock_namespaces_and_the_uid_hold(self):
        self.check(3)


if __name__ == "__main__":
    main()
