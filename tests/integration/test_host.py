#!/usr/bin/env python3
"""What the machine has and who has it: host.show, device.list, and the commands that show them."""

import contextlib
import glob
import json
import os
import socket
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

from machine_tree import MachineTree
from qvmtest import BUILD, QvmdTest, main

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")
KOBJECT_UEVENT = 15


class HostBase(QvmdTest):
    def qvmctl(self, *words, status=0):
        done = subprocess.run([QVMCTL, "--socket", self.qvmd.socket, *words], text=True,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def rows(self, *words):
        """A table by the words of its first column."""
        lines = self.qvmctl(*words).stdout.splitlines()
        return {line.split()[0]: line.split() for line in lines[1:]}


class PreparedTest(HostBase):
    """On a machine with two nodes and five functions."""

    crashing = True  # a test build reads another machine than its own

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="qvm-machine-")
        self.addCleanup(holder.cleanup)
        self.machine = MachineTree(holder.name)
        self.machine.node(0, "0", nr=8, free=3)
        self.machine.node(1, "1")
        self.machine.put("/sys/devices/system/cpu/isolated", "1\n")
        self.machine.function("0000:00:00.0", **{"class": "0x060000"})
        self.machine.function("0000:00:02.0", group=2, driver="vfio-pci")
        self.machine.function("0000:00:03.0", group=2)
        place = self.machine.function("0000:00:04.0", group=4, driver="nvme",
                                      **{"class": "0x010802"})
        self.machine.function("0000:00:05.0", group=5, driver="vfio-pci")
        for name in ("/sys/dev/block/259:0", "/sys/class/block/nvme0n1"):
            self.machine.link(name, f"../../{place}/nvme/nvme0/nvme0n1")
        os.environ["QVM_HOST_ROOT"] = holder.name
        self.addCleanup(os.environ.pop, "QVM_HOST_ROOT")
        super().setUp()

    def test_devices_are_listed_with_why_one_cannot_be_given(self):
        self.assertEqual({bdf: row[6] for bdf, row in self.rows("device").items()}, {
            "0000:00:00.0": "bridge", "0000:00:02.0": "free", "0000:00:03.0": "free",
            "0000:00:04.0": "free", "0000:00:05.0": "free"})
        self.machine.put("/proc/1/mountinfo", "30 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n")
        self.machine.put("/sys/devices/pci0000:00/0000:00:02.0/sriov_totalvfs", "1\n")
        self.machine.link("/sys/devices/pci0000:00/0000:00:02.0/virtfn0", "../0000:00:02.1")
        self.assertEqual(self.rows("device", "list", "*:04.0")["0000:00:04.0"][6], "host")
        told = self.qvmctl("device", "list", "-w", "0000:00:04.0").stdout
        self.assertIn("is used by the host: disk 'nvme0n1' is mounted on '/srv'", told)

    def test_qvmd_does_not_wait_for_a_device_that_does_not_answer(self):
        """Of the first function configuration space cannot even be opened; the last is a bridge."""
        place = "/sys/bus/pci/devices/{}/config"
        waits = f"{os.environ['QVM_HOST_ROOT']}{place.format('0000:00:00.0')}"
        self.qvmd.stop()
        os.mkfifo(waits)
        self.machine.put(place.format("0000:00:05.0"), "\0" * 14 + "\1" + "\0" * 49)
        self.qvmd.start()
        with self.qvmd.client() as client:
            listed = client.call("device.list")["devices"]
        self.assertEqual(len(listed), 5)
        self.assertFalse(listed[-1].get("bridge"))
        self.assertEqual(self.rows("device")["0000:00:05.0"][6], "free")
        writers = []
        self.addCleanup(lambda: [os.close(fd) for fd in writers])

        def somebody_waits():
            with contextlib.suppress(OSError):  # nobody has it open
                writers.append(os.open(waits, os.O_WRONLY | os.O_NONBLOCK))
            return writers

        self.eventually(somebody_waits, "nobody looks at it")
        self.eventually(lambda: self.rows("device")["0000:00:05.0"][6] == "bridge",
                        "those behind it are not looked at")

    def test_a_group_goes_as_a_whole(self):
        self.machine.put("/proc/1/net/route",
                         "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
        self.machine.link("/sys/class/net/eth0",
                          "../../devices/pci0000:00/0000:00:02.0/net/eth0")
        devices = {one["bdf"]: one for one in self.qvmd.call("device.list")["devices"]}
        self.assertEqual(devices["0000:00:02.0"]["use"], "interface 'eth0' has the default route")
        self.assertEqual(devices["0000:00:03.0"]["refusal"],
                         "'0000:00:03.0' shares IOMMU group 2 with '0000:00:02.0', which the host "
                         "uses: interface 'eth0' has the default route; give the host another one "
                         "first")
        self.assertEqual(self.rows("device")["0000:00:03.0"][6], "group")

    def test_one_device_is_shown_whole_and_another_is_not_there(self):
        told = self.qvmctl("device", "show", "0000:00:05.0").stdout
        for words in ("device           0000:00:05.0", "iommu group      5", "reset            flr bus",
                      "driver           vfio-pci", "state            free"):
            self.assertIn(words, told)
        one = json.loads(self.qvmctl("device", "show", "-o", "jsonl", "0000:00:05.0").stdout)
        self.assertEqual(one["iommu_group"], 5)
        self.assertIn("there is no PCI function '0000:00:06.0'",
                      self.qvmctl("device", "show", "0000:00:06.0", status=1).stderr)
        self.qvmctl("device", "show", status=2)
        self.qvmctl("device", "clear", status=2)
        self.assertEqual(self.qvmctl("device", "clear", "0000:00:05.0").stderr,
                         "qvmctl: device '0000:00:05.0': it was not set aside\n")
        self.assertIn("there is no PCI function '0000:00:06.0'",
                      self.qvmctl("device", "clear", "0000:00:06.0", status=1).stderr)
        self.assertIn("'x' is no device of the host's pool, and no BDF",
                      self.qvmctl("device", "clear", "x", status=1).stderr)
        self.assertEqual([(one["method"], one["device"], one["result"])
                          for one in self.qvmd.call("host.audit")["records"]
                          if one["method"] == "device.clear"],
                         [("device.clear", "0000:00:05.0", "ok"),
                          ("device.clear", "0000:00:06.0", "no-such-file"),
                          ("device.clear", "x", "no-such-file")])
        self.qvmctl("device", "drop", status=2)

    def test_who_cannot_hear_the_kernel_says_so_and_notices_what_has_changed(self):
        self.assertIn("whose kernel could be heard", self.qvmd.call("host.info")["deaf"])
        self.assertRegex(self.qvmctl("info").stdout, "(?m)^not followed +.*could be heard")
        self.assertIn("whose kernel could be heard", self.qvmd.call("host.show")["deaf"])
        self.machine.function("0000:00:06.0", group=6)
        self.assertEqual(self.rows("device")["0000:00:06.0"][6], "free")
        os.unlink(self.machine.root + "/sys/bus/pci/devices/0000:00:06.0")
        self.assertNotIn("0000:00:06.0", self.rows("device"))
        self.assertEqual([(one["what"], one["message"]) for one in self.qvmd.events()
                          if one["what"].startswith("device-")], [
            ("device-added", "PCI function '0000:00:06.0' (8086:10d3, class 020000) has appeared"),
            ("device-removed",
             "PCI function '0000:00:06.0' (8086:10d3, class 020000) has vanished")])

    def test_the_map_is_text_or_a_picture(self):
        self.start("web")
        told = self.qvmctl("map").stdout
        for words in ("CPUS\n", "\n  0              node 0 ", "shared by\n                  web\n",
                      "a web 16MiB", "  group 2        0000:00:02.0  ethernet       free\n"
                      "                 0000:00:03.0  ethernet       free\n",
                      "  no group       0000:00:00.0  host-bridge    bridge\n"):
            self.assertIn(words, told)
        picture = xml.etree.ElementTree.fromstring(self.qvmctl("map", "--svg").stdout)
        titles = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}title")]
        self.assertIn("web: 16MiB", titles)
        self.assertIn("0000:00:05.0: free", titles)

    def test_nodes_memory_and_cpus_are_told(self):
        host = self.qvmd.call("host.show")
        self.assertEqual((host["model"], host["cpus"], host["isolated"]), ("Prepared CPU", 2, "1"))
        self.assertEqual((host["memory"], host["devices"], host["iommu_groups"]), (4 << 30, 5, 3))
        self.assertEqual(host["nodes"][0]["huge_pages"],
                         [{"size": 2 << 20, "total": 8, "free": 3}])
        told = self.qvmctl("host").stdout
        self.assertIn("8 of 2MiB (3 free)", told)
        self.assertRegex(told, r"(?m)^isolated +1$")


class RealTest(HostBase):
    """On the machine that it runs on, whatever that is."""

    def test_the_machine_itself_is_told(self):
        host = self.qvmd.call("host.show")
        self.assertEqual(host["kernel"].split()[1], os.uname().release)
        self.assertGreater(host["memory"], 0)
        names = sorted(os.listdir("/sys/bus/pci/devices")) \
            if os.path.isdir("/sys/bus/pci/devices") else []
        told = self.qvmctl("device", "list", "-o", "name").stdout.split()
        self.assertEqual(sorted(told), names)
        self.assertIn("cpus", self.qvmctl("host").stdout)

    def test_devices_are_followed_unless_the_kernel_cannot_be_heard(self):
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, KOBJECT_UEVENT) as heard:
                heard.bind((0, 1))
            self.assertNotIn("deaf", self.qvmd.call("host.show"))
        except OSError:
            self.assertIn("cannot be heard", self.qvmd.call("host.show")["deaf"])


@unittest.skipUnless(os.environ.get("LAB") == "1", "needs the lab's devices and its IOMMU")
class LabTest(HostBase):
    """On a machine with an IOMMU: a network card and an NVMe disk that nobody uses, and slots."""

    NIC, DISK = "0000:00:03.0", "0000:00:04.0"

    def device(self, bdf):
        return next((one for one in self.qvmd.call("device.list")["devices"]
                     if one["bdf"] == bdf), None)

    def cards(self):
        return [one["bdf"] for one in self.qvmd.call("device.list")["devices"]
                if one["class"] == 0x020000]

    def told(self, what):
        return [one["message"] for one in self.qvmd.events() if one["what"] == what]

    def test_real_functions_are_free_each_in_a_group_of_its_own(self):
        nic, disk = self.device(self.NIC), self.device(self.DISK)
        self.assertEqual((nic["class"], disk["class"]), (0x020000, 0x010802))
        for one in (nic, disk):
            self.assertNotIn("refusal", one)
            self.assertNotIn("driver", one)
            self.assertTrue(one["reset"], one)
            self.assertTrue(one["bars"], one)
        self.assertNotEqual(nic["iommu_group"], disk["iommu_group"])
        self.eventually(lambda: self.device(self.NIC).get("serial", "").count("-") == 7,
                        "its serial number is not known")
        self.assertGreater(self.qvmd.call("host.show")["iommu_groups"], 2)
        self.assertEqual(self.rows("device")[self.NIC][6], "free")
        self.assertEqual(self.qvmctl("map").stdout.count(" free\n"),
                         sum(row[6] == "free" for row in self.rows("device").values()))

    def test_a_disk_is_the_hosts_as_long_as_it_is_mounted(self):
        subprocess.run(["modprobe", "nvme"], check=True, timeout=60)
        self.addCleanup(subprocess.run, ["modprobe", "-r", "nvme"], timeout=60, check=False)
        disk = f"/sys/bus/pci/devices/{self.DISK}/nvme"
        self.eventually(lambda: glob.glob(disk + "/nvme*/nvme*n1"), "the disk is not there")
        name = os.path.basename(glob.glob(disk + "/nvme*/nvme*n1")[0])
        self.eventually(lambda: os.path.exists("/dev/" + name), "its node is not there")
        self.assertEqual(self.device(self.DISK)["driver"], "nvme")
        subprocess.run(["modprobe", "ext4"], check=True, timeout=60)
        subprocess.run(["mkfs.ext4", "-q", "/dev/" + name], check=True, timeout=60)
        with tempfile.TemporaryDirectory() as place:
            subprocess.run(["mount", "/dev/" + name, place], check=True, timeout=60)
            refusal = self.device(self.DISK).get("refusal")
            subprocess.run(["umount", place], check=True, timeout=60)
        self.assertEqual(refusal, f"'{self.DISK}' is used by the host: disk '{name}' is mounted on "
                                  f"'{place}'; unmount it first")
        self.assertNotIn("refusal", self.device(self.DISK))

    def test_a_card_that_is_plugged_in_and_out_is_told_and_listed(self):
        self.assertNotIn("deaf", self.qvmd.call("host.show"))
        before = self.cards()
        subprocess.run(["lab-ask", "device_add", "e1000e,id=nic1,netdev=n1,bus=slot0"], check=True,
                       timeout=60)
        self.eventually(lambda: self.told("device-added"), "nothing appeared", 60)
        (new,) = set(self.cards()) - set(before)
        self.assertIn(f"'{new}' (8086:10d3, class 020000) has appeared", self.told("device-added")[0])
        self.eventually(lambda: self.device(new)["bars"], "it has no addresses")
        subprocess.run(["lab-ask", "device_del", "nic1"], check=True, timeout=60)
        self.eventually(lambda: self.told("device-removed"), "nothing vanished", 60)
        self.assertIn(f"'{new}' (8086:10d3, class 020000) has vanished",
                      self.told("device-removed")[0])
        self.assertEqual(self.cards(), before)


if __name__ == "__main__":
    main()
