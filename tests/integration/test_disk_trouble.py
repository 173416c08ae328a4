#!/usr/bin/env python3
"""The host cannot do what a disk asks it for: it is full, or its file has become shorter. Reported to
the guest, or the guest is paused and nothing is lost; by a qvm alone and under qvmd."""

import os
import signal
import subprocess
import unittest

import qvmtest
import test_virtio
from test_virtio import BUILD, QVM, pattern

SECTORS = 256  # 128 KiB, of which the host has room for the half
FULL = "No space left on device"
# A file system of its own, which nobody else sees; more room when somebody says so.
HOST = """set -e
mount -t tmpfs -o size=128k tmpfs disk
head -c 64K /dev/zero >disk/filler
truncate -s 1M disk/disk.img
exec 3<&0
"$1" @t.qvmconf <&3 &
read -r word <go
rm disk/filler
kill -CONT $! || : # it may have ended
wait $!
"""


def in_own_mounts(*words):
    return ["unshare", "-m" if os.geteuid() == 0 else "-rm", *words]


def can_mount():
    done = subprocess.run(in_own_mounts("mount", "-t", "tmpfs", "tmpfs", "/mnt"),
                          capture_output=True, check=False)
    return done.returncode == 0


class Lines:
    """What a process says, line by line."""

    def __init__(self, test, *words, preexec_fn=None):
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=test.directory, preexec_fn=preexec_fn, start_new_session=True,
            env={"QVM_VDEVS": os.path.join(BUILD, "vdevs"), "PATH": os.environ["PATH"]})
        test.addCleanup(self.close)
        self.said = ""

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # the shell, and the qvm
        self.process.communicate(timeout=20)

    def read_until(self, words):
        while words not in self.said:
            line = self.process.stdout.readline().decode()
            if not line:
                raise AssertionError(f"no '{words}' in: {self.said}")
            self.said += line

    def end(self):
        self.said += self.process.stdout.read().decode()
        return self.process.wait(20)


class FullTest(test_virtio.DiskBase):
    """With either engine, on a small file system."""

    def start(self, engine, policy):
        before, self.directory = self.directory, self.path(f"disk-{engine}-{policy}")
        os.mkdir(self.directory)
        os.mkdir(self.path("disk"))
        os.mkfifo(self.path("go"))
        self.configure(self.disk("disk/disk.img", f"on-error {policy}"),
                       f"blk {test_virtio.PLACE} write 0 {SECTORS} 5",
                       f"blk {test_virtio.PLACE} read 0 {SECTORS} 5", "poweroff")
        host = Lines(self, *in_own_mounts("sh", "-c", HOST, "sh", QVM),
                     preexec_fn=test_virtio.ENGINES[engine])
        directory, self.directory = self.directory, before
        return host, directory

    def give_room(self, directory):
        with open(f"{directory}/go", "w", encoding="ascii") as file:
            file.write("\n")

    @unittest.skipUnless(can_mount(), "no file system can be mounted here")
    def test_a_full_host_pauses_the_guest_which_goes_on_with_more_room(self):
        for engine in test_virtio.ENGINES:
            for policy in ("full", "pause"):
                with self.subTest(engine=engine, policy=policy):
                    host, directory = self.start(engine, policy)
                    host.read_until("run: paused")
                    self.assertIn("run: trouble why=\"the image 'disk/disk.img' of vdev "
                                  f"'virtio-blk': {FULL}\"", host.said)
                    self.assertNotIn("wrote", host.said)
                    self.give_room(directory)
                    self.assertEqual(host.end(), 0, host.said)
                    self.assertEqual(host.said.count("run: trouble"), 1)
                    self.assertIn(f"wrote {SECTORS} sectors at 0: status 0", host.said)
                    self.assertIn(f"read {SECTORS} sectors at 0: status 0, {SECTORS} good",
                                  host.said)

    @unittest.skipUnless(can_mount(), "no file system can be mounted here")
    def test_without_a_policy_the_guest_is_told_of_an_error(self):
        host, directory = self.start("io_uring", "report")
        host.read_until(f"wrote {SECTORS} sectors at 0: status 1")
        self.give_room(directory)
        self.assertEqual(host.end(), 0, host.said)
        self.assertNotIn("trouble", host.said)

    def test_another_word_is_refused(self):
        self.image()
        self.configure(self.disk(more="on-error retry"), "poweroff")
        done = subprocess.run([QVM, "@t.qvmconf", "dryrun"], capture_output=True, timeout=20,
                              cwd=self.directory, check=False,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        self.assertEqual(done.returncode, 65)
        self.assertIn("t.qvmconf:6: on-error 'retry' is not 'report', 'full' (a host without room "
                      "pauses the guest) or 'pause' (any error does)", done.stderr.decode())


class ShorterTest(qvmtest.QvmdTest):
    """Under qvmd: a file that has become shorter fails what lies behind its end."""

    def setUp(self):
        super().setUp()
        self.image = os.path.join(self.qvmd.top, "disk.img")
        with open(self.image, "wb") as file:
            file.write(pattern(0, SECTORS, 5))
        self.start("a", more="vdev virtio-blk name d loc mem:feb00000,512 intr ioapic:16 "
                             f"on-error pause hostdev {self.image}\n")
        self.assert_console("a", "> ")

    def troubles(self):
        return [event["message"] for event in self.qvmd.events(guest="a")
                if event["what"] == "image-trouble"]

    def fail(self):
        os.truncate(self.image, 4096)
        self.qvmd.type("a", f"blk feb00000 16 read 0 {SECTORS} 5\r")
        self.qvmd.wait("a", "paused")
        self.eventually(lambda: len(self.troubles()) == 1, "nothing is told")

    def test_the_guest_is_paused_and_goes_on_when_the_file_is_whole_again(self):
        self.fail()
        words = f"the image '{self.image}' of vdev 'd': Input/output error"
        self.assertEqual(self.troubles(), [words])
        self.qvmd.crash()  # the next one finds it paused
        self.qvmd.start()
        self.eventually(lambda: self.is_found("a"), "it is not found", 20)
        self.assertEqual(self.qvmd.guest("a")["state"], "paused")
        self.qvmd.call("guest.resume", name="a")  # nothing is better
        self.eventually(lambda: self.troubles() == [words] * 2, "nothing is told once more")
        self.qvmd.wait("a", "paused")
        with open(self.image, "r+b") as file:
            file.write(pattern(0, SECTORS, 5))
        self.qvmd.call("guest.resume", name="a")
        self.assert_console("a", f"read {SECTORS} sectors at 0: status 0, {SECTORS} good")
        self.qvmd.call("guest.kill", name="a")

    def test_a_guest_in_trouble_can_be_reset_and_killed(self):
        self.fail()
        self.qvmd.call("guest.reset", name="a")
        self.qvmd.call("guest.resume", name="a")
        self.assert_console("a", "boot 2")
        self.assertEqual(len(self.troubles()), 1)
        self.qvmd.type("a", f"blk feb00000 16 read 0 {SECTORS} 5\r")
        self.qvmd.wait("a", "paused")
        self.qvmd.call("guest.kill", name="a")
        self.assertEqual(self.qvmd.guest("a")["state"], "stopped")


if __name__ == "__main__":
    qvmtest.main()
