#!/usr/bin/python3
"""An installed disk that qvmimage made boots with nothing but `rom` and `vdev virtio-blk` through
SeaBIOS, from a raw image and from a VHD, and through U-Boot's EFI: the kernel, its initrd and the root come from the disk alone."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above

EFI = "/usr/lib/u-boot/qemu-x86_64/u-boot.rom"
BIOS = "/usr/share/seabios/bios-256k.bin"
BOOT_SECONDS = 500  # firmware, boot loader, and a kernel that unpacks itself: 60 on an idle machine


class BootimageTest(debian.DebianTest):
    def boot(self, name):
        definition = debian.qvmtest.definition(
            f"system disk\nram 512M\nrom 0xfffc0000,256K\nload 0xfffc0000,{BIOS}\n"
            f"vdev virtio-blk hostdev <{debian.GUEST}/{name}\n")
        self.qvmd.call("guest.start", name="disk", definition=definition)
        console = debian.Console(self.qvmd, "disk")
        self.addCleanup(console.close)
        before, _ = console.read_until(debian.READY, BOOT_SECONDS)
        self.assertIn("SeaBIOS", before)
        self.assertIn("GRUB", before)
        self.assertRegex(console.run("cat /proc/cmdline"), r"^BOOT_IMAGE=/boot/vmlinuz\S* root=UUID=")
        self.assertRegex(console.run("cat /proc/mounts"), r"(?m)^/dev/vda1 / ext4 ro")
        self.assertEqual(console.run("cat /etc/recipe"), "made by qvmimage\n")
        console.send("/bin/busybox poweroff -f\n")
        self.qvmd.wait("disk", "stopped", debian.ANSWER_SECONDS * 1000)

    def test_a_raw_disk_boots_through_seabios(self):
        self.boot("small.img")

    def test_a_fixed_vhd_boots_through_seabios(self):
        self.boot("small.vhd")

    def test_an_efi_starts_the_kernel_from_the_disk(self):
        """U-Boot as the firmware. What its EFI does at run time, it does wrongly: not used."""
        definition = debian.qvmtest.definition(
            "system disk\nram 512M\nrom 0xfff00000,1M\n"
            f"load 0xfff00000,{EFI}\n"
            f"vdev virtio-blk loc pci:0:3 hostdev <{debian.GUEST}/small.img\n")
        self.qvmd.call("guest.start", name="disk", definition=definition)
        console = debian.Console(self.qvmd, "disk")
        self.addCleanup(console.close)
        console.read_until("Hit any key", BOOT_SECONDS)
        console.send(" ")
        console.read_until("=> ", BOOT_SECONDS)
        console.send("virtio scan\rls virtio 0:1 /boot\r")
        release = console.read_until(r"vmlinuz-(\S+)\s", BOOT_SECONDS)[1][1]
        console.send("setenv bootargs console=ttyS0 root=/dev/vda1 ro efi=noruntime "
                     f"initrd=/boot/initrd.img-{release}\r"
                     f"load virtio 0:1 0x4000000 /boot/vmlinuz-{release}\rbootefi 0x4000000\r")
        console.read_until("EFI stub: Loaded initrd", BOOT_SECONDS)
        console.read_until(debian.READY, BOOT_SECONDS)
        self.assertRegex(console.run("cat /proc/mounts"), r"(?m)^/dev/vda1 / ext4 ro")
        console.send("/bin/busybox poweroff -f\n")
        console.read_until("reboot: Power (down|off)", debian.ANSWER_SECONDS)


if __name__ == "__main__":
    debian.main()
