#!/usr/bin/env python3
"""Helpers that somebody asks for after qvmd has given up to have another one follow, on the real
/dev/kvm."""

import contextlib
import os
import signal
import subprocess

import qvmtest
from fuse import SilentFileSystem
from rpc import Refused
from test_folder import AT, FolderBase
from test_helper import DISK, SECTORS, HelperBase, pattern

ASKINGS_MAX = 256


class AskedBase(HelperBase):
    def shown(self, name="a"):
        return [{key: one.get(key) for key in ("vdev", "state", "pid")}
                for one in self.qvmd.call("guest.show", name=name).get("helpers", [])]

    def refuse(self, words, *more, name="a", vdev="d"):
        """What qvmctl says, and its status."""
        done = self.ctl("helper", name, vdev, *more)
        self.assertNotEqual(done.returncode, 0, done)
        self.assertIn(words, done.stderr)
        self.assertEqual(done.stdout, "")
        return done.returncode

    def ask_for(self, what, vdev="d"):
        """Another one, which is said to be there, and is."""
        done = self.ctl("helper", "a", vdev)
        self.assertEqual(done.returncode, 0, done)
        pid = self.helper()
        self.assertIn(f"'{what}' has another helper (pid {pid})", done.stderr)
        self.assertEqual(self.shown(), [{"vdev": vdev, "state": "serves", "pid": pid}])
        return pid

    def lose(self):
        """The helper, for good."""
        known = len(self.lost())
        os.kill(self.helper(), signal.SIGKILL)
        self.eventually(lambda: len(self.lost()) == known + 2, "nobody is told", 20)
        self.assertEqual([one["state"] for one in self.shown()], ["none"])


class DiskTest(AskedBase):
    def good(self, seed=3):
        self.ask(f"{DISK} read 0 {SECTORS} {seed}",
                 f"read {SECTORS} sectors at 0: status 0, {SECTORS} good")

    @contextlib.contextmanager
    def away(self, image):
        """Another file has its name."""
        os.rename(image, image + ".away")
        self.image(os.path.basename(image))
        yield
        os.rename(image + ".away", image)

    def test_a_disk_that_was_given_up_goes_on_with_what_it_was_told(self):
        image = self.image("a")
        before = self.start_with(image)
        self.write(0, 3)  # which nobody flushed
        with self.away(image):
            self.lose()
            self.ask(f"{DISK} read 0 8 3", "read 8 sectors at 0: status 1")
            self.refuse(f"there is no other helper for '{image}': it is another one than it was")
        self.ask_for(image)
        self.good()
        self.write(1024, 4)
        self.ask(f"{DISK} flush", "flushed: status 0")
        self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])
        os.kill(self.helper(), signal.SIGKILL)  # and the next one comes by itself again
        self.eventually(lambda: len(self.again()) == 2, "no other helper", 20)
        self.good()
        self.qvmd.call("guest.kill", name="a")
        self.eventually(lambda: self.helpers() == [], "its helper does not end", 20)
        self.assert_sound(image)
        self.assertEqual(self.content(image)[1024 * 512:(1024 + SECTORS) * 512],
                         pattern(1024, SECTORS, 4))

    def test_a_new_qvmd_is_asked_as_well(self):
        image = self.image("a")
        before = self.start_with(image)
        self.write(0, 3)
        with self.away(image):
            self.lose()
            self.qvmd.crash()
        self.qvmd.start()
        self.assert_runs_on(before)
        self.assertEqual([one["state"] for one in self.shown()], ["none"])
        self.ask_for(image)
        self.good()

    def test_a_guest_that_was_paused_for_it_goes_on_when_it_is_resumed(self):
        image = self.image("a")
        self.start_with(image, more="on-error pause")
        self.write(0, 3)
        with self.away(image):
            self.lose()
            self.qvmd.type("a", f"{DISK} write 1024 {SECTORS} 5\r")
            self.qvmd.wait("a", "paused")
        self.ask_for(image)
        self.qvmd.call("guest.resume", name="a")
        self.assert_console("a", f"wrote {SECTORS} sectors at 1024: status 0")
        self.good()
        self.ask(f"{DISK} read 1024 {SECTORS} 5", f"at 1024: status 0, {SECTORS} good")

    def use(self, image):
        """As another program; False: what is left of a dead one has it still."""
        other = self.other = subprocess.Popen(["qemu-storage-daemon", "--blockdev",
                                  f"driver=file,node-name=f,filename={image}", "--blockdev",
                                  "driver=qcow2,node-name=d,file=f", "--export",
                                  f"vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,"
                                  f"addr.path={self.path('s')}", "--pidfile", self.path("pid")],
                                 stderr=subprocess.PIPE)
        self.addCleanup(other.stderr.close)
        self.addCleanup(other.wait, 20)
        self.addCleanup(other.kill)
        self.eventually(lambda: os.path.exists(self.path("pid")) or other.poll() is not None,
                        "it neither begins nor ends", 20)
        return other.poll() is None

    def test_one_that_is_tried_on_is_tried_at_once_and_says_why_not(self):
        image = self.image("a")
        self.start_with(image)
        self.write(0, 3)
        self.qvmd.process.send_signal(signal.SIGSTOP)
        pid = self.helper()
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: self.is_gone(pid), "it lives", 20)
        self.eventually(lambda: self.use(image), "nobody else can have it", 20)
        self.qvmd.process.send_signal(signal.SIGCONT)
        self.eventually(lambda: [one["state"] for one in self.shown()] == ["awaited"],
                        lambda: self.shown(), 20)
        self.refuse("; it is tried again")
        self.refuse(f"no other helper for '{image}' yet: ")
        self.other.kill()
        self.other.wait(20)
        self.ask_for(image)
        self.good()

    def test_so_many_may_wait_and_the_next_one_is_refused(self):
        folder = self.path("folder")
        os.mkdir(folder)
        image = self.image("folder/a")
        self.start_with(image)
        with self.away(image):
            self.lose()
        silent = SilentFileSystem(folder)  # over the image: who opens it waits
        self.addCleanup(silent.close)
        with self.qvmd.client() as client:
            asked = [client.request("guest.helper", name="a", vdev="d")
                     for _ in range(ASKINGS_MAX + 1)]
            with self.assertRaises(Refused) as refused:
                client.answer(asked.pop())
            self.assertEqual(str(refused.exception), "too many calls wait for the helper of vdev 'd' "
                                                     "of guest 'a'")
            silent.wait()
            silent.close()
            self.assertEqual({client.line()["id"] for _ in asked}, set(asked))
        self.eventually(lambda: self.ctl("helper", "a", "d").returncode == 0 or self.helpers(),
                        "there is none when the file is there again", 20)
        self.eventually(lambda: [one["state"] for one in self.shown()] == ["serves"], self.shown, 20)

    def test_a_wrong_name_and_a_helper_that_lives_are_refused_in_words(self):
        self.start_with(self.image("a"))
        pid = self.helper()
        self.assertEqual(self.refuse(f"vdev 'd' of guest 'a' has its helper: process {pid} lives; "
                                     f"end that first (kill {pid})"), 4)
        self.refuse("guest 'a' has no vdev 'x' with a helper; those that have one: 'd'", vdev="x")
        self.start("b")
        self.refuse("guest 'b' has no vdev 'd' with a helper: none of its vdevs has one", name="b")
        self.refuse("there is no guest", name="c")
        self.assertEqual(self.helper(), pid)
        self.assertIn(f"serves  {pid}", self.ctl("show", "a").stdout)
        self.qvmd.call("guest.kill", name="b")
        self.qvmd.wait("b", "stopped")
        self.assertEqual(self.refuse("guest 'b' is stopped", name="b"), 4)


class FolderAskedTest(AskedBase, FolderBase):
    def test_a_folder_that_was_given_up_is_there_again_after_a_reset_of_its_device(self):
        before = self.start_shared()
        self.read("of-the-host", "error 0, 11 bytes: hello-guest")
        os.rename(self.folder, self.folder + ".away")
        self.lose()
        self.ask(f"{AT} read of-the-host", "features refused")
        self.refuse(f"there is no other helper for '{self.folder}': cannot open '{self.folder}'",
                    vdev="f")
        os.rename(self.folder + ".away", self.folder)
        self.ask_for(self.folder, "f")
        self.read("of-the-host", "error 0, 11 bytes: hello-guest")
        self.write("after", "asking", "error 0, 6 bytes")
        self.assertEqual(self.content_of("after"), "asking")
        self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])
        known = len(self.again())
        os.kill(self.helper(), signal.SIGKILL)  # and the next one comes by itself again
        self.eventually(lambda: len(self.again()) == known + 1, "no other helper", 20)
        self.read("after", "error 0, 6 bytes: asking")


class CrashAskedTest(AskedBase):
    """qvmd is killed at each step of what was asked for."""

    crashing = True
    settings = ("spares 0",)

    def test_who_asks_again_has_one(self):
        image = self.image("a")
        before = self.start_with(image)
        self.write(0, 3)
        for point in ("files of a helper opened", "helper made", "helper written", "helper let go",
                      "helper serves", "helper passed on"):
            with self.subTest(point):
                os.rename(image, image + ".away")
                self.lose()
                os.rename(image + ".away", image)
                self.qvmd.arm(point)
                self.assertNotEqual(self.ctl("helper", "a", "d").returncode, 0)
                self.qvmd.process.wait(20)
                self.assertEqual(self.qvmd.disarm()[-1], point)
                self.qvmd.start()
                self.assert_runs_on(before)
                for pid in self.helpers() if point != "helper passed on" else []:
                    self.refuse(f"process {pid} lives") if not self.is_gone(pid) else None
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    self.assert_ends(pid)
                if point != "helper passed on":
                    self.eventually(lambda: self.helpers() == [], "it is not forgotten", 20)
                    self.assertEqual(self.ctl("helper", "a", "d").returncode, 0)
                self.ask(f"{DISK} read 0 {SECTORS} 3", f"status 0, {SECTORS} good")


if __name__ == "__main__":
    qvmtest.main()
