#!/usr/bin/python3
"""Functions of the host in guests that qvmd runs: a qvm without rights drives them, and the host has
them again afterwards."""

import glob
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import alone  # noqa: E402: only after the line above
import debian  # noqa: E402

CARD, DISK, PLAIN = "0000:00:05.0", "0000:00:06.0", "0000:00:07.0"
EDU = "0000:00:09.0"
EDU_ROM = 0xE0000000 + (9 << 15) + 0x30  # the register of the ninth device's, by ECAM
ROM_WORDS = {0: 0x0004AA55, 0x34: 0x20656874, 0x38: 0x2762616C, 0x7FC: 0xEEEEEEEE}
NOWHERE = 0x40000000  # where the guest has no RAM, and the host has

GUEST = """system {name}
cpu
ram 256M
cmdline "console=ttyS0 quiet"
load {kernel}/vmlinuz
initrd load {initrd}
vdev ser8250
vdev mc146818
vdev pckeyboard
"""
PINGS = 5


class PassTest(debian.DebianTest):
    settings = (f"device card {CARD}", f"device disk {DISK}", f"device plain {PLAIN}",
                f"device edu {EDU}")

    def setUp(self):
        for driver in ("nvme", "e1000e", "e1000", "vfio-pci"):
            subprocess.run(["modprobe", driver], check=True)
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.initrd = alone.make_initrd(self.folder, ["nvme", "e1000e", "e1000"])

    def definition(self, name, *passes):
        text = GUEST.format(name=name, kernel=alone.KERNEL, initrd=self.initrd)
        return debian.qvmtest.definition(text + "".join(f"pass loc {p}\n" for p in passes),
                                         name=f"{name}.qvmconf")

    def start(self, name, *passes):
        self.qvmd.call("guest.start", name=name, definition=self.definition(name, *passes))
        console = debian.Console(self.qvmd, name)
        self.addCleanup(console.close)
        console.wait_for_shell()
        console.run("drivers", alone.PATIENCE_SECONDS)
        return console

    def test_a_guest_of_qvmds_has_three_functions_and_gives_them_back(self):
        console = self.start("a", "pci:0:5.0=pci:0:5.0", "pci:0:5.1=pci:0:6.0", "pci:0:7.0")
        self.reads(console)
        self.pings(console)
        with self.assertRaises(debian.qvmtest.Refused) as refused:
            self.qvmd.call("guest.start", name="b", definition=self.definition("b", "pci:0:6.0"))
        pid = self.qvmd.guest("a")["pid"]
        self.assertIn(f"b.qvmconf:10: device '{DISK}' is held by guest 'a' (pid {pid})",
                      refused.exception.message)
        console.send("reboot -f\n")
        console.wait_for_shell()
        console.run("drivers", alone.PATIENCE_SECONDS)
        self.reads(console)
        self.pings(console)
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.wait("a", "stopped")
        self.assert_home()

    def test_a_card_and_a_disk_work_on_whoever_is_killed_in_the_middle_of_traffic(self):
        passes = ("pci:0:5.0=pci:0:5.0", "pci:0:5.1=pci:0:6.0")
        console = self.start("a", *passes)
        self.busy(console)
        pid = self.qvmd.guest("a")["pid"]
        self.qvmd.restart()
        self.eventually(lambda: self.qvmd.guest("a")["state"] == "running", "not adopted", 30)
        self.assertEqual(self.qvmd.guest("a")["pid"], pid)
        self.reads(console)
        self.qvmd.crash()
        os.kill(pid, signal.SIGKILL)
        self.qvmd.start()
        self.assert_home()
        console = self.start("a", *passes)
        self.reads(console)
        self.pings(console, "eth0")
        self.busy(console)
        os.kill(self.qvmd.guest("a")["pid"], signal.SIGKILL)
        self.assert_home()
        self.host_reads()

    @staticmethod
    def busy(console):
        """From now on the card and the disk have work all the time."""
        console.run("ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0")
        console.run("{ ping -i 0.1 10.0.2.2 >/dev/null & }; { while echo 3 "
                    ">/proc/sys/vm/drop_caches; do head -c 1048576 /dev/nvme0n1 >/dev/null; done & }")

    def host_reads(self):
        disk = f"{alone.DEVICES}/{DISK}/nvme/nvme*/nvme*n1"
        self.eventually(lambda: glob.glob(disk), "the host has no disk", 30)
        with open(f"/dev/{os.path.basename(glob.glob(disk)[0])}", "rb") as file:
            self.assertEqual(hashlib.md5(file.read()).hexdigest(), os.environ["LAB_NVME_MD5"])

    def test_a_device_sends_messages_shows_its_rom_and_reaches_its_guests_ram_alone(self):
        text = "pass loc pci:0:9=pci:0:9.0\n"
        self.qvmd.call("guest.start", name="bare", definition=debian.qvmtest.bare(
            "bare", more=text, image=debian.qvmtest.DEVICES))
        console = debian.Console(self.qvmd, "bare")
        self.addCleanup(console.close)
        self.obey(console, "", "> ")
        self.obey(console, "edu 9 20", "edu: 20 messages")
        self.obey(console, "edudma 9 300000", "edu: 16 bytes there")
        self.shows_its_rom(console)
        self.assertEqual(self.faults(), [])
        self.obey(console, f"edudma 9 {NOWHERE:x}", "edu: it says that it did")
        self.eventually(self.faults, "nothing is told", 20)
        fault, guest = self.faults()[0], self.qvmd.guest("bare")
        self.assertEqual((fault["guest"], fault["pid"]), ("bare", guest["pid"]))
        self.assertIn(f"device '{EDU}' tried to reach address {NOWHERE:#x}", fault["message"])
        self.assertEqual(guest["state"], "running")
        self.obey(console, "edudma 9 300000", "edu: 16 bytes there")
        self.qvmd.call("guest.kill", name="bare")
        self.qvmd.wait("bare", "stopped")
        self.eventually(lambda: self.driver(EDU) == "", f"{EDU} is not let go", 30)

    def obey(self, console, command, answer):
        """The bare guest says that, before its next prompt."""
        if command:
            console.send(command + "\n")
        said, _ = console.read_until("(?m)^> ")
        self.assertIn(answer, said + "> ")
        return said

    def shows_its_rom(self, console):
        """Where the machine has put it, once the guest enables it."""
        said = self.obey(console, f"mem {EDU_ROM:x}", ": 0x")
        place = int(said.split(": 0x")[1].split()[0], 16)
        self.assertNotEqual(place, 0)
        self.obey(console, f"mem {place:x}", ": 0xffffffff")
        self.obey(console, f"poke {EDU_ROM:x} {place | 1:x}", " = ")
        for offset, word in ROM_WORDS.items():
            self.obey(console, f"mem {place + offset:x}", f": {word:#x}")

    def faults(self):
        return [one for one in self.qvmd.events() if one["what"] == "dma-fault"]

    def assert_home(self):
        for bdf, driver in ((CARD, "e1000e"), (DISK, "nvme"), (PLAIN, "e1000")):
            self.eventually(lambda bdf=bdf, driver=driver: self.driver(bdf) == driver,
                            f"{bdf} is not the host's again", alone.PATIENCE_SECONDS)

    def driver(self, bdf):
        try:
            return os.path.basename(os.readlink(f"{alone.DEVICES}/{bdf}/driver"))
        except FileNotFoundError:
            return ""

    def pings(self, console, *names):
        """Through both cards, one after the other: MSI-X, and a card that has INTx alone."""
        for name in names or ("eth0", "eth1"):
            console.run(f"ip link set {name} up && ip addr add 10.0.2.15/24 dev {name}")
            console.run(f"until grep -q 1 /sys/class/net/{name}/carrier; do sleep 0.1; done",
                        alone.PATIENCE_SECONDS)
            before = self.interrupts(console, name)
            said = console.run(f"ping -c {PINGS} -i 0.2 -w 60 10.0.2.2", alone.PATIENCE_SECONDS)
            after = self.interrupts(console, name)
            print(name, before, after, said.splitlines()[-1])
            self.assertIn(f"{PINGS} packets received", said)
            self.assertGreaterEqual(sum(after) - sum(before), PINGS)
            console.run(f"ip addr flush dev {name}; ip link set {name} down")

    def interrupts(self, console, name):
        lines = console.run("cat /proc/interrupts").splitlines()
        return [int(line.split()[1]) for line in lines if re.search(rf"\b{name}\b", line)]

    def reads(self, console):
        said = console.run("md5sum /dev/nvme0n1", alone.PATIENCE_SECONDS)
        self.assertIn(os.environ["LAB_NVME_MD5"], said)


class DoorTest(debian.qvmtest.QvmdTest):
    """What a qvm that has a device may do with its descriptors behind the door, and what not."""

    PORTS = {"vcpu": "5a0", "control": "5a1"}  # of vdev attempt
    # what the bus's reset needs has this number, too; no container is there to be asked
    EXPECTED = {("control", "map_memory_for_devices"): "ENOTTY"}
    TRIED = ("map_memory_for_devices", "take_memory_from_devices", "take_a_device_of_a_group",
             "put_a_group_elsewhere")

    def setUp(self):
        subprocess.run(["modprobe", "vfio-pci"], check=True)
        attempts = os.path.join(debian.BUILD, "tests/attempts")
        self.qvmd = debian.qvmtest.Qvmd(f"device edu {EDU}", vdevs=os.path.join(attempts, "vdevs"))
        self.addCleanup(self.finish)
        with open(os.path.join(debian.TREE, "tests/attempts/attempts.def"), encoding="utf-8") as file:
            self.numbers = re.findall(r"(?m)^ATTEMPT\((\w+),", file.read())

    def test_nobody_maps_memory_or_takes_devices_when_the_guest_runs(self):
        for thread, port in self.PORTS.items():
            for name in self.TRIED:
                with self.subTest(thread=thread, attempt=name):
                    order = f"out_{port}_{self.numbers.index(name):x}"
                    self.start("a", run=order, more="pass loc pci:0:9\nvdev attempt\n"
                               f"neighbour {os.getpid()}\nqvmd {os.getpid()}\nabstract none\n")
                    self.assertEqual(self.outcome(thread, name),
                                     self.EXPECTED.get((thread, name), "SIGSYS"))

    def outcome(self, thread, name):
        path = os.path.join(self.qvmd.home, "log", "a.log")

        def told():
            with open(path, encoding="utf-8", errors="replace") as file:
                return re.findall(rf" attempt: {thread} {name} (\w+)$", file.read(), re.M)

        self.eventually(lambda: told() or self.qvmd.guest("a")["state"] == "failed",
                        f"nothing came of {name}", alone.PATIENCE_SECONDS)
        if self.qvmd.guest("a")["state"] == "failed":
            self.assertIn(f"signal {signal.SIGSYS.value} ", self.qvmd.guest("a")["message"])
            return "SIGSYS"
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.wait("a", "stopped")
        return told()[-1]


if __name__ == "__main__":
    debian.main()
