#!/usr/bin/python3
"""The stock Debian guest with a disk in each format, a folder and a block device of its host: file
systems are sound when helpers were killed under load, what is discarded is the host's again, and
disks grow while the guest runs."""

import hashlib
import os
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above

MIB = 1 << 20
SECONDS = 120
COUNT = 3000  # numbers of a file
FILES, LINES = 8, 5000  # what is written while a helper is killed

HOLES = ("raw", "vhd", "qcow2")  # the others have none: what is discarded keeps its blocks

# format of the configuration: QEMU's name, how qemu-img makes it, bytes, whether a helper serves it
FORMATS = {
    "raw": ("raw", (), 40 * MIB, False),
    "vhd": ("vpc", ("-o", "subformat=fixed,force_size=on"), 44 * MIB, False),
    "vhd-dynamic": ("vpc", ("-o", "subformat=dynamic,force_size=on"), 48 * MIB, True),
    "vhdx": ("vhdx", (), 52 * MIB, True),
    "qcow2": ("qcow2", (), 56 * MIB, True),
}
WRITES_ON = "rm -f /tmp/at; until [ -s /tmp/at ]; do :; done"  # one more file is whole
GROWN = 64 * MIB
LOOP_SIZE, LOOP_GROWN = 16 * MIB, 24 * MIB


class HelpersTest(debian.DebianTest):
    def path(self, name):
        return os.path.join(self.qvmd.top, name)

    def image(self, kind):
        driver, how, size, _ = FORMATS[kind]
        subprocess.run(["qemu-img", "create", "-q", "-f", driver, *how, self.path(kind), str(size)],
                       check=True, timeout=SECONDS)
        return f"vdev virtio-blk name {kind} format {kind} hostdev {self.path(kind)}\n"

    def loop(self):
        """A block device of the host, made of a file."""
        with open(self.path("loop"), "wb") as file:
            file.truncate(LOOP_SIZE)
        subprocess.run(["modprobe", "loop"], check=True)
        device = subprocess.run(["losetup", "-f", "--show", self.path("loop")], check=True,
                                timeout=SECONDS, capture_output=True, text=True).stdout.strip()
        self.addCleanup(subprocess.run, ["losetup", "-d", device], check=True)
        return device

    def folder(self):
        os.mkdir(self.path("shared"))
        with open(self.path("shared/of-the-host"), "w", encoding="utf-8") as file:
            file.write("hello guest\n")
        return f"vdev virtio-fs tag shared hostdev {self.path('shared')}\n"

    def find_disks(self, console):
        """The guest's name of each, by its size."""
        kinds = {size: kind for kind, (_, _, size, _) in FORMATS.items()} | {LOOP_SIZE: "loop"}
        found = {}
        for line in console.run("cd /sys/block && for i in vd*; do echo $i $(cat $i/size); done; "
                                "cd /").splitlines():
            name, sectors = line.split()
            found[kinds.get(512 * int(sectors))] = name
        self.assertEqual(set(found), set(kinds.values()))
        return found

    def boot_all(self):
        definition = debian.debian("helped")
        self.loop_device = self.loop()
        definition["sources"][0]["text"] = definition["sources"][0]["text"].replace(
            "initrd.img", "initrd-disk.img") + "".join(map(self.image, FORMATS)) + (
            f"vdev virtio-blk name loop hostdev {self.loop_device}\n") + self.folder()
        self.qvmd.call("guest.start", name="helped", definition=definition)
        console = debian.Console(self.qvmd, "helped")
        self.addCleanup(console.close)
        console.wait_for_shell()
        console.run("load-modules && mkdir -p /mnt /files", SECONDS)
        return console

    def kill_helper_of(self, name):
        """Of that image or folder; another one follows it."""
        pid = self.qvmd.rows("SELECT pid FROM helper WHERE path LIKE ?",
                             f"%{self.path(name)}")[0][0]
        known = self.count_again()
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: self.count_again() > known, "no other helper", SECONDS)

    def count_again(self):
        return len([event for event in self.qvmd.events(guest="helped")
                    if event["what"] == "helper-again"])

    def a_file_system(self, console, kind, disk):
        """What was flushed and what was not outlives the helper; so does the file system."""
        console.run(f"mke2fs /dev/{disk} >/dev/null && mount -t ext4 /dev/{disk} /mnt && "
                    f"seq {COUNT} >/mnt/numbers", SECONDS)
        console.run("rm -f /tmp/at /tmp/enough; (i=0; until [ -e /tmp/enough ]; do "
                    f"seq {LINES} >/mnt/many$i && sync && echo $i >/tmp/at || exit; "
                    f"i=$(((i + 1) % {FILES})); done) & true", SECONDS)
        console.run(WRITES_ON, SECONDS)
        if FORMATS[kind][3]:
            self.kill_helper_of(kind)  # which falls into the writing: it does not end by itself
        console.run(f"{WRITES_ON}; touch /tmp/enough; wait", SECONDS)
        console.run(f"umount /mnt && e2fsck -fn /dev/{disk} >/dev/null && "
                    f"echo 3 >/proc/sys/vm/drop_caches && mount -t ext4 /dev/{disk} /mnt && "
                    f"seq {LINES} >/tmp/many && (for i in /mnt/many*; do "
                    "cmp /tmp/many $i || exit 1; done) && "
                    f"seq {COUNT} | cmp - /mnt/numbers && umount /mnt", SECONDS)

    def discards(self, kind):
        """What `qvmctl show` says of them."""
        vdevs = self.qvmd.call("guest.show", name="helped")["vdevs"]
        found = next(vdev for vdev in vdevs if vdev["name"] == kind)
        return {value["name"]: value["value"] for value in found["values"]}["discards"]

    def discard(self, console, kind, disk):
        """What is written takes room; what is discarded does not, or cannot be discarded."""
        def room():
            os.sync()
            return os.stat(self.path(kind)).st_blocks * 512

        console.run(f"dd if=/dev/zero bs=64k count={8 * MIB >> 16} 2>/dev/null | tr '\\0' x | "
                    f"dd of=/dev/{disk} bs=64k conv=fsync 2>/dev/null", SECONDS)
        full = room()
        if kind not in HOLES:
            self.assertEqual(self.discards(kind), "not offered")
            console.run(f"! blkdiscard -o 0 -l {8 * MIB} /dev/{disk} 2>/dev/null && "
                        "echo 3 >/proc/sys/vm/drop_caches")
            self.assertIn(hashlib.md5(b"x" * MIB).hexdigest(),
                          console.run(f"dd if=/dev/{disk} bs=64k count=16 2>/dev/null | md5sum"))
            return
        console.run(f"blkdiscard -o 0 -l {8 * MIB} /dev/{disk} && sync", SECONDS)
        self.assertIn(hashlib.md5(bytes(MIB)).hexdigest(),
                      console.run(f"dd if=/dev/{disk} bs=64k count=16 2>/dev/null | md5sum"))
        self.eventually(lambda: room() <= full - 6 * MIB, lambda: f"{kind}: {full}, {room()}", 20)

    def grow(self, console, vdev, disk, size):
        """The guest sees the size, and what it writes at the end is where it belongs."""
        self.ctl("resize", "helped", vdev)
        console.run(f"until [ $(cat /sys/block/{disk}/size) = {size // 512} ]; do :; done", SECONDS)
        console.run(f"seq 50000 | head -c 65536 | dd of=/dev/{disk} bs=64k conv=fsync "
                    f"seek={size // 65536 - 1} 2>/dev/null", SECONDS)
        expected = "".join(f"{i}\n" for i in range(1, 50001)).encode()[:65536]
        with open(self.path(vdev), "rb") as file:
            file.seek(size - 65536)
            self.assertEqual(file.read(65536), expected)

    def a_folder(self, console):
        """It is mounted anew: its next helper knows nothing of what was open."""
        console.run("mount -t virtiofs shared /files && cat /files/of-the-host", SECONDS)
        console.begin("while echo more >>/files/log; do :; done 2>/dev/null; true")
        self.eventually(lambda: os.path.exists(self.path("shared/log")), "nobody writes", SECONDS)
        self.kill_helper_of("shared")
        console.finish(SECONDS)
        console.run("umount /files; mount -t virtiofs shared /files", SECONDS)
        self.assertEqual(console.run("cat /files/of-the-host"), "hello guest\n")
        console.run("umount /files")

    def test_disks_in_each_format_and_a_folder_outlive_their_helpers(self):
        console = self.boot_all()
        disks = self.find_disks(console)
        for kind in FORMATS:
            with self.subTest(kind):
                self.in_turn(lambda kind=kind: self.a_file_system(console, kind, disks[kind]))
        with self.subTest("discard"):
            for kind in FORMATS:
                self.discard(console, kind, disks[kind])
        with self.subTest("folder"):
            self.a_folder(console)
        with self.subTest("growing"):
            os.truncate(self.path("raw"), GROWN)
            self.grow(console, "raw", disks["raw"], GROWN)
            os.truncate(self.path("loop"), LOOP_GROWN)
            subprocess.run(["losetup", "-c", self.loop_device], check=True, timeout=SECONDS)
            self.grow(console, "loop", disks["loop"], LOOP_GROWN)
        self.qvmd.call("guest.kill", name="helped")
        self.qvmd.wait("helped", "stopped")
        self.eventually(lambda: self.qvmd.rows("SELECT pid FROM helper") == [], "helpers stay",
                        SECONDS)
        for kind in ("vhdx", "qcow2"):  # qemu-img has no check for VHD
            done = subprocess.run(["qemu-img", "check", "-f", kind, self.path(kind)],
                                  timeout=SECONDS, capture_output=True, check=False)
            self.assertIn(done.returncode, (0, 3), done)  # what nobody refers to is no damage
        self.assert_nothing_left()


if __name__ == "__main__":
    debian.main()
