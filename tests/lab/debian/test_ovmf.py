#!/usr/bin/python3
"""OVMF, an EFI from Debian's package, is the firmware of a guest: it comes to its shell, and it boots an
installed disk from its EFI partition, a raw image, a VHD and a VHDX, with nothing but `rom` and
`vdev virtio-blk`. What it has to remember is kept in flash."""

import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above

EFI = "/usr/share/ovmf/OVMF.fd"  # code and variables in one
CODE = "/usr/share/OVMF/OVMF_CODE.fd"  # and apart: the variables belong into flash below the code
VARIABLES = "/usr/share/OVMF/OVMF_VARS.fd"
GUID = "c3b1f5d6-5f0e-4d0c-9a52-7e1c2b8d4a10"  # of nobody's variables
BOOT_SECONDS = 400  # firmware, boot loader and kernel: 25 on an idle machine
RETURN = "c3"


def keep_cr8_to_kvm():
    """KVM takes the guest's writes of CR8 until its local APIC works, and then lets the processor do
    them, which QEMU does by an assertion that fails: docs/lab.md. So KVM keeps them here."""
    with open("/proc/kallsyms", encoding="ascii") as file:
        address = next(line.split()[0] for line in file
                       if line.split()[2] == "svm_update_cr8_intercept")
    subprocess.run(["lab-ask", "poke", f"0x{address}", RETURN], check=True)


class OvmfTest(debian.DebianTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keep_cr8_to_kvm()

    def start(self, disk, efi=EFI, flash=""):
        size = os.path.getsize(efi)
        base = (4 << 30) - size
        definition = debian.qvmtest.definition(
            f"system disk\nram 512M\nrom {base:#x},{size >> 10}K\nload {base:#x},{efi}\n{flash}"
            f"vdev virtio-blk {disk}\n")
        self.qvmd.call("guest.start", name="disk", definition=definition)
        console = debian.Console(self.qvmd, "disk")
        self.addCleanup(console.close)
        return console

    def boot(self, disk):
        console = self.start(disk)
        before, _ = console.read_until(debian.READY, BOOT_SECONDS)
        self.assertIn("BdsDxe: starting Boot", before)
        self.assertIn("GRUB", before)
        self.assertRegex(console.run("cat /proc/cmdline"), r"^BOOT_IMAGE=/boot/vmlinuz\S* root=UUID=")
        self.assertRegex(console.run("cat /proc/mounts"), r"(?m)^/dev/vda3 / ext4 ro")
        self.assertIn("runtime", console.run("ls /sys/firmware/efi"))
        self.assertRegex(console.run("ls /sys/firmware/acpi/tables"), r"DSDT\s+FACP\s+FACS\s+MCFG")
        console.send("/bin/busybox poweroff -f\n")
        self.qvmd.wait("disk", "stopped", debian.ANSWER_SECONDS * 1000)

    def test_it_comes_to_its_shell_and_switches_off(self):
        """From a disk that has no EFI partition nothing is booted."""
        console = self.start(f"hostdev <{debian.GUEST}/small.img")
        console.read_until("Shell> ", BOOT_SECONDS)
        console.send("map\r")
        console.read_until(r"HD\(1,MBR", debian.ANSWER_SECONDS)
        console.send("reset -s\r")
        self.qvmd.wait("disk", "stopped", debian.ANSWER_SECONDS * 1000)

    def shell(self, variables):
        console = self.start(f"hostdev <{debian.GUEST}/small.img", CODE,
                             f"vdev flash hostdev {variables}\n")
        console.read_until("Shell> ", BOOT_SECONDS)
        return console

    def switch_off(self, console, words):
        console.send(words)
        self.qvmd.wait("disk", "stopped", debian.ANSWER_SECONDS * 1000)

    def test_variables_in_flash_outlive_the_vm(self):
        """One that its shell sets is found by Linux, and what Linux sets is in the file."""
        directory = tempfile.TemporaryDirectory(prefix="qvm-ovmf-")
        self.addCleanup(directory.cleanup)
        variables = f"{directory.name}/web.vars"
        shutil.copyfile(VARIABLES, variables)
        console = self.shell(variables)
        console.send(f"setvar shells -guid {GUID} -bs -rt -nv =0x7470656b\r")
        console.read_until("Shell> ", debian.ANSWER_SECONDS)
        self.switch_off(console, "reset -s\r")

        console = self.start(f"hostdev <{debian.GUEST}/efi.img", CODE,
                             f"vdev flash hostdev {variables}\n")
        console.read_until(debian.READY, BOOT_SECONDS)
        console.run("modprobe efivarfs")
        console.run("mount -t efivarfs none /sys/firmware/efi/efivars")
        self.assertIn("kept", console.run(f"cat /sys/firmware/efi/efivars/shells-{GUID}"))
        console.run(rf"printf '\007\000\000\000LinuxKept' > /sys/firmware/efi/efivars/linux-{GUID}")
        self.switch_off(console, "/bin/busybox poweroff -f\n")

        with open(variables, "rb") as file:
            self.assertIn(b"LinuxKept", file.read())

    def test_it_boots_a_raw_disk(self):
        self.boot(f"hostdev <{debian.GUEST}/efi.img")

    def test_it_boots_a_fixed_vhd(self):
        self.boot(f"hostdev <{debian.GUEST}/efi.vhd")

    def test_it_boots_a_vhdx(self):
        self.boot(f"format vhdx hostdev <{debian.GUEST}/efi.vhdx")


if __name__ == "__main__":
    debian.main()
