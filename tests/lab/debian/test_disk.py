#!/usr/bin/python3
"""The stock Debian guest with virtio disks: one on PCI with packed rings, one at an address with
split ones, one of a format that qemu-storage-daemon knows; folders, of a virtiofsd that the test
starts and of those that qvmd does; and with the smaller virtio devices."""

import hashlib
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
import family  # noqa: E402

SIZE = 32 << 20
COUNT = 3000  # numbers of a file; each line has its own content
OUTSIDE_SIZE = 48 << 20
SECONDS = 120
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
F_RING_PACKED = 34


def is_listened_at(path):
    with open("/proc/net/unix", encoding="utf-8") as file:
        words = [line.split() for line in file]
    return any(len(word) > 7 and word[7] == path and int(word[3], 16) & 0x10000 for word in words)


class DiskTest(debian.DebianTest):
    def image(self, name):
        path = os.path.join(self.qvmd.top, name)
        with open(path, "wb") as file:
            file.truncate(SIZE)
        return path

    def back_end(self, socket, *command):
        """One that listens when this returns."""
        with open(f"{socket}.log", "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.kill)
        while not is_listened_at(socket):
            self.assertIsNone(process.poll(), command)
            time.sleep(0.05)

    def outside(self):
        """The configuration of a disk in a format of its own, and of a folder."""
        disk, files = (os.path.join(self.qvmd.top, name) for name in ("disk.sock", "files.sock"))
        image, folder = os.path.join(self.qvmd.top, "d.qcow2"), os.path.join(self.qvmd.top, "f")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(OUTSIDE_SIZE)],
                       check=True, timeout=SECONDS)
        self.back_end(disk, "qemu-storage-daemon", "--blockdev",
                      f"driver=file,node-name=f,filename={image}", "--blockdev",
                      "driver=qcow2,node-name=d,file=f", "--export",
                      "type=vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,"
                      f"addr.path={disk}")
        os.mkdir(folder)
        with open(os.path.join(folder, "of-the-host"), "w", encoding="utf-8") as file:
            file.write("hello guest\n")
        family.give_programs(debian.BUILD, folder)
        self.back_end(files, VIRTIOFSD, "-f", f"--socket-path={files}", "-o", f"source={folder}")
        return (f"vdev vhost-user loc pci:0:5.0 device blk hostdev {disk}\n"
                f"vdev vhost-user loc pci:0:6.0 device fs tag files hostdev {files}\n"), image, folder

    def shared(self):
        """The configuration of two folders that qvmd has served, one only to be read."""
        folders = [os.path.join(self.qvmd.top, name) for name in ("shared", "read")]
        for folder in folders:
            os.mkdir(folder)
            with open(os.path.join(folder, "of-the-host"), "w", encoding="utf-8") as file:
                file.write("hello guest\n")
        return (f"vdev virtio-fs tag shared hostdev {folders[0]}\n"
                f"vdev virtio-fs tag read hostdev <{folders[1]}\n"), folders[0]

    def only_read(self, console):
        console.run("mkdir -p /read && mount -t virtiofs read /read", SECONDS)
        self.assertEqual(console.run("cat /read/of-the-host"), "hello guest\n")
        self.assertIn("Read-only", console.run("touch /read/new 2>&1; umount /read"))

    def a_folder(self, console, folder, tag="files", count=COUNT):
        console.run(f"mkdir -p /files && mount -t virtiofs {tag} /files", SECONDS)
        self.assertEqual(console.run("cat /files/of-the-host"), "hello guest\n")
        console.run(f"seq {count} >/files/of-the-guest && mkdir /files/new && umount /files",
                    SECONDS)
        with open(os.path.join(folder, "of-the-guest"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "".join(f"{i}\n" for i in range(1, count + 1)))
        self.assertTrue(os.path.isdir(os.path.join(folder, "new")))

    def test_what_debian_writes_is_on_the_host_and_survives_kill_9(self):
        first, second = self.image("first.img"), self.image("second.img")
        definition = debian.debian("disks")
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + (
            f"vdev virtio-blk hostdev {first} serial FIRST packed on\n"
            f"vdev virtio-blk loc mem:feb00000,512 intr ioapic:20 hostdev {second}\n"
            + family.vdevs(self.qvmd.top))
        of_others, outside_image, folder = self.outside()
        of_ours, shared = self.shared()
        definition["sources"][0]["text"] += of_others + of_ours
        self.qvmd.call("guest.start", name="disks", definition=definition)
        console = debian.Console(self.qvmd, "disks")
        self.addCleanup(console.close)
        console.wait_for_shell()
        console.run("load-modules", SECONDS)
        pci, mmio, outside = self.find_disks(console)
        for check, device, image in ((self.a_file_system, pci, first),
                                     (self.a_file_system, mmio, second),
                                     (self.raw_bytes, pci, first), (self.raw_bytes, mmio, second)):
            with self.subTest(f"{check.__name__} on {device}"):
                check(console, device, image)
        with self.subTest("of others"):
            self.a_file_system(console, outside, None)
            self.a_folder(console, folder)
        with self.subTest("folders of qvmd's"):
            self.a_folder(console, shared, "shared", 300)
            self.only_read(console)
        for check in family.CHECKS:
            with self.subTest(check.__name__):
                check(self, console, "disks")
        with self.subTest("after kill -9"):
            self.kill_after_a_flush(console, pci, first)
            subprocess.run(["qemu-img", "check", "-U", "-q", outside_image], check=True,
                           timeout=SECONDS)
        self.assert_nothing_left()

    def find_disks(self, console):
        """The names of the disks: on PCI, at an address, of others."""
        found = {}
        for line in console.run("ls -l /sys/block").splitlines():
            name = line.split("/")[-1]
            if "/virtio" in line and console.run(f"cat /sys/block/{name}/size") == \
                    f"{OUTSIDE_SIZE // 512}\n":
                found["outside"] = name
            elif "/virtio" in line:
                found["pci" if "/pci" in line else "mmio"] = name
        self.assertEqual(len(found), 3, console.run("dmesg | tail -n 20"))
        self.assertEqual(console.run(f"cat /sys/block/{found['pci']}/serial"), "FIRST")
        self.assertEqual(console.run(f"cat /sys/block/{found['mmio']}/size"), f"{SIZE // 512}\n")
        self.assertIn("virtio", console.run("grep virtio /proc/interrupts"))
        for name, is_packed in (("pci", "1"), ("mmio", "0")):
            features = console.run(f"cat /sys/block/{found[name]}/device/features")
            self.assertEqual(features[F_RING_PACKED], is_packed, features)
        return found["pci"], found["mmio"], found["outside"]

    def a_file_system(self, console, device, _image):
        console.run(f"mke2fs /dev/{device} >/dev/null && mkdir -p /mnt && "
                    f"mount -t ext4 /dev/{device} /mnt", SECONDS)
        expected = hashlib.md5("".join(f"{i}\n" for i in range(1, COUNT + 1)).encode()).hexdigest()
        console.run(f"seq {COUNT} >/mnt/numbers && umount /mnt", SECONDS)
        console.run(f"e2fsck -fn /dev/{device} >/dev/null", SECONDS)
        console.run(f"echo 3 >/proc/sys/vm/drop_caches && mount -t ext4 /dev/{device} /mnt")
        self.assertIn(expected, console.run("md5sum /mnt/numbers", SECONDS))
        console.run("umount /mnt")

    def raw_bytes(self, console, device, image):
        """Written by the guest, read by the host; the sum is the guest's own."""
        said = console.run(f"seq 100000 | head -c 524288 | dd of=/dev/{device} bs=64k conv=fsync "
                           f"2>/dev/null; seq 100000 | head -c 524288 | md5sum", SECONDS)
        with open(image, "rb") as file:
            self.assertIn(hashlib.md5(file.read(524288)).hexdigest(), said)

    def kill_after_a_flush(self, console, device, image):
        console.run(f"seq 7 70000 | head -c 262144 | dd of=/dev/{device} bs=64k conv=fsync "
                    "2>/dev/null", SECONDS)
        self.qvmd.call("guest.kill", name="disks")
        self.qvmd.wait("disks", "stopped")
        expected = "".join(f"{i}\n" for i in range(7, 70001)).encode()[:262144]
        with open(image, "rb") as file:
            self.assertEqual(hashlib.md5(file.read(262144)).hexdigest(),
                             hashlib.md5(expected).hexdigest())


if __name__ == "__main__":
    debian.main()
