#!/usr/bin/python3
"""A control group for each instance, below a holder that the configuration names. Without
controllers (a hybrid hierarchy) limits cannot be tried; the lab runs this file, too, and has them."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys

import qvmtest
from qvmtest import QvmdTest, start_ticks

MIB = 1 << 20


def find_root():
    """Where cgroup version 2 is mounted, or None."""
    with open("/proc/mounts", encoding="utf-8") as file:
        for line in file:
            _, path, kind, *_ = line.split()
            if kind == "cgroup2":
                return path
    return None


ROOT = find_root()
HOLDER = f"{ROOT}/qvm-test-{os.getpid()}"


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read().strip()


def has_controllers():
    return "memory" in read(ROOT, "cgroup.subtree_control").split()


class CgroupBase(QvmdTest):

    def finish(self):
        super().finish()
        self.eventually(self.remove_all, "a group of a dead instance cannot be removed")

    def remove_all(self):
        try:
            for group in [entry.path for entry in os.scandir(HOLDER) if entry.is_dir()]:
                os.rmdir(group)
            os.rmdir(HOLDER)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    def groups(self):
        return sorted(entry.name for entry in os.scandir(HOLDER)
                      if entry.is_dir() and entry.name != "hold")

    def name(self, pid):
        """Of the group that a process is in."""
        lines = read(f"/proc/{pid}/cgroup").splitlines()
        path = next(line for line in lines if line.startswith("0::"))
        self.assertEqual(path.split("/")[-2], os.path.basename(HOLDER))
        return path.split("/")[-1]

    def group(self, guest):
        return os.path.join(HOLDER, self.name(guest["pid"]))

    def pids(self, guest):
        return [int(pid) for pid in read(self.group(guest), "cgroup.procs").split()]

    def run_in(self, group, *command):
        """A process that belongs to the instance, as a helper would."""
        path = os.path.join(group, "cgroup.procs")

        def enter():
            with open(path, "w", encoding="utf-8") as file:
                file.write("0")

        process = subprocess.Popen(command, preexec_fn=enter)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process


class CgroupTest(CgroupBase):
    settings = (f"cgroup {HOLDER}", "spares 0")

    def test_each_instance_has_a_group_that_goes_with_it(self):
        one, two = self.start("one"), self.start("two")
        second = self.name(two["pid"])
        self.assertEqual(self.groups(), sorted([self.name(one["pid"]), second]))
        self.assertIn(one["pid"], self.pids(one))  # older kernels have a thread of KVM's beside it
        self.assertIn(two["pid"], self.pids(two))
        self.qvmd.call("guest.stop", name="one")
        self.eventually(lambda: self.groups() == [second], "the group stays")
        os.kill(two["pid"], 9)
        self.qvmd.wait("two", "failed")
        self.eventually(lambda: self.groups() == [], "the group stays")
        one = self.start("one")
        self.assertEqual(one["instance"], 3)
        self.assertEqual(self.groups(), [self.name(one["pid"])])

    def test_a_start_that_is_refused_leaves_no_group(self):
        self.refused("no-such-file", "guest.start", name="bad",
                     definition=qvmtest.bare("bad", image="/nowhere/image"))
        self.eventually(lambda: self.groups() == [], "the group stays")

    def test_a_group_outlives_qvmd_and_goes_with_its_instance(self):
        guest = self.start("one")
        group = self.name(guest["pid"])
        os.mkdir(os.path.join(HOLDER, "gone.7"))
        os.mkdir(os.path.join(HOLDER, "not-ours"))
        stranger = os.path.join(HOLDER, "stranger.9")
        os.mkdir(stranger)
        process = self.run_in(stranger, "sleep", "1000")
        self.qvmd.restart()
        self.qvmd.wait("one", "running")
        self.assertEqual(self.groups(), ["not-ours", group, "stranger.9"])
        self.assertIsNone(process.poll(), "a process that qvmd does not know was killed")
        self.assertIn(guest["pid"], self.pids(guest))
        self.qvmd.call("guest.kill", name="one")
        self.eventually(lambda: group not in self.groups(), "the group stays")
        process.kill()
        process.wait()

    def test_kill_reaches_whoever_belongs_to_the_instance(self):
        guest = self.start("one")
        process = self.run_in(self.group(guest), "sleep", "1000")
        self.qvmd.call("guest.kill", name="one")
        self.assertEqual(process.wait(qvmtest.TIMEOUT), -9)
        self.assertIsNone(start_ticks(guest["pid"]))
        self.qvmd.crash()  # it could not remove the group while the process was in it
        self.qvmd.start()
        self.eventually(lambda: self.groups() == [], "the group stays")

    def test_nothing_of_an_instance_outlives_it(self):
        guest = self.start("one")
        process = self.run_in(self.group(guest), "sleep", "1000")
        self.qvmd.call("guest.stop", name="one")
        self.assertEqual(process.wait(qvmtest.TIMEOUT), -9)

    def test_who_is_left_in_a_group_keeps_its_uid_and_no_guest_waits_for_that(self):
        """As the spare of a qvmd that was killed, on a busy machine."""
        name, uid = self.name(self.start("one")["pid"]).split(".")
        left = os.path.join(HOLDER, f"{name}.{int(uid) + 1}")  # the next instance's
        os.mkdir(left)
        process = self.run_in(left, "sleep", "1000")
        self.eventually(lambda: read(left, "cgroup.procs") != "", "nobody is in the group")
        second = self.name(self.start("two")["pid"])
        self.assertNotEqual(second, os.path.basename(left))
        self.assertIsNone(process.poll())
        process.kill()
        process.wait()
        self.qvmd.restart()
        self.eventually(lambda: self.groups() == [f"{name}.{uid}", second], "the group stays")

    def test_info_says_what_is_not_enforced(self):
        said = " ".join(self.qvmd.call("host.info")["not_enforced"])
        self.assertEqual("memory limit" in said, not has_controllers(), said)
        self.assertEqual(f"the control group '{HOLDER}' has no controller 'memory'" in said,
                         not has_controllers(), said)

    def test_the_limits_are_those_of_the_grant(self):
        if not has_controllers():
            self.skipTest("this host's cgroup version 2 has no memory controller")
        guest = self.start("one", ram="64M", more="cpu\ncpu\n")
        self.assertEqual(int(read(self.group(guest), "memory.max")), (64 + 1 + 32 + 2) * MIB)
        self.assertEqual(read(self.group(guest), "memory.oom.group"), "1")
        self.assertEqual(int(read(self.group(guest), "pids.max")), 64 + 2)
        self.assertEqual(int(read(self.group(guest), "cpu.weight")), 200)

    def test_a_guest_that_uses_all_its_ram_stays_below_its_limit(self):
        if not has_controllers():
            self.skipTest("this host's cgroup version 2 has no memory controller")
        guest = self.start("one", run="mem", ram="64M")
        self.assert_console("one", "KiB checked, 0 errors", within=60)
        peak, most = (int(read(self.group(guest), f"memory.{what}")) for what in ("peak", "max"))
        print(f"64 MiB of RAM, all used: {peak / MIB:.1f} of {most / MIB:.1f} MiB")
        self.assertGreater(peak, 60 * MIB)
        self.assertLess(peak, most)
        self.assertIn("max 0", read(self.group(guest), "memory.events").splitlines())

    def test_who_needs_more_than_the_limit_ends_for_want_of_memory(self):
        if not has_controllers():
            self.skipTest("this host's cgroup version 2 has no memory controller")
        guest = self.start("one")
        program = "m = bytearray(100 << 20); print(len(m)); input()"
        eater = self.run_in(self.group(guest), "python3", "-c", program)
        ended = self.qvmd.wait("one", "failed")
        self.assertEqual(ended["reason"], "oom", ended)
        self.assertIn("memory limit", ended["message"])
        self.assertEqual(eater.wait(qvmtest.TIMEOUT), -9)
        self.assertIsNone(start_ticks(guest["pid"]))


class HugePageTest(CgroupBase):
    """This host's own huge pages: some more for as long as the test takes."""

    pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
    pages = 8
    settings = (f"cgroup {HOLDER}", "spares 0", f"partition huge page-size 2M memory {2 * pages}M "
                f"shared {min(os.sched_getaffinity(0))}")

    def setUp(self):
        if "hugetlb" not in read(ROOT, "cgroup.controllers").split():
            self.skipTest("this host's cgroup version 2 has no controller hugetlb")
        if "hugetlb" not in read(ROOT, "cgroup.subtree_control").split():
            self.divide("+")
            self.addCleanup(self.divide, "-")  # if nobody else uses it by then
        if "hugetlb" not in read(ROOT, "cgroup.subtree_control").split():
            self.skipTest("this host's cgroup version 2 does not give the controller hugetlb")
        before = int(read(self.pool))
        self.addCleanup(self.write_pool, before)
        self.write_pool(before + self.pages)
        if int(read(self.pool)) != before + self.pages:
            self.skipTest("this host has no memory for huge pages")
        super().setUp()

    @staticmethod
    def divide(sign):
        with contextlib.suppress(OSError):
            with open(os.path.join(ROOT, "cgroup.subtree_control"), "w", encoding="utf-8") as file:
                file.write(sign + "hugetlb")

    def write_pool(self, count):
        with open(self.pool, "w", encoding="utf-8") as file:
            file.write(str(count))

    def test_huge_pages_are_limited_and_not_counted_twice(self):
        guest = self.start("one", more="cpu partition huge\n")
        for name in ("max", "rsvd.max", "current", "rsvd.current"):
            self.assertEqual(int(read(self.group(guest), f"hugetlb.2MB.{name}")), 16 * MIB, name)
        said = " ".join(self.qvmd.call("host.info")["not_enforced"])
        self.assertNotIn("huge pages", said)
        self.assert_console("one", "> ")

    def test_who_asked_for_no_huge_pages_gets_none_of_any_size(self):
        one = self.group(self.start("one"))
        sizes = [name for name in os.listdir(one) if re.fullmatch(r"hugetlb\..*\.max", name)]
        self.assertIn("hugetlb.2MB.rsvd.max", sizes)
        self.assertEqual({name: read(one, name) for name in sizes}, {name: "0" for name in sizes})
        other = self.group(self.start("other", more="cpu partition huge\n"))
        sizes = [name for name in sizes if ".2MB." not in name]
        self.assertEqual({name: read(other, name) for name in sizes}, {name: "0" for name in sizes})


class SpareTest(CgroupBase):
    """A spare is born in the group that its guest will have."""

    settings = (f"cgroup {HOLDER}",)

    def spare(self):
        """The pid of one that waits: the first that ever does may not be taken before."""
        self.eventually(lambda: any(map(self.waits, self.qvmd.spares())), "no spare waits")
        return self.qvmd.spares()[0]

    @staticmethod
    def waits(pid):
        try:
            return read(f"/proc/{pid}/syscall").startswith("47 ")  # recvmsg
        except OSError:
            return False

    def test_a_guest_gets_the_group_of_its_spare(self):
        spare = self.spare()
        group = self.name(spare)
        guest = self.start("one")
        self.assertEqual(guest["pid"], spare)
        self.assertEqual(self.name(guest["pid"]), group)
        if has_controllers():
            self.assertEqual(int(read(self.group(guest), "pids.max")), 64 + 1)
        other = self.name(self.spare())
        self.assertEqual(self.groups(), sorted([group, other]))
        self.qvmd.crash()
        self.qvmd.start()
        self.qvmd.wait("one", "running")
        self.qvmd.call("guest.kill", name="one")
        self.eventually(lambda: group not in self.groups(), "the group stays")
        self.assert_invariants()

    def test_the_group_of_a_spare_goes_with_it(self):
        spare = self.spare()
        group = self.name(spare)
        os.kill(spare, signal.SIGKILL)
        self.eventually(lambda: self.qvmd.spares() not in ([], [spare]), "it is not replaced")
        self.eventually(lambda: group not in self.groups() or group == self.name(self.spare()),
                        "the group stays")

    def test_a_drained_host_has_no_spare(self):
        """The holder may be stopped then, which waits for all that live in it."""
        self.spare()
        self.qvmd.call("host.drain")
        self.eventually(lambda: self.groups() == [], "the spare's group stays")
        self.qvmd.call("host.drain", end=True)
        self.spare()


class CrowdedTest(QvmdTest):
    """The group that the configuration names is full of processes."""

    settings = (f"cgroup {HOLDER}", "spares 0")
    crowd = 900  # more than fit into 4096 bytes

    def setUp(self):
        if not has_controllers():
            self.skipTest("this host's cgroup version 2 has no memory controller")
        os.mkdir(HOLDER)
        self.addCleanup(self.disperse)
        self.parent = os.fork()
        if self.parent == 0:
            with open(os.path.join(HOLDER, "cgroup.procs"), "w", encoding="utf-8") as file:
                file.write("0")
            while self.crowd > 1 and os.fork() > 0:
                self.crowd -= 1
            while True:
                signal.pause()
        self.eventually(lambda: len(read(HOLDER, "cgroup.procs").split()) == self.crowd,
                        "there is no crowd", within=60)
        super().setUp()

    def disperse(self):
        for group in ("hold", ""):
            with open(os.path.join(HOLDER, group, "cgroup.kill"), "w", encoding="utf-8") as file:
                file.write("1")
        os.waitpid(self.parent, 0)
        self.eventually(lambda: read(HOLDER, "cgroup.events").startswith("populated 0"),
                        "they live", within=60)
        for path in (os.path.join(HOLDER, "hold"), HOLDER):
            os.rmdir(path)

    def test_all_of_them_are_moved_out_of_the_way(self):
        self.assertEqual(read(HOLDER, "cgroup.procs"), "")
        self.assertEqual(len(read(HOLDER, "hold", "cgroup.procs").split()), self.crowd)
        self.assertEqual(self.qvmd.call("host.info")["not_enforced"], [])


class NoGroupTest(QvmdTest):
    def test_a_private_qvmd_leaves_the_systems_groups_alone(self):
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            ours = file.read()
        guest = self.start("one")
        self.assertEqual(read(f"/proc/{guest['pid']}", "cgroup"), ours.strip())
        said = self.qvmd.call("host.info")["not_enforced"]
        self.assertIn("the memory limit of each instance: no control groups, the option 'cgroup' "
                      "is 'none'", said)


if __name__ == "__main__":
    if ROOT is None or os.geteuid() != 0:
        print("SKIPPED: no cgroup version 2 is mounted, or not root; nothing of this was tried")
        sys.exit(qvmtest.SKIPPED)
    qvmtest.main()
