#!/usr/bin/python3
"""The host's devices go to guests and come back, whatever dies when. In the lab, with a qvm that has
no guest (tests/fake/borrower.c): what is tried here is qvmd."""

import base64
import contextlib
import glob
import hashlib
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../integration"))

from qvmtest import BUILD, QVM, QvmdTest, Refused, definition, main  # noqa: E402

BORROWER = os.path.join(BUILD, "tests", "integration", "fake_borrower")
DEVICES = "/sys/bus/pci/devices"
CARD, USED, DISK, PLAIN = "0000:00:05.0", "0000:00:03.0", "0000:00:06.0", "0000:00:07.0"
SPARE = "0000:00:04.0"  # a disk of zeros; what is written there stays
ZEROS, EDU = "0000:00:08.0", "0000:00:08.1"  # one IOMMU group
WHOLE, VIRTUAL = "0000:00:0a.0", ("0000:00:0a.1", "0000:00:0a.2")
LINES = "0000:00:0b.0"  # a serial card
BRIDGE, NOTHING, LONELY = "0000:00:10.0", "0000:ff:1f.7", "0000:00:09.0"
HOT = "0000:01:00.0"
HOMES = {CARD: "e1000e", USED: "e1000e", DISK: "nvme", SPARE: "nvme", PLAIN: "e1000",
         ZEROS: "nvme", EDU: "", WHOLE: "nvme", LONELY: "", LINES: "serial"}
POOL = (f"device card {CARD} id 8086:10d3", f"device disk {DISK}", f"device plain {PLAIN}",
        f"device zeros {ZEROS}", f"device edu {EDU}")


def driver(bdf):
    try:
        return os.path.basename(os.readlink(f"{DEVICES}/{bdf}/driver"))
    except FileNotFoundError:
        return ""


def read(bdf, name):
    with open(f"{DEVICES}/{bdf}/{name}", encoding="ascii") as file:
        return file.read().strip()


def change_driver(bdf, override):
    """As an operator does it by hand; "": back to whoever wants it."""
    if driver(bdf):
        write(f"{DEVICES}/{bdf}/driver/unbind", bdf)
    write(f"{DEVICES}/{bdf}/driver_override", override + "\n")
    with contextlib.suppress(OSError):  # nobody wants it
        write("/sys/bus/pci/drivers_probe", bdf)


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def interface(bdf):
    return os.listdir(f"{DEVICES}/{bdf}/net")[0]


def prepare():
    """The host's own drivers have all of them, as on any host."""
    for module in ("nvme", "e1000e", "e1000", "vfio-pci", "ext4"):
        subprocess.run(["modprobe", module], check=True)


class Devices:
    """What the tests have in common, whoever makes their qvmd."""

    worker = BORROWER

    def setUp(self):
        self.addCleanup(self.bring_home)  # after qvmd's end, which may have come too early
        super().setUp()

    @staticmethod
    def bring_home():
        for bdf, home in HOMES.items():
            if (driver(bdf), read(bdf, "driver_override")) != (home, "(null)"):
                change_driver(bdf, "")

    def reconfigure(self, *lines):
        self.qvmd.stop()
        with open(self.qvmd.config, "a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        self.qvmd.start()

    def borrow(self, name, *ids):
        words = " ".join(f"device:{one}" for one in ids)
        return self.qvmd.call("guest.start", name=name, definition=definition(words))["guest"]

    def why_not(self, name, *ids):
        with self.assertRaises(Refused) as caught:
            self.borrow(name, *ids)
        return caught.exception.message

    def log(self, name):
        return base64.b64decode(self.qvmd.call("guest.log", name=name)["data"]).decode()

    def held(self):
        return sorted(row[0] for row in
                      self.qvmd.rows("SELECT resource FROM claim WHERE kind = 'device'"))

    def disk_of(self, bdf):
        disk = f"{DEVICES}/{bdf}/nvme/nvme*/nvme*n1"
        self.eventually(lambda: glob.glob(disk), "no disk", 20)
        return os.path.basename(glob.glob(disk)[0])

    def assert_home(self, *bdfs):  # I5
        """They are nobody's, and their drivers have them again."""
        self.eventually(lambda: not set(bdfs) & set(self.held()), "I4: devices are held on to", 30)
        for bdf in bdfs:
            self.assertEqual((driver(bdf), read(bdf, "driver_override")), (HOMES[bdf], "(null)"),
                             f"I5: {bdf}")
        rows = self.qvmd.rows("SELECT bdf FROM device")
        self.assertFalse({row[0] for row in rows} & set(bdfs), "I5: it is not written back")


TRACING = "/sys/kernel/tracing"
CLOSED = "vfio_pci_core_close_device"


class Closers:
    """Who has closed devices for the last time, and so waited for their reset: pids."""

    def __enter__(self):
        if not os.path.exists(TRACING + "/trace"):
            subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True)
        write(TRACING + "/set_ftrace_filter", CLOSED)
        write(TRACING + "/current_tracer", "function")
        write(TRACING + "/trace", "")
        return self

    def __exit__(self, *_):
        write(TRACING + "/current_tracer", "nop")

    @staticmethod
    def pids():
        with open(TRACING + "/trace", encoding="utf-8", errors="replace") as trace:
            return [int(pid) for pid in re.findall(r"-(\d+) +[(\[].*" + CLOSED, trace.read())]


class Syncs:
    """How often a process waits for a disk: the kernel counts the calls."""

    place = TRACING + "/instances/syncs"

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        if not os.path.exists(TRACING + "/trace"):
            subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True)
        os.mkdir(self.place)
        for call in ("fsync", "fdatasync"):
            write(f"{self.place}/events/syscalls/sys_enter_{call}/filter",
                  f"common_pid == {self.pid}")
            write(f"{self.place}/events/syscalls/sys_enter_{call}/enable", "1")
        return self

    def __exit__(self, *_):
        os.rmdir(self.place)

    def count(self):
        with open(self.place + "/trace", encoding="utf-8", errors="replace") as trace:
            return sum(1 for line in trace if "sync(fd:" in line)


class DeviceTest(Devices, QvmdTest):
    settings = (*POOL, "spares 0")

    def end(self, name):
        self.qvmd.call("guest.kill", name=name)
        self.qvmd.wait(name, "stopped")

    def test_a_guest_gets_container_group_and_device_of_what_it_asks_for(self):
        self.borrow("a", "card", DISK)
        log = self.log("a")
        self.assertIn("borrower: 6 descriptors", log)
        self.assertIn("borrower: mapped 0", log)
        self.assertIn(f"borrower: may lock {(16 + 64) << 20}", log)  # its RAM, and not much more
        self.assertIn("borrower: device 8086:10d3, its group in the container", log)
        self.assertIn("borrower: device 1b36:0010, its group in the container", log)
        self.assertEqual(self.held(), [CARD, DISK])
        self.assertEqual((driver(CARD), driver(DISK)), ("vfio-pci", "vfio-pci"))
        self.end("a")
        self.assert_home(CARD, DISK)
        self.assert_content()

    def assert_content(self):
        """The host's own driver reads what was on the disk all the time."""
        with open(f"/dev/{self.disk_of(DISK)}", "rb") as disk:
            self.assertEqual(hashlib.md5(disk.read()).hexdigest(), os.environ["LAB_NVME_MD5"])

    def test_the_second_is_refused_with_the_holder_and_its_pid(self):
        first = self.borrow("a", "card", "edu", "zeros")
        words = self.why_not("b", "disk", CARD)
        self.assertIn(f"x:3: device '{CARD}' is held by guest 'a' (pid {first['pid']})", words)
        self.assertEqual(self.held(), [CARD, ZEROS, EDU])  # nothing of it
        self.assertEqual(driver(DISK), "nvme")
        self.end("a")
        self.assert_home(CARD, ZEROS, EDU)
        self.borrow("b", CARD)
        self.end("b")
        self.assert_home(CARD)

    def test_all_of_an_iommu_group_goes_to_one_guest(self):
        first = self.borrow("a", "zeros")
        self.assertEqual(self.held(), [ZEROS, EDU])
        self.assertIn("borrower: 3 descriptors", self.log("a"))
        self.assertIn(f"device '{EDU}' is held by guest 'a' (pid {first['pid']})",
                      self.why_not("b", "edu"))
        self.end("a")
        self.assert_home(ZEROS, EDU)

    def test_what_cannot_be_given_is_told_why(self):
        self.reconfigure(f"device away {NOTHING}", f"device bridge {BRIDGE}",
                         f"device other {USED} id 8086:10d4", f"device counted {LONELY} serial 1-2")
        for ids, words in (
            (("nobody",), "x:2: device 'nobody' is not in the host's pool"),
            ((DISK, NOTHING), "x:3: device 'away' (qvmd.conf:9): the host has no PCI function"),
            (("bridge",), f"'{BRIDGE}' is a bridge"),
            (("other",), f"'{USED}' is another device now: 8086:10d3 instead of 8086:10d4"),
            (("counted",), f"'{LONELY}' is another device now: its serial number is"),
            ((CARD, "card"), f"x:3: device '{CARD}' is asked for twice"),
        ):
            with self.subTest(ids=ids):
                self.assertIn(words, self.why_not("a", *ids))
                self.assert_home(CARD, DISK, USED)

    def test_what_shares_a_group_with_something_else_is_not_given(self):
        self.qvmd.stop()
        with open(self.qvmd.config, encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith("device edu")]
        with open(self.qvmd.config, "w", encoding="utf-8") as file:
            file.writelines(lines)
        self.qvmd.start()
        self.assertIn(f"device '{ZEROS}' shares IOMMU group {self.group(ZEROS)} with '{EDU}'",
                      self.why_not("a", "zeros"))
        self.assertEqual(driver(ZEROS), "nvme")

    @staticmethod
    def group(bdf):
        return os.path.basename(os.readlink(f"{DEVICES}/{bdf}/iommu_group"))

    def test_what_the_host_uses_is_not_given_as_long_as_it_does(self):
        name = interface(CARD)
        # a router of the lab's network announces itself some time after the card is up
        write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "1")
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        subprocess.run(["ip", "route", "add", "default", "dev", name], check=True)
        self.assertIn("has the default route", self.why_not("a", "disk", "card"))
        self.assert_home(CARD, DISK)
        subprocess.run(["ip", "route", "del", "default"], check=True)
        subprocess.run(["ip", "address", "add", "192.0.2.1/24", "dev", name], check=True)
        self.assertIn(f"'{CARD}' is used by the host: interface '{name}' has an address of the "
                      "host's, or a route; take them from it first", self.why_not("a", "card"))
        subprocess.run(["ip", "address", "flush", "dev", name], check=True)
        subprocess.run(["ip", "address", "add", "192.0.2.1/32", "dev", name], check=True)
        self.assertIn(f"interface '{name}' has an address", self.why_not("a", "card"))
        subprocess.run(["ip", "address", "flush", "dev", name], check=True)
        self.borrow("a", "disk", "card")
        self.end("a")
        self.assert_home(CARD, DISK)

    def test_eight_devices_are_claimed_in_two_waits_for_the_disk_at_most(self):
        self.reconfigure(f"device used {USED}", f"device spare {SPARE}", f"device lonely {LONELY}")
        eight = (CARD, USED, DISK, SPARE, PLAIN, ZEROS, EDU, LONELY)
        with Syncs(self.qvmd.process.pid) as syncs:
            self.borrow("a", *eight)
            count = syncs.count()
        self.assertEqual(self.held(), sorted(eight))
        self.assertIn(count, (1, 2))
        self.end("a")
        self.assert_home(*eight)

    def test_a_disk_that_is_mounted_where_nobody_else_sees_it_is_not_given(self):
        self.reconfigure(f"device spare {SPARE}")
        name = self.disk_of(SPARE)
        subprocess.run(["mkfs.ext4", "-q", f"/dev/{name}"], check=True, timeout=60)
        with subprocess.Popen(["unshare", "-m", "sh", "-c",
                               f"mount /dev/{name} /mnt && echo mounted && read end"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            self.assertEqual(program.stdout.readline(), b"mounted\n")
            self.assertIn(f"x:3: '{SPARE}' is used by the host: disk '{name}' of it is in use: it "
                          "is mounted in another namespace", self.why_not("a", "disk", "spare"))
            self.assert_home(DISK, SPARE)
        self.eventually(lambda: self.is_free(name), "it stays mounted")
        self.borrow("a", "spare")
        self.end("a")
        self.assert_home(SPARE)

    @staticmethod
    def is_free(name):
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDONLY | os.O_EXCL))
        except OSError:
            return False
        return True

    def test_what_another_program_holds_is_not_given_and_not_taken_from_it(self):
        change_driver(CARD, "vfio-pci")
        with open(f"/dev/vfio/{self.group(CARD)}", "r+b", buffering=0):
            self.assertIn("is in use by another program", self.why_not("a", "card"))
            self.eventually(lambda: self.held() == [], "it is held on to")
            self.assertEqual(driver(CARD), "vfio-pci")
        self.borrow("a", "card")
        self.end("a")
        self.eventually(lambda: self.held() == [], "it is held on to", 20)
        self.assertEqual(driver(CARD), "vfio-pci")  # where it was

    def test_a_device_comes_back_whoever_is_killed(self):
        for what in ("qvm", "qvmd", "both", "qvmd first"):
            with self.subTest(killed=what):
                guest = self.borrow("a", "card", "disk")
                if what != "qvm":
                    self.qvmd.crash()
                if what in ("both", "qvm"):
                    os.kill(guest["pid"], signal.SIGKILL)
                if what != "qvm":
                    self.qvmd.start()
                if what == "qvmd":
                    self.eventually(self.is_found("a"), "not adopted")
                    self.assertEqual(self.qvmd.guest("a")["pid"], guest["pid"])
                    self.assertEqual(self.held(), [CARD, DISK])
                    self.assertIn(f"(pid {guest['pid']})", self.why_not("b", "disk"))
                if what.startswith("qvmd"):
                    self.end("a")
                self.assert_home(CARD, DISK)
        self.assert_content()

    def test_a_device_that_is_kept_stays_with_vfio_until_it_is_not(self):
        self.reconfigure(f"device disk {DISK} keep yes")
        self.borrow("a", "disk")
        self.end("a")
        self.eventually(lambda: self.held() == [], "it is held on to", 20)
        self.assertEqual(driver(DISK), "vfio-pci")
        self.borrow("a", "disk")
        self.end("a")
        self.eventually(lambda: self.held() == [], "it is held on to", 20)
        with open(self.qvmd.config, "a", encoding="utf-8") as file:
            file.write(f"device disk {DISK} keep no\n")
        self.qvmd.call("host.reload")
        self.eventually(lambda: driver(DISK) == "nvme" and
                        self.qvmd.rows("SELECT bdf FROM device") == [], "it is kept", 20)

    def test_the_pool_is_not_taken_from_under_a_guest(self):
        guest = self.borrow("a", "card")
        with open(self.qvmd.config, encoding="utf-8") as file:
            text = file.read()
        with open(self.qvmd.config, "w", encoding="utf-8") as file:
            file.write(text.replace(POOL[0], ""))
        self.assertIn(f"guest 'a' (pid {guest['pid']}) has device '{CARD}'",
                      self.refused("busy", "host.reload"))
        self.end("a")
        self.assert_home(CARD)
        self.qvmd.call("host.reload")
        self.assertIn("is not in the host's pool", self.why_not("a", "card"))

    def test_a_device_that_cannot_be_reset_is_set_aside_and_visible(self):
        with self.broken_reset(DISK):
            self.borrow("a", "disk")
            self.end("a")
            self.eventually(lambda: self.held() == [], "it is held on to", 20)
        self.assertEqual(driver(DISK), "vfio-pci")  # the host is not given what may be broken
        trouble = [one for one in self.qvmd.events() if one["what"] == "device-trouble"]
        self.assertEqual(len(trouble), 1)
        self.assertIn(f"device '{DISK}' is set aside: '{DISK}' could not be reset",
                      trouble[0]["message"])
        self.qvmd.restart()
        self.assertIn(f"device '{DISK}' is set aside", self.why_not("b", "disk"))
        listed = {one["bdf"]: one for one in self.qvmd.call("device.list")["devices"]}
        self.assertEqual(listed[DISK]["pool"], "disk")
        self.assertIn("could not be reset", listed[DISK]["trouble"])
        self.assertIn(f"device '{DISK}' is set aside", listed[DISK]["refusal"])
        self.assertNotIn("refusal", listed[CARD])
        self.assertNotIn("pool", listed[LONELY])
        self.borrow("b", "card")
        self.end("b")
        self.assert_home(CARD)
        with self.broken_reset(DISK), self.assertRaises(Refused) as caught:
            self.qvmd.call("device.clear", device="disk")
        self.assertIn(f"'{DISK}' could not be reset", caught.exception.message)
        self.assertIn(f"device '{DISK}' is set aside", self.why_not("b", "disk"))
        self.assertEqual(self.qvmd.call("device.clear", device="disk"), {"device": DISK})
        self.assert_home(DISK)
        cleared = [one for one in self.qvmd.events() if one["what"] == "device-cleared"]
        self.assertEqual([one["message"] for one in cleared],
                         [f"device '{DISK}' is set aside no more"])
        self.borrow("b", "disk")
        self.end("b")
        self.assert_home(DISK)

    @staticmethod
    @contextlib.contextmanager
    def broken_reset(bdf):
        path = f"{DEVICES}/{bdf}/reset"
        subprocess.run(["mount", "--bind", "/dev/full", path], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", path], check=True)

    def test_what_the_iommu_stops_is_told_with_the_guest(self):
        self.reconfigure(f"device stray {LONELY}")
        definition_ = definition("device:stray astray")
        guest = self.qvmd.call("guest.start", name="a", definition=definition_)["guest"]

        def faults():
            return [one for one in self.qvmd.events() if one["what"] == "dma-fault"]

        self.eventually(faults, "nothing is told", 20)
        fault = faults()[0]
        self.assertEqual((fault["guest"], fault["pid"]), ("a", guest["pid"]))
        self.assertIn(f"device '{LONELY}' tried to reach address 0x40000000", fault["message"])
        self.assertEqual(self.qvmd.guest("a")["state"], "running")
        self.end("a")

    def test_one_that_is_pulled_out_is_let_go_with_its_guest(self):
        subprocess.run(["lab-ask", "device_add", "e1000e,id=hot,netdev=n1,bus=slot0"], check=True)
        self.eventually(lambda: os.path.exists(f"{DEVICES}/{HOT}"), "it has not come", 20)
        self.reconfigure(f"device hot {HOT}")
        self.borrow("a", "hot", "card")
        puller = subprocess.Popen(["lab-ask", "device_del", "hot"])
        self.eventually(lambda: driver(HOT) == "" or not os.path.exists(f"{DEVICES}/{HOT}"),
                        "it is not pulled", 20)
        self.assertEqual(self.qvmd.guest("a")["state"], "running")
        self.end("a")
        self.assertEqual(puller.wait(30), 0)
        self.eventually(lambda: self.held() == [], "it is held on to", 30)
        self.assert_home(CARD)
        self.assertIn("the host has no PCI function", self.why_not("a", "hot"))

    def test_nobody_waits_for_a_driver_that_is_being_changed(self):
        """Of a function that is not let go: the kernel waits, whoever asks it for that."""
        self.reconfigure(f"device whole {WHOLE}")
        guest = self.borrow("a", "card", "whole")
        pullers = [subprocess.Popen(["sh", "-c", f"echo {bdf} >{DEVICES}/{bdf}/driver/unbind"])
                   for bdf in (CARD, WHOLE)]
        for puller in pullers:  # it is in the kernel's hands
            self.eventually(lambda puller=puller: self.waits_in_the_kernel(puller.pid),
                            "nobody waits", 30)
        self.assertIn(f"is held by guest 'a' (pid {guest['pid']})", self.why_not("b", "card"))
        listed = {one["bdf"]: one for one in self.qvmd.call("device.list")["devices"]}
        self.assertEqual((listed[CARD]["guest"], listed[WHOLE]["guest"]), ("a", "a"))
        self.borrow("c", "disk")  # others go on
        self.qvmd.restart()
        self.eventually(self.is_found("a"), "not adopted")
        self.eventually(self.is_found("c"), "not adopted")
        self.end("c")
        self.assert_home(DISK)
        self.assertIsNone(pullers[0].poll())
        self.end("a")
        for puller in pullers:
            puller.wait(60)
        self.assert_home(CARD, WHOLE)

    @staticmethod
    def waits_in_the_kernel(pid):
        with open(f"/proc/{pid}/stack", encoding="ascii") as file:
            return "vfio_" in file.read()

    def test_what_an_operator_has_set_is_given_back(self):
        write(f"{DEVICES}/{CARD}/driver_override", "e1000e\n")
        self.borrow("a", "card", "disk")
        self.assertEqual(read(CARD, "driver_override"), "vfio-pci")
        self.assertEqual(self.qvmd.rows(
            f"SELECT driver, driver_override FROM device WHERE bdf = '{CARD}'"),
            [("e1000e", "e1000e")])
        self.end("a")
        self.eventually(lambda: self.held() == [], "it is held on to", 30)
        self.assertEqual((driver(CARD), read(CARD, "driver_override")), ("e1000e", "e1000e"))
        write(f"{DEVICES}/{CARD}/driver_override", "\n")
        self.assert_home(CARD, DISK)

    def test_what_an_operator_keeps_for_vfio_or_for_another_driver_is_so_again(self):
        for bdf, home, override in ((EDU, "", "vfio-pci"), (CARD, "e1000e", "vfio-pci"),
                                    (CARD, "e1000e", "igb")):
            write(f"{DEVICES}/{bdf}/driver_override", override + "\n")
            self.borrow("a", bdf)
            self.assertEqual((driver(bdf), read(bdf, "driver_override")), ("vfio-pci", "vfio-pci"))
            self.end("a")
            self.eventually(lambda: self.held() == [], "it is held on to", 30)
            self.assertEqual((driver(bdf), read(bdf, "driver_override")), (home, override))
            write(f"{DEVICES}/{bdf}/driver_override", "\n")
        self.assert_home(EDU, ZEROS, CARD)

    def test_what_an_operator_took_back_himself_is_as_he_left_it(self):
        self.reconfigure(f"device late {USED} keep yes")
        write(f"{DEVICES}/{USED}/driver_override", "e1000e\n")
        self.borrow("a", "late")
        self.end("a")
        self.eventually(lambda: self.held() == [], "it is held on to", 30)
        self.assertEqual(driver(USED), "vfio-pci")
        change_driver(USED, "")
        self.assertEqual((driver(USED), read(USED, "driver_override")), ("e1000e", "(null)"))
        self.borrow("a", "late")
        self.reconfigure(f"device late {USED}")
        self.end("a")
        self.assert_home(USED)

    def test_qvmd_answers_while_devices_are_opened_and_given_back(self):
        with self.qvmd.client() as client:
            number = client.request("guest.start", name="a", definition=definition("device:disk"))
            answered = 0
            while self.qvmd.guests().get("a", {}).get("state") in (None, "defined", "starting"):
                answered += 1
            client.answer(number)
        self.assertGreater(answered, 3)
        self.end("a")
        self.assert_home(DISK)

    def test_qvmd_is_never_the_last_who_has_a_device(self):
        with Closers() as closers:
            for words in ("", " throw", " throw-log"):
                before = len(closers.pids())
                guest = self.qvmd.call("guest.start", name="a",
                                       definition=definition(f"device:disk{words}"))["guest"]
                self.eventually(lambda pid=guest["pid"]: self.qvmd.children() == [pid],
                                "a hand stays", 30)
                if words != " throw-log":  # that stays where it is as long as the log
                    self.eventually(lambda: not words or len(closers.pids()) > before,
                                    "it is not closed", 30)
                self.end("a")
                self.assert_home(DISK)
                self.assertGreater(len(closers.pids()), before, f"nobody closed it:{words}")
                self.assertEqual(words == "", guest["pid"] in closers.pids()[before:])
            for _ in range(3):  # it ends while a hand has it
                with self.qvmd.client() as client:
                    number = client.request("guest.start", name="a",
                                            definition=definition("device:disk"))
                    self.eventually(lambda: driver(DISK) == "vfio-pci", "it is not taken", 30)
                    self.qvmd.call("guest.kill", name="a")
                    with self.assertRaises(Refused):
                        client.answer(number)
                self.assert_home(DISK)
            self.assertNotIn(self.qvmd.process.pid, closers.pids())
        self.assertIn("its qvm sent what is not to be taken guest=a descriptors=1",
                      self.qvmd.log())
        self.assertIn("its qvm sent descriptors, and its log is read no more", self.log("a"))

    def test_a_lost_database_loses_no_device(self):
        guest = self.borrow("a", "card")
        self.qvmd.crash()
        for path in glob.glob(self.qvmd.store + "*"):
            os.unlink(path)
        self.qvmd.start()
        self.eventually(self.is_found("a"), "not adopted")
        self.assertIn(f"(pid {guest['pid']})", self.why_not("b", "card"))
        self.end("a")
        self.assert_home(CARD)

    def test_nor_does_one_that_is_lost_while_its_guest_ends(self):
        guest = self.borrow("a", "card")
        self.qvmd.crash()
        os.kill(guest["pid"], signal.SIGKILL)
        for path in glob.glob(self.qvmd.store + "*"):
            os.unlink(path)
        self.qvmd.start()
        self.eventually(lambda: driver(CARD) == "e1000e", "it stays with VFIO", 30)
        self.eventually(lambda: self.qvmd.rows("SELECT bdf FROM device") == [],
                        "it is not written back")
        self.borrow("b", "card")
        self.end("b")
        self.assert_home(CARD)


class QvmTest(Devices, QvmdTest):
    """With a real qvm and its guest, which takes no notice of what it has."""

    worker = QVM
    settings = (*POOL, f"device hot {HOT} pause yes", "spares 0")

    def test_virtual_functions_go_each_to_one_guest_and_the_whole_to_none(self):
        self.reconfigure(f"device whole {WHOLE}", *(f"device part{bdf[-1]} {bdf}" for bdf in VIRTUAL))
        write(f"{DEVICES}/{WHOLE}/sriov_drivers_autoprobe", "0")
        write(f"{DEVICES}/{WHOLE}/sriov_numvfs", "2")
        self.addCleanup(write, f"{DEVICES}/{WHOLE}/sriov_numvfs", "0")
        first = self.start("a", more="pass loc pci:0:10.1\n")
        self.start("b", more="pass loc pci:0:10.2\n")
        self.assert_console("a", "> ")
        self.assert_console("b", "> ")
        self.assertEqual(self.held(), list(VIRTUAL))
        for place, words in (("10.1", f"device '{VIRTUAL[0]}' is held by guest 'a' (pid "
                                      f"{first['pid']})"),
                             ("10.0", "2 virtual functions of it are switched on; give one of "
                                      "these, or switch them off first (sriov_numvfs)")):
            with self.assertRaises(Refused) as caught:
                self.start("c", more=f"pass loc pci:0:{place}\n")
            self.assertIn(words, caught.exception.message)
        for name in ("a", "b"):
            self.qvmd.call("guest.kill", name=name)
        self.eventually(lambda: self.held() == [], "they are held on to", 30)
        self.assertEqual([driver(bdf) for bdf in (WHOLE, *VIRTUAL)], ["nvme", "", ""])
        write(f"{DEVICES}/{WHOLE}/sriov_numvfs", "0")
        self.start("c", more="pass loc pci:0:10.0\n")
        self.qvmd.call("guest.kill", name="c")
        self.assert_home(WHOLE)

    def test_a_disk_that_is_the_image_of_a_guest_is_not_given_to_another(self):
        name = self.disk_of(DISK)
        self.start("a", more="vdev virtio-blk loc mem:feb00000,512 intr ioapic:16 "
                             f"hostdev /dev/{name}\n")
        pid = self.qvmd.guest("a")["pid"]
        self.assertIn(f"b.qvmconf:5: '{name} of {DISK}' is held by guest 'a' (pid {pid})",
                      self.why_no_start("b", "pass loc pci:0:6.0\n"))
        self.assert_home(DISK)
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.wait("a", "stopped")
        self.start("b", more="pass loc pci:0:6.0\n")
        self.qvmd.call("guest.kill", name="b")
        self.assert_home(DISK)

    def why_no_start(self, name, more):
        with self.assertRaises(Refused) as caught:
            self.start(name, more=more)
        return caught.exception.message

    def line(self):
        """Its name, and a vdev that has it."""
        def found():
            return [link for link in glob.glob("/sys/class/tty/ttyS*")
                    if LINES in os.path.realpath(link)]

        self.eventually(found, "no line", 20)
        name = os.path.basename(found()[0])
        return name, f"vdev ser8250 loc io:2f8,8 intr ioapic:3 hostdev /dev/{name}\n"

    def test_the_line_of_a_serial_card_is_of_whoever_has_the_card(self):
        self.reconfigure(f"device lines {LINES}")
        card = "pass loc pci:0:11.0\n"
        name, line = self.line()
        pid = self.start("a", more=line)["pid"]
        self.assertIn(f"b.qvmconf:5: '{name} of {LINES}' is held by guest 'a' (pid {pid})",
                      self.why_no_start("b", card))
        self.assertEqual(driver(LINES), "serial")
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.wait("a", "stopped")
        self.assertIn("is asked for twice", self.why_no_start("b", line + card))
        pid = self.start("b", more=card)["pid"]
        self.qvmd.restart()
        self.assertIn(f"a.qvmconf:5: '/dev/{name}' is held for writing by guest 'b' (pid {pid})",
                      self.why_no_start("a", line))
        self.qvmd.call("guest.kill", name="b")
        self.assert_home(LINES)
        self.start("a", more=self.line()[1])
        self.qvmd.call("guest.kill", name="a")
        self.qvmd.wait("a", "stopped")
        self.assert_invariants()

    def test_a_guest_that_loses_its_device_is_paused_if_that_says_so(self):
        subprocess.run(["lab-ask", "device_add", "e1000e,id=hot,netdev=n1,bus=slot0"], check=True)
        self.eventually(lambda: os.path.exists(f"{DEVICES}/{HOT}"), "it has not come", 20)
        guest = self.start("a", more="pass loc pci:1:0\npass loc pci:0:5\n")
        self.assert_console("a", "> ")
        subprocess.run(["lab-ask", "device_del", "hot"], check=True, timeout=60)
        self.eventually(lambda: self.qvmd.guest("a")["state"] == "paused", "it goes on", 20)
        removed = [one for one in self.qvmd.events() if one["what"] == "device-removed"]
        self.assertEqual([(one["guest"], one["pid"]) for one in removed], [("a", guest["pid"])])
        self.assertIn(HOT, removed[0]["message"])
        self.qvmd.call("guest.resume", name="a")
        self.assertEqual(self.qvmd.guest("a")["state"], "running")
        self.assertEqual(self.held(), [CARD, HOT])
        self.qvmd.call("guest.kill", name="a")
        self.assert_home(CARD)

    def test_a_guest_has_its_devices_until_its_end_also_under_another_qvmd(self):
        guest = self.start("a", more="pass loc pci:0:5\npass loc pci:0:6.0\n")
        self.assert_console("a", "> ")
        self.assertEqual(self.held(), [CARD, DISK])
        self.assertEqual(self.qvmd.guest("a")["devices"], 2)
        self.qvmd.restart()
        self.assert_runs_on(guest)
        self.assertEqual(self.qvmd.guest("a")["devices"], 2)
        with self.assertRaises(Refused) as caught:
            self.start("b", more="pass loc pci:8086/10d3\n")
        self.assertIn(f"b.qvmconf:5: device '{CARD}' is held by guest 'a' (pid {guest['pid']})",
                      caught.exception.message)
        self.qvmd.call("guest.reset", name="a")
        self.assert_console("a", "> ")
        self.qvmd.call("guest.kill", name="a")
        self.assert_home(CARD, DISK)
        self.assert_invariants()


if __name__ == "__main__":
    prepare()
    main()
