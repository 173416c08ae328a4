#!/usr/bin/env python3
"""Disks in formats that a helper serves: qemu-storage-daemon, started and ended by qvmd, on the real
/dev/kvm."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import unittest

import qvmtest
from own_qvmd import start_ticks
from rpc import Refused
from test_virtio import BUILD, QVM, pattern

FORMATS = {"qcow2": "qcow2", "vhdx": "vhdx", "vhd-dynamic": "vpc"}  # and QEMU's names
SECTORS = 256
DISK = "blk feb00000 16"


class HelperBase(qvmtest.QvmdTest):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="qvm-helper-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def tearDown(self):
        pids = self.helpers()
        for guest in self.qvmd.guests().values():
            if guest["state"] in ("running", "paused"):
                self.qvmd.call("guest.kill", name=guest["name"])
        for pid in pids:
            self.assert_ends(pid)
        self.assert_invariants()

    def path(self, name):
        return os.path.join(self.directory, name)

    def image(self, name, driver="qcow2", *more):
        subprocess.run(["qemu-img", "create", "-q", "-f", driver, *more, self.path(name), "8M"],
                       check=True, timeout=60)
        return self.path(name)

    def disk(self, image, kind="qcow2", more=""):
        return (f"vdev virtio-blk name d loc mem:feb00000,512 intr ioapic:16 format {kind} "
                f"hostdev {image} {more}\n")

    def start_with(self, image, kind="qcow2", more="", name="a"):
        started = self.start(name, more=self.disk(image, kind, more))
        self.assert_console(name, "> ")
        return started

    def ask(self, words, answer, name="a"):
        before = self.qvmd.console(name).count(answer)
        self.qvmd.type(name, words + "\r")
        self.eventually(lambda: self.qvmd.console(name).count(answer) > before,
                        lambda: f"no '{answer}': {self.qvmd.console(name)}", 20)

    def write(self, sector=7, seed=5):
        self.ask(f"{DISK} write {sector} {SECTORS} {seed}",
                 f"wrote {SECTORS} sectors at {sector}: status 0")

    def content(self, image, driver="qcow2"):
        raw = self.path("raw")
        subprocess.run(["qemu-img", "convert", "-f", driver, "-O", "raw", image, raw], check=True,
                       timeout=60)
        with open(raw, "rb") as file:
            return file.read()

    def helpers(self):
        return [row[0] for row in self.qvmd.rows("SELECT pid FROM helper WHERE pid <> 0")]

    def is_gone(self, pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().rpartition(")")[2].split()[0] in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True

    def helper(self):
        pids = self.helpers()
        self.assertEqual(len(pids), 1)
        return pids[0]

    def assert_ends(self, pid):
        self.eventually(lambda: self.is_gone(pid), f"helper {pid} does not end", 20)

    def lost(self):
        return [event["message"] for event in self.qvmd.events(guest="a")
                if event["what"] == "helper-lost"]

    def again(self):
        return [event["message"] for event in self.qvmd.events(guest="a")
                if event["what"] == "helper-again"]

    def assert_sound(self, image):
        """It has what was flushed; clusters that nobody refers to are no damage."""
        done = subprocess.run(["qemu-img", "check", "-f", "qcow2", image], capture_output=True,
                              timeout=60, check=False)
        self.assertIn(done.returncode, (0, 3), done)
        self.assertEqual(self.content(image)[:SECTORS * 512], pattern(0, SECTORS, 3))


class HelperTest(HelperBase):
    def test_what_the_guest_wrote_is_in_the_image_bit_for_bit(self):
        for kind, driver in FORMATS.items():
            with self.subTest(kind):
                image = self.image(kind, driver)
                self.start_with(image, kind)
                pid = self.helper()
                self.write()
                self.ask(f"{DISK} flush", "flushed: status 0")
                self.ask(f"{DISK} read 7 {SECTORS} 5",
                         f"read {SECTORS} sectors at 7: status 0, {SECTORS} good")
                self.qvmd.call("guest.kill", name="a")
                self.assert_ends(pid)
                self.eventually(lambda: self.helpers() == [], "its row stays")
                self.assertEqual(self.content(image, driver)[7 * 512:(7 + SECTORS) * 512],
                                 pattern(7, SECTORS, 5))
                self.qvmd.call("guest.undefine", name="a")

    def test_what_is_discarded_or_to_be_zero_reads_as_zeroes_and_takes_no_room(self):
        image = self.image("a")
        self.start_with(image)
        for sector in (0, 512, 1024):
            self.write(sector)
        self.ask(f"{DISK} discard 0 {SECTORS}", "sectors at 0: status 0")
        self.ask(f"{DISK} zero 512 {SECTORS} 1", "sectors at 512: status 0")
        self.ask(f"{DISK} zero 1024 {SECTORS} 0", "sectors at 1024: status 0")
        self.ask(f"{DISK} discard {16 * 1024 - 1} 2", "status 1")  # more than there is
        self.qvmd.call("guest.kill", name="a")
        self.eventually(lambda: self.helpers() == [], "its helper does not end", 20)
        self.assertEqual(self.content(image), bytes(8 << 20))
        done = subprocess.run(["qemu-img", "map", "--output=json", "-f", "qcow2", image],
                              capture_output=True, check=True, timeout=60)
        self.assertFalse(any(part["data"] for part in json.loads(done.stdout)
                             if part["start"] < 1024 * 512), done.stdout)

    @unittest.skipUnless(os.geteuid() == 0, "without root there are no namespaces")
    @unittest.skipUnless(os.environ.get("QVM_HAS_DOOR", "1") == "1", "sanitizers have no namespaces")
    def test_a_helper_has_its_image_and_nothing_else(self):
        image = self.image("a")
        os.chmod(self.directory, 0o755)
        os.chown(image, 65533, 65533)
        qvm = self.start_with(image)["pid"]
        pid = self.helper()
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh"):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Uid"].split(), ["65533"] * 4)  # the guest is root's
        self.assertEqual(status["Groups"].split(), [])
        for name in ("mnt", "pid", "net", "ipc", "uts"):
            there, ours, its = (os.readlink(f"/proc/{who}/ns/{name}")
                                for who in (pid, "self", qvm))
            self.assertNotIn(there, (ours, its), name)
        self.assertEqual(sorted(set(os.listdir(f"/proc/{pid}/root")) - {"lib", "lib64"}),
                         ["dev", "etc", "image", "usr"])
        self.assertEqual(os.listdir(f"/proc/{pid}/root/etc"), ["ld.so.cache"])
        self.assertEqual(os.listdir(f"/proc/{pid}/root/dev"), ["null"])
        self.assertNotIn("bin", os.listdir(f"/proc/{pid}/root/usr"))
        groups = []
        for who in (pid, qvm):
            with open(f"/proc/{who}/cgroup", encoding="ascii") as file:
                groups.append(file.read())
        self.assertEqual(*groups)

    def deny(self, image, kind="qcow2", more=""):
        """In words that begin with FILE:LINE; nothing is left."""
        before = self.helpers()
        with self.assertRaises(Refused):
            self.start("a", more=self.disk(image, kind, more))
        message = self.qvmd.guest("a")["message"]
        self.eventually(lambda: self.helpers() == before, "its helper does not end", 20)
        self.assertRegex(message, r"^a.qvmconf:5: ")
        return message[len("a.qvmconf:5: "):]

    def forge(self, image, *places):
        """Write bytes over bytes of an image."""
        with open(image, "r+b") as file:
            for offset, value in places:
                file.seek(offset)
                file.write(value)
        return image

    def test_an_image_that_is_not_whole_is_refused(self):
        base = self.image("base")
        backed = self.image("backed", "qcow2", "-b", base, "-F", "qcow2")
        apart = self.image("apart", "qcow2", "-o", f"data_file={self.path('data')}")
        differing = self.forge(self.image("differing", "vpc"), (60, (4).to_bytes(4, "big")))
        child = self.image("child", "vhdx")
        with open(child, "rb") as file:
            parameters = file.read().index(bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b"))
            file.seek(parameters + 16)
            offset = int.from_bytes(file.read(4), "little")
        metadata = parameters - 32
        self.forge(child, (metadata + offset + 4, b"\2"))
        for image, kind, words in (
                (backed, "qcow2", "it has a backing file, which nobody would give it"),
                (apart, "qcow2", "its data lies in another file, which nobody would give it"),
                (differing, "vhd-dynamic", "it is a differencing VHD, whose disk is only whole"),
                (child, "vhdx", "it is a differencing VHDX, whose disk is only whole")):
            with self.subTest(image):
                self.assertIn(f"'{image}': {words}", self.deny(image, kind))

    def test_an_image_that_is_not_what_is_said_is_refused(self):
        qcow2, fixed = self.image("a"), self.image("fixed", "vpc", "-o", "subformat=fixed")
        short = self.path("short")
        with open(short, "wb") as file:
            file.write(b"QFI\xfb")
        damaged = self.forge(self.image("damaged"), (40, (65537).to_bytes(8, "big")))  # at no cluster
        cut = self.image("cut")
        os.truncate(cut, 70000)
        parent = self.forge(self.image("parent", "vpc"), (512, bytes(8)))
        for image, kind, words in (
                (qcow2, "vhdx", f"'{qcow2}': it is no VHDX image"),
                (qcow2, "vhd-dynamic", f"'{qcow2}': it is no dynamic VHD"),
                (fixed, "vhd-dynamic", f"'{fixed}': it is no dynamic VHD (a fixed one is "
                                       "'format vhd')"),
                (fixed, "qcow2", f"'{fixed}': it is no qcow2 image"),
                (short, "qcow2", f"'{short}': it is no qcow2 image"),
                (damaged, "qcow2", f"'{damaged}': Active L1 table offset invalid; `qemu-img check -f "
                                   "qcow2` tells more"),
                (cut, "qcow2", f"'{cut}': it is cut short: a table of it lies behind its end; "),
                (parent, "vhd-dynamic", f"'{parent}': Invalid header magic; `qemu-img info -f "
                                        "vpc` tells more"),
                (self.path("none"), "qcow2", "cannot open"),
                (self.directory, "qcow2", f"'{self.directory}' is a directory"),
                ("/dev/null", "qcow2", "'/dev/null' is a character device"),
                (qcow2, "vmdk", "format 'vmdk' is not raw, vhd (a fixed one), vhd-dynamic"),
                (qcow2, "qcow2 on-error full", "nobody knows which errors mean that")):
            with self.subTest(image=image, kind=kind):
                self.assertIn(words, self.deny(image, kind))

    def test_an_image_that_somebody_else_uses_is_refused(self):
        image = self.image("a")
        pid = self.start_with(image, name="b")["pid"]
        self.assertEqual(self.deny(image), f"file '{image}' is held by guest 'b' (pid {pid})")
        self.qvmd.call("guest.kill", name="b")
        self.eventually(lambda: self.helpers() == [] and
                        not self.qvmd.call("guest.show", name="b").get("claims"),
                        "its helper keeps the image", 20)
        other = subprocess.Popen(["qemu-storage-daemon", "--blockdev",
                                  f"driver=file,node-name=f,filename={image}", "--blockdev",
                                  "driver=qcow2,node-name=d,file=f", "--export",
                                  f"vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,"
                                  f"addr.path={self.path('s')}", "--pidfile", self.path("pid")])
        self.addCleanup(other.wait, 20)
        self.addCleanup(other.kill)
        self.eventually(lambda: os.path.exists(self.path("pid")), "no other user", 20)
        self.assertRegex(self.deny(image), f"'{image}' is in use by another program")

    def test_many_may_read_it(self):
        image = self.image("a")
        self.start_with(image)
        self.write()
        self.qvmd.call("guest.kill", name="a")
        for name in ("a", "b"):
            self.start(name, more=self.disk("<" + image))
            self.assert_console(name, "> ")
        for name in ("a", "b"):
            self.ask(f"blk feb00000 0 read 7 {SECTORS} 5", f"status 0, {SECTORS} good", name)
            self.ask("blk feb00000 0 write 0 8 1", "status 1", name)

    def kill_under_load(self):
        """Many writes are on their way when it is killed; what was flushed is known."""
        self.write(0, 3)
        self.ask(f"{DISK} flush", "flushed: status 0")
        pid, known = self.helper(), len(self.lost())
        self.qvmd.type("a", "".join(f"{DISK} write {1024 + 256 * i} {SECTORS} {i}\r"
                                    for i in range(32)))
        self.assert_console("a", "wrote 256 sectors at 1280: status 0")
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: len(self.lost()) > known, "nobody is told", 20)
        return pid

    def assert_answered(self, status=0):
        """All of kill_under_load()'s writes: the guest does not know that they were in danger."""
        for i in range(32):
            self.assert_console("a", f"wrote {SECTORS} sectors at {1024 + 256 * i}: status {status}")

    def read_back(self):
        self.ask(f"{DISK} read 0 {SECTORS} 3",
                 f"read {SECTORS} sectors at 0: status 0, {SECTORS} good")
        for i in range(32):
            self.ask(f"{DISK} read {1024 + 256 * i} {SECTORS} {i}",
                     f"read {SECTORS} sectors at {1024 + 256 * i}: status 0, {SECTORS} good")

    def test_a_helper_that_is_killed_under_load_is_followed_by_another_and_nothing_is_lost(self):
        for kind, driver in FORMATS.items():
            with self.subTest(kind):
                image = self.image(kind, driver)
                before = self.start_with(image, kind)
                pid = self.kill_under_load()
                self.assertEqual(self.lost()[-1:], [
                    f"the helper (pid {pid}) of '{image}' is gone: it was ended by signal 9 "
                    "(Killed); its disk waits for another one"])
                self.assert_answered()
                self.eventually(lambda: f"'{image}' has another helper (pid {self.helper()})"
                                in self.again(), "nobody is told", 20)
                self.read_back()
                self.ask(f"{DISK} flush", "flushed: status 0")
                self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])
                self.qvmd.call("guest.kill", name="a")
                self.eventually(lambda: self.helpers() == [], "its helper does not end", 20)
                if kind == "qcow2":
                    self.assert_sound(image)
                content = self.content(image, driver)
                for i in range(32):
                    at = (1024 + 256 * i) * 512
                    self.assertEqual(content[at:at + SECTORS * 512],
                                     pattern(1024 + 256 * i, SECTORS, i), i)
                self.qvmd.call("guest.undefine", name="a")

    def take_away(self, image):
        """There can be no other helper for it: another file has its name."""
        os.rename(image, image + ".away")
        self.image(os.path.basename(image))

    def test_a_disk_without_another_helper_fails_and_nothing_else(self):
        image = self.image("a")
        before = self.start_with(image)
        self.take_away(image)
        self.kill_under_load()
        self.eventually(lambda: len(self.lost()) == 2, "nobody is told", 20)
        self.assertEqual(self.lost()[1], f"there is no other helper for '{image}', until one is asked "
                                         "for (qvmctl helper a d) or the guest is started anew: it "
                                         "is another one than it was")
        self.ask(f"{DISK} read 0 8 3", "read 8 sectors at 0: status 1")
        self.ask(f"{DISK} flush", "flushed: status 1")
        self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])
        self.assertEqual(self.helpers(), [])
        self.qvmd.call("guest.reset", name="a")
        self.assert_console("a", "boot 2")
        self.qvmd.call("guest.kill", name="a")
        self.assert_sound(image + ".away")
        os.rename(image + ".away", image)
        self.qvmd.call("guest.start", name="a")
        self.assert_console("a", "> ")
        self.ask(f"{DISK} read 0 {SECTORS} 3", f"status 0, {SECTORS} good")

    def test_a_guest_whose_errors_pause_it_is_paused_when_there_is_no_other_helper(self):
        image = self.image("a")
        self.start_with(image, more="on-error pause")
        self.take_away(image)
        self.kill_under_load()
        self.qvmd.type("a", f"{DISK} write 0 8 1\r")  # if all of the others were done by then
        self.qvmd.wait("a", "paused")
        troubles = [event["message"] for event in self.qvmd.events(guest="a")
                    if event["what"] == "image-trouble"]
        self.assertEqual(troubles, [f"the image '{image}' of vdev 'd': Input/output error"])
        self.qvmd.call("guest.kill", name="a")
        self.assert_sound(image + ".away")

    def test_a_disk_waits_for_qvmd_when_its_helper_dies_without_it(self):
        image = self.image("a")
        before = self.start_with(image)
        self.write(0, 3)
        pid = self.helper()
        self.qvmd.crash()
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: self.is_gone(pid), "it lives", 20)
        self.qvmd.start()
        self.assert_runs_on(before)
        self.eventually(lambda: len(self.again()) == 1, "no other helper", 20)
        self.assertEqual(self.lost(), [f"the helper (pid {pid}) of '{image}' is gone: it has ended; "
                                       "its disk waits for another one"])
        self.ask(f"{DISK} read 0 {SECTORS} 3", f"status 0, {SECTORS} good")  # nobody flushed it

    def test_a_guest_that_is_paused_meanwhile_goes_on_later(self):
        image = self.image("a")
        self.start_with(image)
        self.write(0, 3)
        self.qvmd.call("guest.pause", name="a")
        os.kill(self.helper(), signal.SIGKILL)
        self.eventually(lambda: len(self.again()) == 1, "no other helper", 20)
        self.qvmd.call("guest.resume", name="a")
        self.ask(f"{DISK} read 0 {SECTORS} 3", f"status 0, {SECTORS} good")

    def test_a_reset_waits_for_no_helper(self):
        self.start_with(self.image("a"))
        os.kill(self.helper(), signal.SIGSTOP)  # it answers nobody, and has not ended
        pid = self.helper()
        self.qvmd.type("a", f"{DISK} write 0 {SECTORS} 3\r")
        os.kill(pid, signal.SIGKILL)
        self.qvmd.call("guest.reset", name="a")
        self.assert_console("a", "boot 2")
        self.write(0, 4)
        self.ask(f"{DISK} read 0 {SECTORS} 4", f"status 0, {SECTORS} good")

    def test_a_helper_outlives_qvmd_and_is_found_again(self):
        image = self.image("a")
        before = self.start_with(image)
        pid = self.helper()
        self.qvmd.crash()
        self.assertFalse(self.is_gone(pid))
        self.qvmd.start()
        self.assert_runs_on(before)
        self.write()
        self.ask(f"{DISK} read 7 {SECTORS} 5", f"status 0, {SECTORS} good")
        self.assertEqual(self.helper(), pid)
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: len(self.again()) == 1, "no other helper", 20)
        self.assertEqual(len(self.lost()), 1)
        self.ask(f"{DISK} read 7 {SECTORS} 5", f"status 0, {SECTORS} good")

    def test_a_helper_that_ended_without_qvmd_is_told_of(self):
        before = self.start_with(self.image("a"))
        pid = self.helper()
        self.qvmd.crash()
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: self.is_gone(pid), "it does not end", 20)
        self.qvmd.start()
        self.assert_runs_on(before)
        self.assertIn("is gone: it has ended", "".join(self.lost()))

    def test_a_helper_is_found_again_by_a_qvmd_whose_store_was_lost(self):
        image = self.image("a")
        before = self.start_with(image)
        self.write()
        pid = self.helper()
        self.qvmd.crash()
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.qvmd.store + end)
        self.qvmd.start()
        self.assert_runs_on(before)
        self.assertEqual(self.helper(), pid)
        os.kill(pid, signal.SIGKILL)  # and followed by another one, as ever
        self.eventually(lambda: len(self.again()) == 1, "no other helper", 20)
        self.ask(f"{DISK} read 7 {SECTORS} 5", f"status 0, {SECTORS} good")
        pid = self.helper()
        self.qvmd.call("guest.kill", name="a")
        self.assert_ends(pid)
        self.eventually(lambda: self.helpers() == [], "its row stays", 20)

    def test_a_helper_ends_with_its_qvm_whoever_kills_that(self):
        image = self.image("a")
        for has_qvmd in (True, False):
            with self.subTest(has_qvmd=has_qvmd):
                guest = self.start_with(image)
                pid = self.helper()
                if not has_qvmd:
                    self.qvmd.crash()
                os.kill(guest["pid"], signal.SIGKILL)
                if not has_qvmd:
                    self.qvmd.start()
                self.qvmd.wait("a", "failed")
                self.assert_ends(pid)
                self.eventually(lambda: self.helpers() == [], "its row stays")
                self.assertEqual(self.lost(), [])

    def test_a_process_that_has_the_pid_of_a_helper_is_left_alone(self):
        self.start_with(self.image("a"))
        helper = self.helper()
        stranger = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(stranger.wait, 20)
        self.addCleanup(stranger.kill)
        self.qvmd.crash()
        self.qvmd.forge("UPDATE helper SET pid = ?, start_ticks = ?", stranger.pid,
                        start_ticks(stranger.pid) - 1)
        os.kill(helper, signal.SIGKILL)
        self.qvmd.start()
        self.eventually(self.is_found("a"), "not adopted", 20)
        self.qvmd.call("guest.kill", name="a")
        self.eventually(lambda: self.helpers() == [], "its row stays", 20)
        self.assertIsNone(stranger.poll())

    def test_what_was_flushed_survives_kill_9_of_all(self):
        image = self.image("a")
        guest = self.start_with(image)
        pid = self.helper()
        self.write(0, 3)
        self.ask(f"{DISK} flush", "flushed: status 0")
        self.write(1024)
        self.qvmd.crash()
        for victim in (guest["pid"], pid):
            os.kill(victim, signal.SIGKILL)
        self.qvmd.start()
        self.qvmd.wait("a", "failed")
        self.assert_sound(image)

    def test_a_pause_loses_nothing(self):
        self.start_with(self.image("a"))
        for i in range(20):
            self.qvmd.type("a", f"{DISK} write 0 {SECTORS} {i}\r{DISK} read 0 {SECTORS} {i}\r")
            self.qvmd.call("guest.pause", name="a")
            self.qvmd.call("guest.resume", name="a")
            self.eventually(lambda: self.said("a").count(f", {SECTORS} good") == i + 1,
                            lambda: self.qvmd.console("a"), within=20)

    def test_a_qvm_alone_has_no_helper_and_says_so(self):
        self.image("a")
        config = self.path("t.qvmconf")
        with open(config, "w", encoding="ascii") as file:
            file.write("system t\nram 16M\n" + self.disk("a"))
        done = subprocess.run([QVM, "@t.qvmconf"], capture_output=True, timeout=60, check=False,
                              cwd=self.directory,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("t.qvmconf:3: ", done.stderr.decode())



class CrashTest(HelperBase):
    """qvmd is killed at each step of a helper's beginning."""

    crashing = True
    settings = ("spares 0",)

    def half_made(self):
        """Copies of qvmd that are no program of their own yet, and outlive it."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    words = file.read().split("\0")
            except OSError:
                continue
            if self.qvmd.config in words and not self.is_gone(int(pid)):
                found.append(int(pid))
        return found

    def forget_guest(self):
        """Whatever became of it: killed, forgotten, and its helper is gone."""
        self.qvmd.call("guest.kill", name="a")
        self.eventually(lambda: not self.qvmd.call("guest.show", name="a").get("claims"),
                        "it holds on to something", 20)
        self.eventually(lambda: self.helpers() == [], "its helper stays", 20)
        self.qvmd.call("guest.undefine", name="a")

    def test_what_was_begun_ends_and_the_image_is_free(self):
        image = self.image("a")
        for point in ("helper made", "helper written", "helper let go", "helper serves"):
            with self.subTest(point):
                self.qvmd.arm(point)
                with self.assertRaises((OSError, EOFError)):
                    self.start("a", more=self.disk(image))
                self.qvmd.process.wait(20)
                self.assertEqual(self.qvmd.disarm()[-1], point)
                self.eventually(lambda: self.half_made() == [], "a copy of qvmd stays", 20)
                self.qvmd.start()
                self.forget_guest()
                self.start_with(image)
                self.write()
                self.forget_guest()

    def test_another_helper_comes_whenever_qvmd_dies(self):
        image = self.image("a")
        for point in ("end of a helper written", "helper wished for", "files of a helper opened",
                      "helper made", "helper written", "helper let go", "helper serves",
                      "helper passed on"):
            with self.subTest(point):
                before = self.start_with(image)
                self.write(0, 3)
                self.qvmd.arm(point)
                os.kill(self.helper(), signal.SIGKILL)
                self.qvmd.process.wait(20)
                self.assertEqual(self.qvmd.disarm()[-1], point)
                self.eventually(lambda: self.half_made() == [], "a copy of qvmd stays", 20)
                self.qvmd.start()
                self.assert_runs_on(before)
                self.ask(f"{DISK} read 0 {SECTORS} 3",
                         f"read {SECTORS} sectors at 0: status 0, {SECTORS} good")
                self.write(1024, 4)
                self.forget_guest()
                self.assert_sound(image)


if __name__ == "__main__":
    qvmtest.main()
