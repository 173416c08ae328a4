#!/usr/bin/python3
"""qvm under systemd: what outside.sh has installed and enabled, on a host that boots twice. The
guests are bare ones: what is tried is the host.

    inside.py BUILD_DIR PREFIX"""

import base64
import grp
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
if len(sys.argv) != 3 or "LAB" not in os.environ:
    sys.exit(__doc__)
BUILD, PREFIX = sys.argv[1:3]
os.environ["QVM_BUILD"] = BUILD
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)),
                                "../../integration"))
from fuse import StallingFileSystem  # noqa: E402: only after the lines above
from qvmtest import DEVICES as OBEDIENT, Client, Refused, definition, start_ticks  # noqa: E402

SOCKET = "/run/qvm/qvmd.sock"
HOLDER = "/sys/fs/cgroup/qvm.slice/qvm-guests.service"
IMAGE = f"{PREFIX}/share/doc/qvm/examples/guest.bzimage"
QVMD = f"{PREFIX}/sbin/qvmd"
GUESTS = ["low", "middle", "high"]  # each comes after the one before
CARD = "0000:00:03.0"
DROP_IN = "/etc/systemd/system/qvmd.service.d/devices.conf"
DEVICES = """[Service]
ReadWritePaths=/sys/bus/pci /sys/devices
CapabilityBoundingSet=CAP_SYS_RESOURCE CAP_SYSLOG
ProtectKernelLogs=no
RestrictAddressFamilies=AF_NETLINK
"""
SHARED = "/run/lab-shared"  # a folder, and beside it a disk
OF_ADMIN = {"qvmd.service": "RestrictNamespaces=user\nCapabilityBoundingSet=CAP_SETFCAP",
            "qvm-guests.service": "MemoryMax=1G"}
MIB = 1 << 20
PATIENCE = 60
CRASHES = 6
begun = time.monotonic()


def say(text):
    print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)


def run(*command, status=0, **options):
    """The output of a command that must end with that status."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=PATIENCE * 2,
                          **options)
    if done.returncode != status:
        raise AssertionError(f"{command}: {done.returncode}: {done.stdout}")
    return done.stdout


def ctl(*words, status=0):
    return run("qvmctl", *words, status=status)


def call(method, /, **params):
    with Client(SOCKET, PATIENCE) as client:
        try:
            return client.call(method, **params)
        except (EOFError, ConnectionResetError):  # it was just accepted by one who then ended
            return call(method, **params)


def unit(name, what):
    return run("systemctl", "show", "-P", what, name).strip()


def main_pid():
    """qvmd's, by itself: systemctl takes a second here."""
    return call("host.info")["pid"]


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read().strip()


def configuration(name, image=IMAGE):
    return f"system {name}\nram 16M\nload {image}\nvdev ser8250\n"


class Case(unittest.TestCase):
    def eventually(self, check, what):
        end = time.monotonic() + PATIENCE
        while not (found := check()):
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)
        return found

    def guests(self):
        return {guest["name"]: guest for guest in call("guest.list")["guests"]}

    def pids(self):
        return {name: guest["pid"] for name, guest in self.guests().items()
                if guest["state"] == "running"}

    helpers = {}  # by vdev: pid and start time

    def helpers_found(self):
        return {one["vdev"]: one["pid"] for one in call("guest.show", name="helped")["helpers"]
                if one["state"] == "serves"}

    def ask(self, words, answer):
        """The guest with helpers."""
        def said():
            return base64.b64decode(call("console.read", name="helped")["data"]).decode()

        before = said().count(answer)
        call("console.write", name="helped", data=base64.b64encode(f"{words}\r".encode()).decode())
        self.eventually(lambda: said().count(answer) > before, f"no '{answer}' to '{words}'")

    def assert_alive(self, pids, what):
        """The same processes, adopted by whoever is qvmd now."""
        if "helped" in pids:
            wanted = {vdev: pid for vdev, (pid, _) in self.helpers.items()}
            self.eventually(lambda: self.helpers_found() == wanted,
                            f"{what}: a helper was lost, or not adopted")
            for pid, ticks in self.helpers.values():
                self.assertEqual(start_ticks(pid), ticks, f"{what}: a helper is another one")
            self.ask("blk feb00000 0 read 0 8 3", "read 8 sectors at 0: status 0, 8 good")
            self.ask("fs feb01000 17 read greeting", "fs: read: error 0, 5 bytes: hello")
        for pid, ticks in pids.values():
            self.assertEqual(start_ticks(pid), ticks, f"{what}: a guest was lost")
        wanted = {name: pid for name, (pid, _) in pids.items()}
        self.eventually(lambda: self.pids() == wanted, f"{what}: a guest was not adopted")
        say(f"{what}: no guest was lost")


class FirstBoot(Case):
    def test_a_host_under_systemd(self):
        self.what_was_enabled_runs()
        self.guests_have_control_groups_of_their_own()
        self.a_folder_wants_a_drop_in_and_a_disk_does_not()
        pids = {name: (pid, start_ticks(pid)) for name, pid in self.pids().items()}
        self.qvmd_comes_and_goes(pids)
        self.systemd_itself_is_changed(pids)
        self.qvmd_crashes_again_and_again(pids)
        self.a_qvmd_that_hangs_is_replaced(pids)
        self.the_holders_own_process_ends(pids)
        self.helpers_end_with_their_guest(pids)
        self.a_user_gives_files_of_his_own()
        self.taps_want_a_drop_in(pids)
        self.nothing_more_than_it_needs()
        self.a_drop_in_gives_devices()
        say("the host goes down")

    def what_was_enabled_runs(self):
        self.eventually(lambda: unit("qvm-guests", "ActiveState") == "active", "no holder")
        self.assertEqual(unit("qvmd", "ActiveState"), "active")
        self.assertEqual(json.loads(ctl("-o", "json", "info"))["not_enforced"], [])
        disk = next(one for one in call("device.list")["devices"] if one["class"] == 0x010802)
        self.assertIn("is mounted on '/var/lib/qvm'", disk["use"])  # seen from qvmd's namespaces
        os.makedirs("/etc/qvm/guests", exist_ok=True)
        for name in GUESTS:
            path = f"/etc/qvm/guests/{name}.qvmconf"
            with open(path, "w", encoding="utf-8") as file:
                file.write(configuration(name))
            ctl("define", path)
        for name, before in zip(GUESTS, [None, *GUESTS]):
            ctl("enable", *(["--after", before] if before else []), name)
        ctl("start", "--enabled")
        self.assertEqual(sorted(self.pids()), sorted(GUESTS))
        say("enabled guests were started")

    def guests_have_control_groups_of_their_own(self):
        for name, guest in self.guests().items():
            place, group = read(f"/proc/{guest['pid']}/cgroup").rsplit("/", 1)
            self.assertEqual(place, "0::/qvm.slice/qvm-guests.service")
            self.assertEqual(int(read(HOLDER, group, "memory.max")), (16 + 32 + 1) * MIB + MIB // 4)
            peak = int(read(HOLDER, group, "memory.peak"))
            say(f"{name}: memory.peak {peak >> 10} KiB of {(16 * MIB) >> 10} and what is beside")

    def a_folder_wants_a_drop_in_and_a_disk_does_not(self):
        """What the unit permits is enough for one helper; the other has what the manual says. And
        an administrator has limits of his own."""
        os.makedirs(f"{SHARED}/files")
        with open(f"{SHARED}/files/greeting", "w", encoding="ascii") as file:
            file.write("hello")
        run("qemu-img", "create", "-q", "-f", "qcow2", f"{SHARED}/disk", "8M")
        disk = (f"system helped\nram 16M\nload {OBEDIENT}\nvdev ser8250\n"
                "vdev virtio-blk name d loc mem:feb00000,512 intr ioapic:16 format qcow2 "
                f"hostdev {SHARED}/disk\n")
        folder = (disk + "vdev virtio-fs name f loc mem:feb01000,512 intr ioapic:17 tag files "
                  f"hostdev {SHARED}/files\n")
        call("guest.start", name="helped", definition=definition(disk))
        self.assertEqual(list(self.helpers_found()), ["d"])
        call("guest.kill", name="helped")
        call("guest.define", name="helped", definition=definition(folder))
        with self.assertRaises(Refused):
            call("guest.start", name="helped")
        say("a folder without its drop-in: " + self.guests()["helped"]["message"])
        for name, words in OF_ADMIN.items():
            os.makedirs(f"/etc/systemd/system/{name}.d", exist_ok=True)
            with open(f"/etc/systemd/system/{name}.d/admin.conf", "w", encoding="utf-8") as file:
                file.write(f"[Service]\n{words}\n")
        run("systemctl", "daemon-reload")
        self.assertEqual(int(read(HOLDER, "memory.max")), 1 << 30)
        run("systemctl", "restart", "qvmd")
        guest = call("guest.start", name="helped")["guest"]
        self.ask("blk feb00000 0 write 0 8 3", "wrote 8 sectors at 0: status 0")
        self.helpers = {vdev: (pid, start_ticks(pid)) for vdev, pid in self.helpers_found().items()}
        self.assertEqual(sorted(self.helpers), ["d", "f"])
        for pid, _ in self.helpers.values():
            self.assertEqual(read(f"/proc/{pid}/cgroup"), read(f"/proc/{guest['pid']}/cgroup"))
            self.assertIn("CapBnd:\t0000000000000000", read(f"/proc/{pid}/status"))
        say("a guest has a qcow2 disk and a folder, and its helpers are in its control group")

    def helpers_end_with_their_guest(self, pids):
        pid, _ = pids.pop("helped")
        group = "/sys/fs/cgroup" + read(f"/proc/{pid}/cgroup").removeprefix("0::")
        ctl("kill", "helped")
        for pid, ticks in self.helpers.values():
            self.eventually(lambda pid=pid, ticks=ticks: not os.path.exists(f"/proc/{pid}") or
                            start_ticks(pid) != ticks, "a helper outlives its guest")
        self.eventually(lambda: not os.path.exists(group), f"{group} stays")
        ctl("undefine", "helped")
        for name in OF_ADMIN:
            os.unlink(f"/etc/systemd/system/{name}.d/admin.conf")  # systemd is told below
        say("helpers ended with their guest")

    def qvmd_comes_and_goes(self, pids):
        run("systemctl", "restart", "qvmd")
        self.assert_alive(pids, "restart of qvmd")
        run("systemctl", "stop", "qvmd")
        self.assertEqual(unit("qvmd", "ActiveState"), "inactive")
        self.assert_alive(pids, "stop of qvmd, and a start by its socket")
        old = os.stat(f"/proc/{main_pid()}/exe").st_ino
        shutil.copy2(QVMD, QVMD + ".new")
        with open(QVMD + ".new", "ab") as file:
            file.write(b"another one")
        os.rename(QVMD + ".new", QVMD)
        run("systemctl", "restart", "qvmd")
        self.assertNotEqual(os.stat(f"/proc/{main_pid()}/exe").st_ino, old)
        self.assert_alive(pids, "upgrade of qvmd")

    def systemd_itself_is_changed(self, pids):
        run("systemctl", "daemon-reload")
        self.assert_alive(pids, "daemon-reload")
        run("systemctl", "daemon-reexec")
        self.assert_alive(pids, "daemon-reexec")

    def qvmd_crashes_again_and_again(self, pids):
        times = []
        for _ in range(CRASHES):
            old = main_pid()
            begin = time.monotonic()
            os.kill(old, signal.SIGKILL)
            self.assertNotEqual(main_pid(), old)  # systemd keeps the socket meanwhile
            times.append(time.monotonic() - begin)
        self.assert_alive(pids, f"{CRASHES} crashes of qvmd in {sum(times):.1f} s")
        say("kill -9 of qvmd to an answer: " + " ".join(f"{one:.2f}" for one in times) + " s")

    def a_qvmd_that_hangs_is_replaced(self, pids):
        old = main_pid()
        os.kill(old, signal.SIGSTOP)
        begin = time.monotonic()
        self.assertNotEqual(main_pid(), old)
        self.assert_alive(pids, f"a qvmd that hangs, after {time.monotonic() - begin:.1f} s")
        self.assertIn("watchdog", run("journalctl", "-u", "qvmd", "-b", "--no-pager").lower())

    def the_holders_own_process_ends(self, pids):
        os.kill(int(unit("qvm-guests", "MainPID")), signal.SIGKILL)
        self.eventually(lambda: unit("qvm-guests", "MainPID") == "0", "systemd has not seen it")
        self.assertEqual(unit("qvm-guests", "ActiveState"), "active")
        self.assert_alive(pids, "kill -9 of the holder's own process")

    def a_user_gives_files_of_his_own(self):
        """qvmd may do little, and hands do all the same what they have to."""
        self.assertTrue(all(grp.getgrnam(f"qvm-{role}") for role in ("viewer", "operator", "admin")))
        run("useradd", "--create-home", "--groups", "qvm-operator", "somebody")
        home = pwd.getpwnam("somebody").pw_dir
        os.chmod(home, 0o700)
        shutil.copy(IMAGE, f"{home}/image")
        os.chmod(f"{home}/image", 0o600)
        with open(f"{home}/own.qvmconf", "w", encoding="utf-8") as file:
            file.write(configuration("own", f"{home}/image"))
        for name in ("image", "own.qvmconf"):
            shutil.chown(f"{home}/{name}", "somebody", "somebody")
        as_user = ("setpriv", "--reuid=somebody", "--regid=somebody", "--init-groups", "qvmctl")
        run(*as_user, "start", f"{home}/own.qvmconf")
        guest = self.guests()["own"]
        self.assertEqual(guest["owner"], "somebody")
        self.assertGreater(os.stat(f"/proc/{guest['pid']}").st_uid, 1 << 30)
        self.assertIn("somebody", run(*as_user, "kill", "low", status=5) + "somebody")
        run(*as_user, "stop", "own")
        say("a user's guest was started from a file that nobody else may read")

    def taps_want_a_drop_in(self, pids):
        """The unit has no right to the host's network; what the manual says gives it that."""
        with open("/etc/qvm/qvmd.conf", "a", encoding="utf-8") as file:
            file.write("tap vm*\n")
        call("guest.define", name="wired", definition=definition(
            configuration("wired") + "vdev virtio-net tap vm1\n"))
        run("systemctl", "reload", "qvmd")
        with self.assertRaises(Refused):
            call("guest.start", name="wired")
        self.assertIn("lacks the right CAP_NET_ADMIN", self.guests()["wired"]["message"])
        os.makedirs("/etc/systemd/system/qvmd.service.d", exist_ok=True)
        with open("/etc/systemd/system/qvmd.service.d/taps.conf", "w", encoding="utf-8") as file:
            file.write("[Service]\nPrivateNetwork=no\nCapabilityBoundingSet=CAP_NET_ADMIN\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "qvmd")
        call("guest.start", name="wired")
        self.assertTrue(os.path.exists("/sys/class/net/vm1"))
        call("guest.kill", name="wired")
        self.assertFalse(os.path.exists("/sys/class/net/vm1"))
        call("guest.undefine", name="wired")
        os.unlink("/etc/systemd/system/qvmd.service.d/taps.conf")
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "qvmd")
        self.assert_alive(pids, "a drop-in for taps, and its end")

    def a_drop_in_gives_devices(self):
        """The words of qvmd.8 are enough to hear of devices, to take one and to give it back."""
        self.assertIn("deaf", call("host.show"))
        place = f"/sys/bus/pci/devices/{CARD}"
        run("modprobe", "vfio-pci")
        driver = os.path.basename(os.path.realpath(f"{place}/driver"))
        os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
        with open(DROP_IN, "w", encoding="utf-8") as file:
            file.write(DEVICES)
        with open("/etc/qvm/qvmd.conf", "a", encoding="utf-8") as file:
            file.write(f"device card {CARD}\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "qvmd")
        self.assertNotIn("deaf", call("host.show"))
        with open("/etc/qvm/guests/has.qvmconf", "w", encoding="utf-8") as file:
            file.write(configuration("has") + "pass loc pci:0:3.0\n")
        ctl("start", "/etc/qvm/guests/has.qvmconf")
        self.assertEqual(os.path.basename(os.path.realpath(f"{place}/driver")), "vfio-pci")
        ctl("kill", "has")
        self.eventually(lambda: os.path.basename(os.path.realpath(f"{place}/driver")) == driver,
                        "the card is kept")
        ctl("undefine", "has")  # all else is forgotten at the boot
        say("with its drop-in a guest had a device")

    def nothing_more_than_it_needs(self):
        said = run("systemd-analyze", "security", "--no-pager", "qvmd.service").splitlines()[-1]
        self.assertLessEqual(float(said.split(":")[1].split()[0]), 3.0)
        self.assertEqual(run("systemctl", "--failed", "--no-legend"), "")
        say(said.strip())


class SecondBoot(Case):
    def test_the_same_host_after_a_boot(self):
        self.guests_were_stopped_in_their_order()
        self.enabled_guests_are_back_in_their_order()
        self.a_stop_of_the_holder_stops_them_and_its_start_brings_them_back()
        self.a_process_that_does_not_go_is_in_nobodys_way()
        self.a_holder_without_qvmd_presses_the_buttons_itself()

    def events(self, **members):
        return [event for event in call("events.list")["events"]
                if all(event.get(key) == value for key, value in members.items())]

    def boots(self):
        """Numbers of events: the last boot's begin behind them."""
        return [event["seq"] for event in self.events(what="daemon-start")]

    def guests_were_stopped_in_their_order(self):
        self.eventually(lambda: unit("qvm-guests", "ActiveState") == "active", "no holder")
        before = [event for event in self.events(what="state") if event["seq"] < self.boots()[-1]]
        last = {event["guest"]: event for event in before}
        ended = sorted((last[name]["seq"], name) for name in GUESTS)
        self.assertEqual([name for _, name in ended], list(reversed(GUESTS)))
        for name in GUESTS:
            self.assertEqual(last[name]["state"], "stopped", last)
            self.assertIn(last[name]["reason"], ("poweroff", "host-shutdown"), last)
        say("the shutdown had stopped them in order: " +
            ", ".join(f"{name} ({last[name]['reason']})" for _, name in ended))

    def enabled_guests_are_back_in_their_order(self):
        self.eventually(lambda: sorted(self.pids()) == sorted(GUESTS), "guests are missing")
        up = [event["guest"] for event in self.events(what="state", state="running")
              if event["seq"] > self.boots()[-1]]
        self.assertEqual(up, GUESTS)
        say("the boot has started them in order")

    def a_stop_of_the_holder_stops_them_and_its_start_brings_them_back(self):
        old = self.pids()
        run("systemctl", "stop", "qvm-guests")
        self.assertEqual(self.pids(), {})
        self.assertFalse(os.path.exists(HOLDER))
        self.what_systemd_still_makes_is_left_alone()
        run("systemctl", "start", "qvm-guests")
        self.eventually(lambda: sorted(self.pids()) == sorted(GUESTS), "guests are missing")
        self.assertFalse(set(old.values()) & set(self.pids().values()))
        self.assertEqual(json.loads(ctl("-o", "json", "info"))["not_enforced"], [])
        say("a stop of qvm-guests.service stopped them, and its start brought them back")

    def what_systemd_still_makes_is_left_alone(self):
        """Between the making of a unit's group and its process, somebody looks."""
        os.mkdir(HOLDER)
        os.setxattr(HOLDER, "trusted.delegate", b"1")
        said = " ".join(json.loads(ctl("-o", "json", "info"))["not_enforced"])
        self.assertIn("qvm-guests.service is still starting", said)
        self.assertEqual(read(HOLDER, "cgroup.subtree_control"), "")

    def a_process_that_does_not_go_is_in_nobodys_way(self):
        """It keeps its group, and thereby that of the holder, which has given controllers away."""
        run("modprobe", "fuse")
        directory = "/run/lab-silent"
        os.makedirs(directory)
        disk = StallingFileSystem(directory)
        sick = call("guest.start", name="sick", definition=definition(
            configuration("sick") + 'cmdline "run=blk_feb00000_16_read_0_8_1,echo_up"\n' "vdev virtio-blk"
            f" loc mem:feb00000,512 intr ioapic:16 hostdev {directory}/image\n"))["guest"]
        self.eventually(lambda: b"\nup" in base64.b64decode(
            call("console.read", name="sick")["data"]), "it does not come up")
        disk.stall("READ", "FLUSH")
        call("console.write", name="sick", data=base64.b64encode(b"blk feb00000 16 read 600 8 1\r"
                                                                 ).decode())
        disk.wait(1, PATIENCE)
        ctl("kill", "sick", status=7)
        drop_in = "/run/systemd/system/qvm-guests.service.d"
        os.makedirs(drop_in)
        with open(f"{drop_in}/lab.conf", "w", encoding="utf-8") as file:
            file.write("[Service]\nTimeoutStopSec=8s\n")  # sooner
        run("systemctl", "daemon-reload")
        run("systemctl", "stop", "qvm-guests")
        self.assertEqual(unit("qvm-guests", "Result"), "timeout")
        self.assertTrue(os.path.exists(f"/proc/{sick['pid']}"))
        run("systemctl", "start", "qvm-guests")
        self.eventually(lambda: sorted(self.pids()) == sorted(GUESTS), "guests are missing")
        self.assertEqual(json.loads(ctl("-o", "json", "info"))["not_enforced"], [])
        disk.close()
        self.eventually(lambda: self.guests()["sick"]["state"] == "stopped", "it is still stuck")
        os.unlink(f"{drop_in}/lab.conf")
        run("systemctl", "daemon-reload")
        say("a process that does not go kept the holder from nothing")

    def a_holder_without_qvmd_presses_the_buttons_itself(self):
        run("systemctl", "mask", "--runtime", "--now", "qvmd.socket", "qvmd.service")
        run("systemctl", "stop", "qvm-guests")
        self.assertFalse(os.path.exists(HOLDER))
        run("systemctl", "unmask", "--runtime", "qvmd.socket", "qvmd.service")
        run("systemctl", "start", "qvmd.socket")
        for name, guest in self.guests().items():
            if name in GUESTS:
                self.assertEqual((guest["state"], guest["reason"]), ("stopped", "poweroff"), guest)
        say("without qvmd, systemd's SIGTERM was their power button")


def main():
    boot = FirstBoot if os.environ["LAB_BOOT"] == "1" else SecondBoot
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(boot)
    if not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful():
        subprocess.run(["journalctl", "-b", "--no-pager", "-n", "80", "-o", "cat"], check=False)
        sys.exit(1)
    if boot is FirstBoot:
        run("lab-ask", "reboot")
        run("systemctl", "reboot", "--no-block")
        time.sleep(PATIENCE * 2)
        sys.exit("the host does not go down")


if __name__ == "__main__":
    main()
