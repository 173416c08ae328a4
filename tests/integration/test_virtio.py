#!/usr/bin/env python3
"""Virtio devices under a bare-metal driver, over MMIO and PCI, on the real /dev/kvm."""

import contextlib
import ctypes
import fcntl
import os
import re
import signal
import struct
import subprocess
import tempfile
import time
import unittest

import storm

BUILD = os.environ["QVM_BUILD"]
QVM = os.path.join(BUILD, "qvm-worker/qvm")
IMAGE = os.path.join(BUILD, "tests/guests/bare/guest.bzimage")

PLACE = "feb00000 16"
ON_PCI = {"by messages": "3 1", "by its line": "3 2", "without interrupts": "3 0"}

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SYS_IO_URING_SETUP = 425
# load the number; is it io_uring_setup? EPERM, else go on
NO_RING = ((0x20, 0, 0, 0), (0x15, 0, 1, SYS_IO_URING_SETUP), (0x06, 0, 0, 0x00050001),
           (0x06, 0, 0, 0x7fff0000))


def refuse_rings():
    """As a container's filter does, for this process and what it runs."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in NO_RING))
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(NO_RING), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or \
            libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) != 0:
        raise OSError(ctypes.get_errno(), "no filter")


class Typed:
    """A guest whose console is ours, and that is killed at the end."""

    def __init__(self, test, preexec_fn=None):
        self.process = subprocess.Popen(
            [QVM, "@t.qvmconf"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=test.directory, preexec_fn=preexec_fn,
            env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        test.addCleanup(self.close)
        self.said = b""
        self.read_until(b"\r\n> ")

    def close(self):
        self.process.kill()
        self.process.communicate(timeout=20)

    def read_until(self, words):
        """All up to `words`, which are taken away."""
        while words not in self.said:
            some = os.read(self.process.stdout.fileno(), 4096)
            if not some:
                raise AssertionError(f"no {words} in {self.said}, {self.process.stderr.read()}")
            self.said += some
        before, self.said = self.said.split(words, 1)
        return before.decode()

    def ask(self, command, until=b"\r\n> "):
        self.process.stdin.write(command.encode() + b"\r")
        self.process.stdin.flush()
        return self.read_until(until)

    def state(self):
        """What each vdev says of itself."""
        self.process.send_signal(signal.SIGUSR1)
        text = b""
        while b"errors" not in text:
            text += os.read(self.process.stderr.fileno(), 65536)
        return text.decode()


class VirtioTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-virtio-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def path(self, name):
        return os.path.join(self.directory, name)

    def configure(self, vdev, *commands):
        """A guest that obeys `commands` and has `vdev`, a line of its configuration."""
        words = ",".join(command.replace(" ", "_") for command in commands)
        with open(self.path("t.qvmconf"), "w", encoding="utf-8") as file:
            file.write(f'system t\nram 16M\nload {IMAGE}\ncmdline "run={words}"\n'
                       f"vdev ser8250\nvdev {vdev}\n")

    def run_guest(self, vdev, *commands, status=0):
        """What it said until it was off."""
        self.configure(vdev, *commands, "poweroff")
        done = subprocess.run([QVM, "@t.qvmconf"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=150, cwd=self.directory, check=False,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        self.assertEqual(done.returncode, status, done.stderr.decode() + done.stdout.decode())
        return done.stdout.decode()


class EntropyTest(VirtioTest):
    VDEV = "virtio-entropy loc mem:feb00000,512 intr ioapic:16"

    def test_bytes_come_and_differ_with_and_without_interrupts(self):
        said = self.run_guest(self.VDEV, "rng feb00000 0 32", f"rng {PLACE} 32",
                              f"rng {PLACE} 32")
        bytes_of = re.findall(r"rng: 32 bytes:((?: [0-9a-f]+){32})", said)
        self.assertEqual(len(set(bytes_of)), 3, said)

    def test_a_driver_that_breaks_every_rule_harms_nobody(self):
        for seed in storm.seeds(1):
            said = self.run_guest(self.VDEV,
                                  *(f"storm {PLACE} {3 * seed + i} 3000" for i in range(3)),
                                  f"rng {PLACE} 16")
            self.assertEqual(said.count("storm: 3000 rounds, device 4 of 4"), 3, said)
            self.assertIn("rng: 16 bytes:", said)

    def test_the_same_over_pci(self):
        said = self.run_guest("virtio-entropy loc pci:0:3.0",
                              *(f"rng {place} 32" for place in ON_PCI.values()),
                              *(f"storm 3 0 {seed} 3000" for seed in (1, 2, 3)), "rng 3 1 16")
        bytes_of = re.findall(r"rng: 32 bytes:((?: [0-9a-f]+){32})", said)
        self.assertEqual(len(set(bytes_of)), 3, said)
        self.assertEqual(said.count("storm: 3000 rounds, device 4 of 4"), 3, said)
        self.assertIn("rng: 16 bytes:", said)

    def test_who_is_no_bus_master_reaches_no_memory_until_it_is_one(self):
        said = self.run_guest("virtio-entropy loc pci:0:3.0",
                              *(f"master {place}" for place in ON_PCI.values()))
        self.assertEqual(said.count("master: nothing before"), len(ON_PCI), said)
        self.assertEqual(said.count("master: an answer after"), len(ON_PCI), said)


class PortsTest(VirtioTest):
    """The driver that breaks every rule, at a console with ports: its control queues, too."""

    PORTS = "hostdev >said port one,>one console two,>two port three,<three"

    def test_a_driver_that_breaks_every_rule_harms_nobody(self):
        with open(self.path("three"), "wb") as file:
            file.write(b"typed" * 1000)
        for place, vdev in ((PLACE, "loc mem:feb00000,512 intr ioapic:16"), ("3 0", "loc pci:0:3.0")):
            with self.subTest(vdev):
                said = self.run_guest(f"virtio-console {vdev} {self.PORTS}",
                                      *(f"storm {place} {seed} 1000" for seed in (1, 2, 3)))
                self.assertEqual(said.count("storm: 1000 rounds, device 3 of 3"), 3, said)


class LegacyTest(VirtioTest):
    """The driver that breaks every rule, at the legacy interface."""

    def test_a_driver_that_breaks_every_rule_harms_nobody(self):
        with open(self.path("disk.img"), "wb") as file:
            file.truncate(1 << 20)
        for place, loc in ((PLACE, "loc mem:feb00000,512 intr ioapic:16"), ("3 0", "loc pci:0:3.0")):
            for vdev in ("virtio-blk hostdev disk.img", "virtio-console hostdev >said port one"):
                with self.subTest(f"{vdev} {loc}"):
                    said = self.run_guest(f"{vdev} legacy {loc}",
                                          *(f"storm {place} {seed} 1000" for seed in (1, 2, 3)))
                    storms = re.findall(r"storm: 1000 rounds, device (\d+) of \1", said)
                    self.assertEqual(len(storms), 3, said)


PRIME = 0x9E3779B97F4A7C15


def pattern(sector, count, seed):
    """What the guest's `blk write SECTOR COUNT SEED` writes."""
    return b"".join(struct.pack("<Q", (seed + sector + i) * PRIME % 2**64) * 64
                    for i in range(count))


class DiskBase(VirtioTest):
    def disk(self, hostdev="disk.img", more=""):
        return f"virtio-blk loc mem:feb00000,512 intr ioapic:16 hostdev {hostdev} {more}"

    def image(self, size=1 << 20, name="disk.img"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))  # its lock may outlive a killed qvm by a moment
        with open(self.path(name), "wb") as file:
            file.truncate(size)
        return self.path(name)

    def content(self, name="disk.img"):
        with open(self.path(name), "rb") as file:
            return file.read()


class DiskTest(DiskBase):
    def test_what_the_guest_wrote_it_reads_back_and_the_host_has_it_bit_for_bit(self):
        self.image()
        said = self.run_guest(self.disk(more="serial S-1234"), f"blk {PLACE} info",
                              f"blk {PLACE} id", f"blk {PLACE} write 7 256 5",
                              f"blk {PLACE} flush", f"blk {PLACE} read 7 256 5",
                              "blk feb00000 0 read 8 255 5", "blk feb00000 0 write 2047 1 9")
        self.assertIn("blk: 2048 sectors", said)
        self.assertIn("blk: id 'S-1234': status 0", said)
        self.assertIn("blk: flushed: status 0", said)
        self.assertIn("blk: read 256 sectors at 7: status 0, 256 good", said)
        self.assertIn("blk: read 255 sectors at 8: status 0, 255 good", said)
        self.assertEqual(self.content()[7 * 512:263 * 512], pattern(7, 256, 5))
        self.assertEqual(self.content()[2047 * 512:], pattern(2047, 1, 9))
        self.assertEqual(len(self.content()), 1 << 20)

    def test_what_the_guest_discards_the_host_has_back(self):
        for refuse, engine in ((None, "io_uring"), (refuse_rings, "threads")):
            with self.subTest(engine):
                self.give_back(refuse)

    def give_back(self, refuse):
        path = self.image()
        with open(path, "r+b") as file:
            file.write(b"\x5a" * (1 << 20))
            file.flush()
            os.fsync(file.fileno())  # until then a file system may not have given blocks at all
            before = os.fstat(file.fileno()).st_blocks
        self.configure(self.disk(more="queues 4"), f"blk {PLACE} discard 512 512",
                       f"blk {PLACE} zero 1024 256 1", f"blk {PLACE} zero 1281 254 0",
                       f"blk {PLACE} discard 2047 2", f"blk {PLACE} flush", "poweroff")
        done = subprocess.run([QVM, "@t.qvmconf"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60, cwd=self.directory, check=False, preexec_fn=refuse,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        said = done.stdout.decode()
        self.assertEqual(done.returncode, 0, said + done.stderr.decode())
        self.assertEqual(re.findall(r"sectors at (\d+): status (\d)", said),
                         [("512", "0"), ("1024", "0"), ("1281", "0"), ("2047", "1")], said)
        self.assertLessEqual(os.stat(path).st_blocks, before - 768, said)
        self.assertEqual(self.content(), b"\x5a" * (512 * 512) + bytes(768 * 512) +
                         b"\x5a" * 512 + bytes(254 * 512) + b"\x5a" * (513 * 512))

    def test_what_was_flushed_survives_kill_9(self):
        self.image()
        self.configure(self.disk(), f"blk {PLACE} write 100 512 3", f"blk {PLACE} flush",
                       "echo done", "spin")
        process = subprocess.Popen([QVM, "@t.qvmconf"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   cwd=self.directory,
                                   env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        self.addCleanup(process.stdout.close)
        said = b""
        while b"\ndone\r" not in said and b"done\r\n> " not in said:
            some = os.read(process.stdout.fileno(), 4096)
            self.assertTrue(some, said)
            said += some
        self.assertIn(b"flushed: status 0", said)
        process.kill()
        process.wait(20)
        self.assertEqual(self.content()[100 * 512:612 * 512], pattern(100, 512, 3))

    def test_a_read_only_disk_is_not_written(self):
        with open(self.image(), "r+b") as file:
            file.write(pattern(0, 8, 4))
        os.chmod(self.path("disk.img"), 0o444)
        before = self.content()
        said = self.run_guest(self.disk("<disk.img"), "blk feb00000 0 write 0 8 1",
                              "blk feb00000 0 read 0 8 4")
        self.assertIn("blk: wrote 8 sectors at 0: status 1", said)
        self.assertIn("blk: read 8 sectors at 0: status 0, 8 good", said)
        self.assertEqual(self.content(), before)

    def test_a_fixed_vhd_is_a_disk_without_its_footer(self):
        size = 64 * 512
        footer = bytearray(512)
        footer[:16] = b"conectix" + struct.pack(">II", 2, 0x10000)
        footer[16:24] = b"\xff" * 8
        footer[40:56] = struct.pack(">QQ", size, size)
        footer[60:64] = struct.pack(">I", 2)
        footer[64:68] = struct.pack(">I", ~sum(footer) % 2**32)
        with open(self.image(size, "disk.vhd"), "ab") as file:
            file.write(footer)
        said = self.run_guest(self.disk("disk.vhd"), f"blk {PLACE} info",
                              f"blk {PLACE} write 0 64 1", f"blk {PLACE} read 63 2 1")
        self.assertIn("blk: 64 sectors", said)
        self.assertIn("blk: read 2 sectors at 63: status 1", said)
        self.assertEqual(self.content("disk.vhd"), pattern(0, 64, 1) + bytes(footer))

    def test_an_image_has_one_writer_or_many_readers(self):
        image = self.image()
        with open(image, "r+b") as file:
            lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 201, 1, 0)
            fcntl.fcntl(file, 37, lock)  # F_OFD_SETLK: somebody denies writing, as QEMU does
            self.run_guest(self.disk("<disk.img"), "blk feb00000 0 info")
            self.configure(self.disk(), "poweroff")
            done = self.qvm()
            self.assertEqual(done.returncode, 64, done.stderr)
            self.assertRegex(done.stderr.decode(),
                             "t.qvmconf:6: '.*disk.img' is in use by another program")

    def qvm(self):
        return subprocess.run([QVM, "@t.qvmconf"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60, cwd=self.directory, check=False,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})

    def test_what_is_no_image_is_refused_with_its_line(self):
        self.image(513, "odd.img")
        self.image(1024, "no.vhd")
        self.image(1024, "x.qcow2")
        os.mkdir(self.path("folder"))
        for hostdev, words in (("odd.img", "has 513 bytes, not a multiple of 512"),
                               ("no.vhd", "is no VHD: it has no footer"),
                               ("x.qcow2", "is named like an image that is not raw: give the 'format'"),
                               ("folder", "folder"), ("missing", "No such file"),
                               ("-", "names no image")):
            with self.subTest(hostdev=hostdev):
                self.configure(self.disk(hostdev), "poweroff")
                done = self.qvm()
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr.decode(), f"^t.qvmconf:6: .*{words}")

    def test_two_disks_keep_apart(self):
        self.image(name="a.img")
        self.image(name="b.img")
        self.configure(self.disk("a.img"), "blk feb00000 16 write 0 16 1",
                       "blk feb01000 17 write 0 16 2", "blk feb00000 0 read 0 16 1",
                       "blk feb01000 0 read 0 16 2", "poweroff")
        with open(self.path("t.qvmconf"), "a", encoding="utf-8") as file:
            file.write("vdev virtio-blk loc mem:feb01000,512 intr ioapic:17 hostdev b.img\n")
        said = self.qvm().stdout.decode()
        self.assertEqual(said.count("status 0, 16 good"), 2, said)
        self.assertEqual(self.content("a.img")[:8192], pattern(0, 16, 1))
        self.assertEqual(self.content("b.img")[:8192], pattern(0, 16, 2))

    def test_a_driver_that_breaks_every_rule_gets_nowhere(self):
        for seed in storm.seeds(1):
            # A lock outlives its qvm as long as the last transfers do: an image of its own.
            name = f"disk{seed}.img"
            self.image(name=name)
            said = self.run_guest(self.disk(name),
                                  *(f"storm {PLACE} {3 * seed + i} 3000" for i in range(3)),
                                  f"blk {PLACE} write 9 8 1", f"blk {PLACE} read 9 8 1")
            self.assertEqual(said.count("storm: 3000 rounds, device 2 of 2"), 3, said)
            self.assertIn("blk: read 8 sectors at 9: status 0, 8 good", said)
            os.unlink(self.path(name))

    def test_the_same_over_pci_with_each_kind_of_interrupt(self):
        for what, place in ON_PCI.items():
            with self.subTest(what):
                self.image()
                said = self.run_guest("virtio-blk loc pci:0:3.0 hostdev disk.img",
                                      f"blk {place} info", f"blk {place} write 7 64 5",
                                      f"blk {place} flush", f"blk {place} read 7 64 5")
                self.assertIn("blk: 2048 sectors", said)
                self.assertIn("blk: flushed: status 0", said)
                self.assertIn("blk: read 64 sectors at 7: status 0, 64 good", said)
                self.assertEqual(self.content()[7 * 512:71 * 512], pattern(7, 64, 5))

    def test_a_driver_on_pci_that_breaks_every_rule_gets_nowhere(self):
        self.image()
        said = self.run_guest("virtio-blk loc pci:0:3.0 hostdev disk.img",
                              *(f"storm 3 0 {seed} 3000" for seed in (1, 2, 3)),
                              "blk 3 1 write 9 8 1", "blk 3 1 read 9 8 1")
        self.assertEqual(said.count("storm: 3000 rounds, device 2 of 2"), 3, said)
        self.assertIn("blk: read 8 sectors at 9: status 0, 8 good", said)


ENGINES = {"io_uring": None, "threads": refuse_rings}


class FlightTest(DiskBase):
    """Requests are in flight when something happens, with either engine."""

    def guest(self, engine):
        self.image()
        self.configure("virtio-blk loc pci:0:3.0 hostdev disk.img")
        guest = Typed(self, ENGINES[engine])
        self.assertRegex(guest.state(), rf"engine\W+{engine}")
        return guest

    def check_whole_sectors(self, sector, count, old, new):
        """Each is one or the other."""
        content = self.content()
        for i in range(sector, sector + count):
            self.assertIn(content[i * 512:(i + 1) * 512],
                          (pattern(i, 1, old), pattern(i, 1, new)), i)

    def wait_for_the_lock(self):
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 100, 104, 0)
        end = time.monotonic() + 20
        with open(self.path("disk.img"), "r+b") as file:
            while True:
                try:
                    fcntl.fcntl(file, 37, lock)  # F_OFD_SETLK
                    return
                except BlockingIOError:
                    self.assertLess(time.monotonic(), end, "it is locked for ever")
                    time.sleep(0.01)

    def test_a_device_that_was_reset_writes_to_no_memory_any_more(self):
        for engine in ENGINES:
            with self.subTest(engine):
                guest = self.guest(engine)
                guest.ask("blk 3 1 write 0 128 5")
                for seed in range(6, 9):
                    self.assertIn("blk: after the reset 128 of 128 are ours",
                                  guest.ask(f"blk 3 1 recall 0 128 {seed}"))
                self.assertIn("status 0, 128 good", guest.ask("blk 3 1 read 0 128 5"))
                guest.close()

    def test_a_disk_is_whole_after_reboots_with_requests_in_flight(self):
        for engine in ENGINES:
            with self.subTest(engine):
                guest = self.guest(engine)
                guest.ask("blk 3 1 write 0 192 5")
                guest.ask("blk 3 1 flush")
                for seed in range(6, 9):
                    guest.ask(f"blk 3 1 flight 64 64 {seed}")
                    self.assertIn("boot", guest.ask("reboot"))
                    self.check_whole_sectors(64, 64, seed - 1, seed)
                    guest.ask(f"blk 3 1 write 64 64 {seed}")
                self.assertIn("status 0, 64 good", guest.ask("blk 3 1 read 0 64 5"))
                self.assertIn("status 0, 64 good", guest.ask("blk 3 1 read 128 64 5"))
                self.assertIn("status 0, 64 good", guest.ask("blk 3 1 read 64 64 8"))
                guest.close()

    def test_kill_9_with_requests_in_flight_leaves_whole_sectors_and_what_was_flushed(self):
        for engine in ENGINES:
            with self.subTest(engine):
                guest = self.guest(engine)
                guest.ask("blk 3 1 write 0 256 5")
                guest.ask("blk 3 1 flush")
                guest.ask("blk 3 1 flight 64 128 6", until=b"in flight")
                guest.close()
                self.wait_for_the_lock()  # until then transfers go on
                self.check_whole_sectors(64, 128, 5, 6)
                content = self.content()
                self.assertEqual(content[:64 * 512], pattern(0, 64, 5))
                self.assertEqual(content[192 * 512:256 * 512], pattern(192, 64, 5))


if __name__ == "__main__":
    unittest.main()
