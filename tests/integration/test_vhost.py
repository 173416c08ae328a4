#!/usr/bin/env python3
"""Disks of a back end outside: qemu-storage-daemon by vhost-user, on the real /dev/kvm."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time

from qvmtest import QvmdTest, Refused, main
from test_virtio import BUILD, ON_PCI, PLACE, QVM, DiskBase, Typed, pattern


GONE = "asks for a reset|features refused"  # what a driver hears of a device without a back end


def start_back_end(image, driver, place):
    """One that listens when this returns."""
    for old in (place, place + ".pid"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(old)
    process = subprocess.Popen(
        ["qemu-storage-daemon", "--blockdev", f"driver=file,node-name=file,filename={image}",
         "--blockdev", f"driver={driver},node-name=disk,file=file", "--export",
         "type=vhost-user-blk,id=export,node-name=disk,writable=on,num-queues=4,addr.type=unix,"
         f"addr.path={place}", "--pidfile", place + ".pid"],
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(place + ".pid"):  # it is written when all is there
        if process.poll() is not None:
            raise AssertionError("qemu-storage-daemon does not start")
        time.sleep(0.01)
    return process


def end_back_end(process):
    process.kill()
    process.wait(20)


class BackEndTest(DiskBase):
    MMIO = "vhost-user loc mem:feb00000,512 intr ioapic:16"
    PCI = "vhost-user loc pci:0:3.0"

    def vdev(self, place=PCI, more=""):
        return f"{place} device blk hostdev {self.path('s')} {more}"

    def back_end(self, driver="raw", name="disk.img"):
        process = start_back_end(self.path(name), driver, self.path("s"))
        self.addCleanup(end_back_end, process)
        return process

    def image_of(self, image_format, name, size="4M"):
        subprocess.run(["qemu-img", "create", "-q", "-f", image_format, self.path(name), size],
                       check=True, timeout=60)

    def test_what_the_guest_wrote_is_in_the_image_of_any_format_bit_for_bit(self):
        for image_format in ("raw", "qcow2", "vpc", "vhdx"):
            with self.subTest(image_format):
                self.image_of(image_format, "disk")
                back_end = self.back_end(image_format, "disk")
                said = self.run_guest(self.vdev(self.MMIO), f"blk {PLACE} info",
                                      f"blk {PLACE} write 7 256 5", f"blk {PLACE} flush",
                                      f"blk {PLACE} read 7 256 5",
                                      f"blk feb00000 0 read 8 255 5")
                self.assertIn("blk: read 256 sectors at 7: status 0, 256 good", said)
                self.assertIn("blk: read 255 sectors at 8: status 0, 255 good", said)
                back_end.terminate()
                back_end.wait(20)
                subprocess.run(["qemu-img", "convert", "-f", image_format, "-O", "raw",
                                self.path("disk"), self.path("raw")], check=True, timeout=60)
                self.assertEqual(self.content("raw")[7 * 512:263 * 512], pattern(7, 256, 5))
                os.unlink(self.path("disk"))

    def test_each_kind_of_interrupt_comes_and_several_queues_work(self):
        self.image()
        self.back_end()
        for what, place in ON_PCI.items():
            with self.subTest(what):
                said = self.run_guest(self.vdev(more="queues 4"), f"blk {place} write 7 64 5",
                                      f"blk {place} flush", f"blk {place} read 7 64 5",
                                      f"blk {place} read 7 64 5")
                self.assertEqual(said.count("blk: read 64 sectors at 7: status 0, 64 good"), 2,
                                 said)

    def test_a_driver_that_breaks_every_rule_harms_its_own_device_alone(self):
        self.image(name="own.img")
        self.image()
        self.back_end()
        self.configure(self.vdev(self.MMIO), f"storm {PLACE} 1 3000", f"storm {PLACE} 2 3000",
                       "blk 3 1 write 9 8 1", "blk 3 1 read 9 8 1", "poweroff")
        with open(self.path("t.qvmconf"), "a", encoding="utf-8") as file:
            file.write("vdev virtio-blk loc pci:0:3.0 hostdev own.img\n")
        done = self.alone()
        said = done.stdout.decode()
        self.assertEqual(done.returncode, 0, said + done.stderr.decode())
        self.assertEqual(said.count("storm: 3000 rounds"), 2, said)
        self.assertIn("blk: read 8 sectors at 9: status 0, 8 good", said)

    def alone(self):
        return subprocess.run([QVM, "@t.qvmconf"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60, cwd=self.directory, check=False,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})

    def test_a_back_end_that_is_killed_is_told_of_and_the_guest_goes_on(self):
        self.image()
        back_end = self.back_end()
        self.configure(self.vdev())
        guest = Typed(self)
        self.assertIn("status 0", guest.ask("blk 3 1 write 0 64 5"))
        back_end.kill()
        back_end.wait(20)
        self.assertIn("is gone device=vhost-user", self.hear(guest))
        self.assertRegex(guest.ask("blk 3 1 read 0 64 5"), GONE)
        self.assertIn("poweroff", guest.ask("echo poweroff"))
        guest.process.send_signal(signal.SIGUSR1)
        self.assertRegex(self.hear(guest, b"back-end"), r"back-end\W+gone")

    def hear(self, guest, word=b""):
        """Its log up to the end of the line that has `word`."""
        text = b""
        while not text.endswith(b"\n") or word not in text:
            some = os.read(guest.process.stderr.fileno(), 4096)
            self.assertTrue(some, text)
            text += some
        return text.decode()

    def test_a_back_end_that_hangs_is_left_when_the_guest_resets_its_device(self):
        self.image()
        back_end = self.back_end()
        self.configure(self.vdev())
        guest = Typed(self)
        self.assertIn("status 0", guest.ask("blk 3 1 write 0 64 5"))
        back_end.send_signal(signal.SIGSTOP)
        self.assertRegex(guest.ask("blk 3 1 info") + guest.ask("blk 3 1 read 0 64 5"), GONE)
        self.assertIn("is gone device=vhost-user", self.hear(guest))

    def test_a_machine_that_is_reset_has_its_disk_again(self):
        self.image()
        self.back_end()
        self.configure(self.vdev())
        guest = Typed(self)
        self.assertIn("status 0", guest.ask("blk 3 1 write 0 64 5"))
        guest.ask("reboot", until=b"\r\n> ")
        self.assertIn("status 0, 64 good", guest.ask("blk 3 1 read 0 64 5"))

    def test_what_is_no_back_end_is_refused_with_its_line(self):
        self.configure(self.vdev())
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        for what, words in (("nothing", "cannot connect to '.*s': No such file"),
                            ("a file", "cannot connect to '.*s': Connection refused"),
                            ("who is silent", "'.*s': the back end does not answer within 2 s")):
            with self.subTest(what):
                if what == "a file":
                    with open(self.path("s"), "wb"):
                        pass
                if what == "who is silent":
                    os.unlink(self.path("s"))
                    listener.bind(self.path("s"))
                    listener.listen(1)
                done = self.alone()
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr.decode(), f"^t.qvmconf:6: {words}")

    def test_more_than_the_back_end_has_is_refused_with_its_line(self):
        self.image()
        self.back_end()
        for more, words in (("queues 5", "it is to have 5 queues, and its back end has 4"),
                            ("config 61", "its back end has no configuration of 61 bytes")):
            with self.subTest(more):
                self.configure(self.vdev(more=more))
                done = self.alone()
                self.assertEqual(done.returncode, 65, done.stderr)
                self.assertRegex(done.stderr.decode(), f"^t.qvmconf:6: vdev .*{words}")


class UnderQvmdTest(QvmdTest):
    ROUNDS = 30

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="qvm-vhost-")
        self.addCleanup(directory.cleanup)
        self.socket = os.path.join(directory.name, "s")
        image = os.path.join(directory.name, "disk.img")
        with open(image, "wb") as file:
            file.truncate(1 << 20)
        self.addCleanup(end_back_end, start_back_end(image, "raw", self.socket))

    def tearDown(self):
        self.assert_invariants()

    def start_with(self, name, run=""):
        return self.start(name, run=run.replace(" ", "_"), more="vdev vhost-user loc pci:0:3.0 "
                          f"device blk hostdev {self.socket}\n")

    def test_a_back_end_works_for_one_guest_at_a_time_and_outlives_qvmd(self):
        pid = self.start_with("a", run="blk 3 1 write 0 64 5")["pid"]
        self.assert_console("a", "wrote 64 sectors at 0: status 0")
        with self.assertRaises(Refused):
            self.start_with("b")
        self.assertRegex(self.qvmd.guest("b")["message"], rf":\d+: the back end at '{self.socket}' "
                         rf"works for guest 'a' \(pid {pid}\)")
        self.qvmd.crash()
        self.qvmd.start()
        self.eventually(self.is_found("a"), "it is not adopted", within=20)
        self.qvmd.type("a", "blk 3 1 read 0 64 5\r")
        self.assert_console("a", "read 64 sectors at 0: status 0, 64 good")
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.call("guest.start", name="b")

    def test_a_pause_holds_the_back_end_and_nothing_is_lost(self):
        self.start_with("a")
        for i in range(self.ROUNDS):
            self.qvmd.type("a", f"blk 3 1 write 0 256 {i}\rblk 3 1 read 0 256 {i}\r")
            self.qvmd.call("guest.pause", name="a")
            self.qvmd.call("guest.resume", name="a")
            self.eventually(lambda: self.said("a").count(", 256 good") == i + 1,
                            lambda: self.qvmd.console("a"), within=20)

    def test_who_does_not_listen_is_refused_with_the_line(self):
        self.socket = "/dev/null"
        with self.assertRaises(Refused):
            self.start_with("a")
        self.assertRegex(self.qvmd.guest("a")["message"],
                         r":\d+: '/dev/null' is a character device, not a socket")


if __name__ == "__main__":
    main()
