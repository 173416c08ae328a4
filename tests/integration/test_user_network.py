#!/usr/bin/env python3
"""Networks as a user's programs have them: passt, started and ended by qvmd, on the real /dev/kvm. The
host is a network namespace of the test's own."""

import os
import signal
import socket
import subprocess
import threading
import time
import unittest

import netdev
import qvmtest
from rpc import Refused
from test_helper import HelperBase
from test_virtio import BUILD, QVM

HOST, ROUTER = "192.0.2.2", "192.0.2.1"
PLACES = {"at an address": ("feb00000", "loc mem:feb00000,512 intr ioapic:16"),
          "on PCI": ("3", "loc pci:0:3.0")}
NOBODY = 65534


def in_hex(address):
    return "".join(f"{byte:02x}" for byte in socket.inet_aton(address))


class Echo:
    """A server at the host's own address alone: it repeats what comes."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.heard = 0
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            data, peer = self.socket.recvfrom(2048)
            if data == b"":
                return
            self.heard += 1
            self.socket.sendto(b"again-" + data, peer)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join(20)
        self.socket.close()


@unittest.skipUnless(os.geteuid() == 0, "only root can make a network of its own")
class UserNetworkBase(HelperBase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not netdev.unshare():
            raise OSError("no network of its own")
        netdev.switch_on("lo")
        netdev.add_bridge("outside", HOST)
        netdev.add_default_route(ROUTER)

    def start_user(self, where="at an address", name="a"):
        started = self.start(name, image=qvmtest.DEVICES,
                             more=f"vdev virtio-net name n {PLACES[where][1]} user\n")
        self.assert_console(name, "> ")
        return started

    def say(self, port, word, where="at an address"):
        self.ask(f"net {PLACES[where][0]} {port} {word}", f"net: answer: again-{word}")

    def link(self):
        for vdev in self.qvmd.call("guest.show", name="a").get("vdevs", []):
            if vdev["name"] == "n":
                return {value["name"]: value["value"] for value in vdev["values"]}["link"]
        return None


class ApartTest(UserNetworkBase):
    """What qvmd.conf says nothing of."""

    def test_the_guest_does_not_reach_who_listens_for_the_host_alone(self):
        echo = Echo()
        self.addCleanup(echo.close)
        self.start_user()
        self.ask(f"net {PLACES['at an address'][0]} {echo.port} hello",
                 f"net: address {in_hex(HOST)}, router {in_hex(ROUTER)}")
        time.sleep(2)  # it would have come by now
        self.assertEqual(echo.heard, 0)
        self.assertNotIn("answer", self.qvmd.console("a"))


class UserNetworkTest(UserNetworkBase):
    settings = ("user-network-host yes",)

    def test_the_guest_has_an_address_and_reaches_programs_of_the_host(self):
        echo = Echo()
        self.addCleanup(echo.close)
        for where in PLACES:
            with self.subTest(where):
                self.start_user(where)
                pid = self.helper()
                self.say(echo.port, "hello", where)
                self.assertIn(f"net: address {in_hex(HOST)}, router {in_hex(ROUTER)}",
                              self.qvmd.console("a"))
                self.say(echo.port, "once-more", where)
                self.qvmd.call("guest.kill", name="a")
                self.assert_ends(pid)
                self.eventually(lambda: self.helpers() == [], "its row stays")
                self.assertEqual(self.lost(), [])
                self.qvmd.call("guest.undefine", name="a")

    def status(self, pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)

    def test_a_helper_has_the_network_and_nothing_else(self):
        qvm = self.start_user()["pid"]
        pid = self.helper()
        self.eventually(lambda: os.listdir(f"/proc/{pid}/root") == [], "it sees files", 20)
        for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            self.eventually(lambda name=name: int(self.status(pid)[name], 16) == 0, name, 20)
        status = self.status(pid)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Uid"].split(), [str(NOBODY)] * 4)  # the guest is root's
        self.assertEqual(status["Groups"].split(), [])
        self.assertEqual(os.readlink(f"/proc/{pid}/ns/net"), os.readlink("/proc/self/ns/net"))
        for name in ("mnt", "ipc", "uts", "user"):
            there, ours = (os.readlink(f"/proc/{who}/ns/{name}") for who in (pid, "self"))
            self.assertNotEqual(there, ours, name)
        groups = []
        for who in (pid, qvm):
            with open(f"/proc/{who}/cgroup", encoding="ascii") as file:
                groups.append(file.read())
        self.assertEqual(*groups)

    def test_a_helper_that_is_killed_is_followed_by_another(self):
        echo = Echo()
        self.addCleanup(echo.close)
        before = self.start_user()
        self.say(echo.port, "hello")
        pid = self.helper()
        self.assertEqual(self.link(), "up")
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: len(self.again()) == 1, "no other helper", 20)
        self.assertEqual(self.lost(), [
            f"the helper (pid {pid}) of 'n' is gone: it was ended by signal 9 (Killed); its link is "
            "down until there is another"])
        self.assertEqual(self.again(), [f"'n' has another helper (pid {self.helper()})"])
        self.eventually(lambda: self.link() == "up", "its link is down", 20)
        self.say(echo.port, "again")
        self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])

    def test_the_link_is_down_as_long_as_there_is_no_qvmd(self):
        echo = Echo()
        self.addCleanup(echo.close)
        before = self.start_user()
        pid = self.helper()
        self.qvmd.crash()
        os.kill(pid, signal.SIGKILL)
        self.assert_ends(pid)
        self.qvmd.start()
        self.assert_runs_on(before)
        self.eventually(lambda: len(self.again()) == 1, "no other helper", 20)
        self.eventually(lambda: self.link() == "up", "its link is down", 20)
        self.say(echo.port, "again")

    def test_a_helper_outlives_qvmd_and_is_found_again(self):
        echo = Echo()
        self.addCleanup(echo.close)
        before = self.start_user()
        pid = self.helper()
        self.qvmd.crash()
        self.assertFalse(self.is_gone(pid))
        self.qvmd.start()
        self.assert_runs_on(before)
        self.say(echo.port, "hello")
        self.assertEqual(self.helper(), pid)

    def test_more_than_one_network_and_more_queues_are_refused(self):
        for more, words in (("user tap vm0", "a vdev has one of a tap, a peer and a user's network"),
                            ("user queues 2", "a user's network has one queue")):
            with self.subTest(more):
                with self.assertRaises(Refused):
                    self.start("a", more=f"vdev virtio-net {more}\n")
                self.assertRegex(self.qvmd.guest("a")["message"], rf"^a.qvmconf:5: {words}")

    def test_a_qvm_alone_has_no_helper_and_says_so(self):
        config = self.path("t.qvmconf")
        with open(config, "w", encoding="ascii") as file:
            file.write("system t\nram 16M\nvdev virtio-net user\n")
        done = subprocess.run([QVM, "@t.qvmconf"], capture_output=True, timeout=60, check=False,
                              cwd=self.directory,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("t.qvmconf:3: 'virtio-net' is served by a helper", done.stderr.decode())


@unittest.skipUnless(os.geteuid() == 0, "only root can make a network of its own")
class NoNetworkTest(HelperBase):
    def test_a_host_without_a_network_is_told_of_with_the_line(self):
        if not netdev.unshare():
            self.fail("no network of its own")
        self.qvmd.restart()  # there
        with self.assertRaises(Refused):
            self.start("a", more="vdev virtio-net user\n")
        self.assertRegex(self.qvmd.guest("a")["message"], r"^a.qvmconf:5: 'virtio-net': .*interface")


if __name__ == "__main__":
    qvmtest.main()
