#!/usr/bin/env python3
"""doctor: each thing that it can find is made to happen, found, and gone again when it is mended."""

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import unittest

import qvmtest
from fuse import SilentFileSystem, StallingFileSystem
from qvmtest import BUILD, QVM, QvmdTest, main, start_ticks

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")
SHMEM = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
PID_MAX = "/proc/sys/kernel/pid_max"


class DoctorBase(QvmdTest):
    def findings(self):
        """{(what, where): finding}"""
        found = self.qvmd.call("host.doctor")["findings"]
        return {(one["what"], one["where"]): one for one in found}

    def assert_found(self, what, where, severity, words):
        finding = self.findings().get((what, where))
        self.assertIsNotNone(finding, f"{what} of {where} is not found: {self.findings()}")
        self.assertEqual(finding["severity"], severity)
        self.assertIn(words, finding["message"])
        self.assertTrue(finding["advice"])

    def assert_well(self, within=5):
        def is_well():
            return all(one["severity"] == "hint" for one in self.findings().values())
        self.eventually(is_well, "it is not well again", within)

    def in_own_mounts(self, script):
        """qvmd runs behind a shell script, in a mount namespace of its own."""
        path = os.path.join(self.qvmd.top, "behind")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nset -e\n{script}\nexec {qvmtest.QVMD} \"$@\"\n")
        os.chmod(path, 0o755)
        self.qvmd.program = path
        self.qvmd.restart()

    def with_file(self, path, text):
        own = os.path.join(self.qvmd.top, os.path.basename(path))
        with open(own, "w", encoding="utf-8") as file:
            file.write(text)
        self.in_own_mounts(f"exec unshare -m sh -c 'mount --bind {own} {path} &&"
                           f" exec {qvmtest.QVMD} \"$@\"' sh \"$@\"")

    def ctl(self, *words):
        return subprocess.run([QVMCTL, "--socket", self.qvmd.socket, "doctor", *words], text=True,
                              capture_output=True, timeout=30, check=False)


class DoctorTest(DoctorBase):
    def test_nothing_is_wrong_with_guests_that_run_or_have_ended(self):
        self.start("a")
        self.start("b")
        self.qvmd.call("guest.kill", name="b")
        self.assert_well()
        done = self.ctl()
        self.assertEqual((done.returncode, done.stderr), (0, "qvmctl: nothing is wrong\n"))

    def test_qvmctl_tells_it_and_its_status_is_1(self):
        guest = self.start("a")
        os.kill(guest["pid"], signal.SIGSTOP)
        self.eventually(lambda: ("guest-stopped", "a") in self.findings(), "not seen")
        done = self.ctl()
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"problem: guest-stopped: a: all threads of its process {guest['pid']} are "
                      "stopped by a signal\n    find out", done.stdout)
        lines = [json.loads(line) for line in self.ctl("-o", "jsonl").stdout.splitlines()]
        self.assertIn("guest-stopped", {line["what"] for line in lines})
        self.assertEqual(json.loads(self.ctl("-o", "json").stdout)["problems"], 1)
        os.kill(guest["pid"], signal.SIGCONT)
        self.assert_well()

    def test_a_guest_that_does_not_answer_a_new_qvmd(self):
        guest = self.start("a")
        os.kill(guest["pid"], signal.SIGSTOP)
        self.qvmd.crash()
        self.qvmd.start()
        self.qvmd.wait("a", "unreachable")
        self.assert_found("guest-stopped", "a", "problem", "stopped by a signal")
        os.kill(guest["pid"], signal.SIGCONT)
        self.qvmd.wait("a", "running")
        self.assert_well()

    def test_a_guest_whose_qvm_cannot_be_reached(self):
        guest = self.start("a")
        socket = os.path.join(self.qvmd.home, "guests", f"a.{guest['instance']}", "control")
        self.qvmd.crash()
        os.rename(socket, socket + ".away")
        self.qvmd.start()
        self.qvmd.wait("a", "unreachable")
        self.assert_found("guest-unreachable", "a", "problem",
                          f"process {guest['pid']} lives and does not answer")
        os.rename(socket + ".away", socket)
        self.qvmd.restart()
        self.qvmd.wait("a", "running")
        self.assert_well()

    def test_a_qvm_of_another_version_still_runs(self):
        own = os.path.join(self.qvmd.top, "qvm")
        shutil.copy(QVM, own)
        self.qvmd.end()
        self.qvmd.worker = own
        self.qvmd.start()
        self.start("a")
        self.assertNotIn(("old-qvm", "a"), self.findings())
        shutil.copy(QVM, own + ".new")
        os.rename(own + ".new", own)
        self.assert_found("old-qvm", "a", "hint", "another qvm")

    def test_a_process_that_is_gone_before_qvmd_has_seen_it(self):
        for _ in range(20):  # the kernel need not tell qvmd of what happened first at first
            guest = self.start("a")
            self.qvmd.restart()  # it is nobody's child, whose end would wait for qvmd
            self.eventually(self.is_found("a"), "not adopted")
            with self.qvmd.client() as client:
                client.call("guest.list")
                self.qvmd.process.send_signal(signal.SIGSTOP)
                number = client.request("host.doctor")
                os.kill(guest["pid"], signal.SIGKILL)
                self.eventually(lambda: not os.path.exists(f"/proc/{guest['pid']}"), "it lives", 20)
                self.qvmd.process.send_signal(signal.SIGCONT)
                found = {one["what"]: one for one in client.answer(number)["findings"]}
            self.qvmd.wait("a", "failed")
            self.assert_well()
            if finding := found.get("guest-without-process"):
                break
        self.assertEqual((finding["severity"], finding["where"]), ("problem", "a"))
        self.assertIn(f"it is running, and its process {guest['pid']} is gone", finding["message"])

    def test_a_process_that_the_store_does_not_know(self):
        guest = self.start("a")
        self.qvmd.crash()
        for end in ("", "-wal", "-shm"):
            if os.path.exists(self.qvmd.store + end):
                os.unlink(self.qvmd.store + end)
        os.unlink(os.path.join(self.qvmd.home, "guests", "a.1", "identity"))
        self.qvmd.start()
        self.assert_found("process-unknown", "a", "problem", f"process {guest['pid']} is a qvm")
        os.kill(guest["pid"], signal.SIGKILL)
        self.eventually(lambda: start_ticks(guest["pid"]) is None, "it lives")
        self.qvmd.restart()  # which puts away what is left of it
        self.assert_well()

    def test_a_directory_that_is_left_behind(self):
        self.start("a")
        left = os.path.join(self.qvmd.home, "guests", "b.77")
        os.mkdir(left, 0o700)
        self.assert_found("directory-left", "b.77", "warning", "is left")
        self.assertTrue(os.path.isdir(left), "doctor changes nothing")
        os.rmdir(left)
        self.assert_well()

    def test_claims_of_a_dead_instance(self):
        image = os.path.join(self.qvmd.top, "disk.img")
        with open(image, "wb") as file:
            file.truncate(1 << 20)
        guest = self.start("a", more="vdev ser8250\nloc io:0x2f8,8\n"
                           f"intr ioapic:3\nhostdev >{image}\n")
        with open(image, "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH, 4, 100)  # as a reader of QEMU's kind
            killed = self.qvmd.call("guest.kill", name="a")
            self.assertEqual(killed["note"], "not all that it held is free yet")
            self.eventually(lambda: ("claims-of-the-dead", "a") in self.findings(), "not seen")
            self.assert_found("claims-of-the-dead", "a", "warning",
                              f"instance {guest['instance']} has ended")
        self.assert_dead_hold_nothing(within=90)
        self.assert_well()

    def test_a_store_that_cannot_be_written(self):
        self.qvmd.call("guest.define", name="a", definition=qvmtest.bare("a"))
        self.qvmd.stop()
        somebody = sqlite3.connect(self.qvmd.store, isolation_level=None)
        self.addCleanup(somebody.close)
        somebody.execute("BEGIN EXCLUSIVE")
        self.qvmd.start()
        self.assert_found("store", self.qvmd.store, "problem", "database is locked")
        somebody.execute("ROLLBACK")
        somebody.close()
        self.qvmd.call("guest.start", name="a")  # which tries to write
        self.assert_well()

    def test_a_clock_that_went_back(self):
        self.qvmd.stop()
        self.qvmd.forge("UPDATE event SET time = '2099-01-01T00:00:00.000Z'")
        # what a start writes is newer than what was forged, so that a read-only look is needed
        self.qvmd.forge("CREATE TRIGGER late AFTER INSERT ON event BEGIN UPDATE event SET"
                        " time = '2099-01-01T00:00:00.000Z' WHERE seq = new.seq; END")
        self.qvmd.start()
        self.assert_found("clock", "clock", "warning", "the clock went back")

    def test_a_guest_of_the_host_that_failed(self):
        self.start("a", run="crash")
        self.qvmd.wait("a", "failed")
        self.assertNotIn(("enabled-failed", "a"), self.findings())
        subprocess.run([QVMCTL, "--socket", self.qvmd.socket, "enable", "a"], check=True,
                       capture_output=True, timeout=30)
        self.assert_found("enabled-failed", "a", "warning", "has failed")

    def test_too_few_files(self):
        self.in_own_mounts("ulimit -n 100")
        self.assert_found("limit-files", "qvmd", "warning", "may have 100 open files")

    def test_too_few_threads(self):
        self.with_file(PID_MAX, "512\n")
        self.assert_found("limit-pids", PID_MAX, "warning", "may have 512 threads")

    def test_programs_that_are_removed_while_qvmd_runs(self):
        real = self.qvmd.worker, self.qvmd.vdevs
        self.qvmd.worker = shutil.copy(real[0], os.path.join(self.qvmd.top, "worker"))
        self.qvmd.vdevs = os.path.join(self.qvmd.top, "vdevs")
        os.mkdir(self.qvmd.vdevs)
        self.qvmd.restart()
        self.assert_well()
        for path, remove in ((self.qvmd.vdevs, os.rmdir), (self.qvmd.worker, os.remove)):
            remove(path)
            self.assert_found("programs", path, "problem", "No such file or directory")
            self.assertIn(f"'{path}' cannot be opened: No such file or directory; qvmd's option",
                          self.refused("unsupported", "guest.start", name="a",
                                       definition=qvmtest.bare("a")))
        self.qvmd.worker, self.qvmd.vdevs = real
        self.qvmd.restart()
        self.assert_well()

    def test_kvm_that_is_none(self):
        own = os.path.join(self.qvmd.top, "null")
        os.mknod(own, 0o600 | 0o020000, os.makedev(1, 3))
        self.in_own_mounts(f"exec unshare -m sh -c 'mount --bind {own} /dev/kvm &&"
                           f" exec {qvmtest.QVMD} \"$@\"' sh \"$@\"")
        self.assert_found("kvm", "/dev/kvm", "problem", "is not KVM")

    def test_huge_pages_that_are_switched_off(self):
        if not os.path.exists(SHMEM):
            self.skipTest("this kernel has no huge pages")
        self.with_file(SHMEM, "always within_size advise [never] deny force\n")
        self.assert_found("huge-pages", SHMEM, "hint", "4 KiB")
        self.with_file(SHMEM, "always within_size [advise] never deny force\n")
        self.assertNotIn(("huge-pages", SHMEM), self.findings())

    def test_kvm_that_the_cpu_does_not_tell_of(self):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next(line for line in file if line.startswith("flags")).split()
        is_told = "vmx" in flags or "svm" in flags
        self.assertEqual(("kvm-emulated", "/dev/kvm") in self.findings(), not is_told)


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/fuse"),
                     "only root can mount, and the kernel must have FUSE")
class SilenceTest(DoctorBase):
    def setUp(self):
        super().setUp()
        self.directory = os.path.join(self.qvmd.top, "silent")
        os.mkdir(self.directory)

    def mount(self, kind):
        """It ends before qvmd does, whatever happens."""
        mounted = kind(self.directory)
        self.addCleanup(mounted.close)
        return mounted

    def assert_comes(self, what, where, severity, words, within=20):
        self.eventually(lambda: (what, where) in self.findings(), f"no {what}", within)
        self.assert_found(what, where, severity, words)

    def test_a_guest_that_hangs_in_its_disk_and_does_not_go_when_it_is_killed(self):
        disk = self.mount(StallingFileSystem)
        guest = self.start("a", more="vdev virtio-blk loc mem:feb00000,512 intr ioapic:16"
                           f" hostdev {self.directory}/image\n")
        self.assert_console("a", "> ")
        self.assert_well()
        disk.stall("READ", "FLUSH")  # the second is what a file's last user waits for
        self.qvmd.type("a", "blk feb00000 16 read 600 8 1\r")
        disk.wait()
        self.assert_comes("guest-hangs", "a", "warning",
                          f"process {guest['pid']} waits and cannot be interrupted; its thread")
        self.assertIn("it is stuck", self.refused("timeout", "guest.kill", name="a"))
        self.assert_found("guest-stuck", "a", "problem",
                          f"process {guest['pid']} was killed and does not go; its thread")
        disk.close()
        self.qvmd.wait("a", "stopped")
        self.qvmd.restart()  # which looks at its locks at once, and not in a minute
        self.assert_well()

    def test_a_hand_that_was_killed_and_does_not_go(self):
        silent = self.mount(SilentFileSystem)
        with self.qvmd.client() as client:
            client.request("guest.start", name="a", definition=qvmtest.bare(
                "a", image=os.path.join(self.directory, "image")))
            silent.wait()
            self.assert_comes("hand-stuck", "qvmd", "problem", "were killed and do not go", 60)
        silent.close()
        self.eventually(lambda: ("hand-stuck", "qvmd") not in self.findings(), "it is still stuck")


def find_cgroup():
    with open("/proc/mounts", encoding="utf-8") as file:
        return next((line.split()[1] for line in file if line.split()[2] == "cgroup2"), None)


HOLDER = f"{find_cgroup()}/qvm-doctor-{os.getpid()}"


class CgroupTest(QvmdTest):
    settings = (f"cgroup {HOLDER}",)

    def finish(self):
        super().finish()
        self.eventually(self.remove_all, "the spare lives on")

    @staticmethod
    def remove_all():
        try:
            for entry in os.scandir(HOLDER):
                if entry.is_dir():
                    os.rmdir(entry.path)
            os.rmdir(HOLDER)
        except OSError:
            return False
        return True

    def test_a_group_that_is_left_behind(self):
        self.start("a")
        self.eventually(self.qvmd.spares, "there is no spare")
        os.mkdir(f"{HOLDER}/b.77")
        found = {one["what"]: one for one in self.qvmd.call("host.doctor")["findings"]}
        self.assertEqual(found["cgroup-left"]["where"], "b.77")  # and that of the spare is none
        self.assertTrue(os.path.isdir(f"{HOLDER}/b.77"), "doctor changes nothing")
        os.rmdir(f"{HOLDER}/b.77")
        found = {one["what"] for one in self.qvmd.call("host.doctor")["findings"]}
        self.assertNotIn("cgroup-left", found)
        self.qvmd.call("guest.kill", name="a")
        # its VM may still be taken apart, and its group waits for that
        found = {one["what"] for one in self.qvmd.call("host.doctor")["findings"]}
        self.assertNotIn("cgroup-left", found)


if __name__ == "__main__":
    main()
