#!/usr/bin/env python3
"""Taps: network devices of the host that are made for guests, in a network of this test's own."""

import contextlib
import os
import sys

from crashtest import CrashBase
from netdev import (IFF_MULTI_QUEUE, IFF_UP, add_bridge, add_port, address, devices, flags, open_tap, persist, ports,
                    set_address, unshare)
from qvmtest import SKIPPED, QvmdTest, Refused, bare, main

def net(*taps):
    return "".join(f"vdev virtio-net tap {tap}\n" for tap in taps)


def queues(pid, tap):
    """How many queues of a tap a process has."""
    found = 0
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/fdinfo/{fd}",
                                                          encoding="ascii") as info:
            found += f"iff:\t{tap}\n" in info.read()
    return found


class TapsTest(QvmdTest):
    settings = ("tap vm* bridge br0 bridge lo bridge nowhere", "tap lo")

    def tearDown(self):
        for name in self.qvmd.guests():
            with contextlib.suppress(Refused):
                self.qvmd.call("guest.kill", name=name)
        self.assert_invariants()
        self.assertEqual(set(devices()), {"lo", "br0"})

    def run_guest(self, name, *taps):
        return self.start(name, more=net(*taps))

    def denied(self, name, *taps):
        """The sentence with which a start is refused."""
        with self.assertRaises(Refused):
            self.run_guest(name, *taps)
        return self.qvmd.guest(name)["message"]

    def qvmd_has(self):
        """What qvmd has open."""
        fds = f"/proc/{self.qvmd.process.pid}/fd/"
        found = set()
        for fd in os.listdir(fds):
            with contextlib.suppress(FileNotFoundError):
                found.add(os.readlink(fds + fd))
        return found

    def assert_gone(self, *names):
        self.assertFalse(set(names) & set(devices()), devices())

    def test_a_guest_has_its_taps_from_its_start_to_its_end(self):
        self.run_guest("a", "vm1,br0", "vm2")
        found = devices()
        self.assertTrue(flags("vm1") & IFF_UP and flags("vm2") & IFF_UP)
        self.assertEqual(ports("br0"), {found["vm1"]})
        self.assertNotIn("/dev/net/tun", self.qvmd_has())
        claims = [(claim["kind"], claim["id"], claim["where"])
                  for claim in self.qvmd.call("guest.show", name="a")["claims"]]
        self.assertIn(("network", "tap:vm1,br0", "a.qvmconf:5"), claims)
        self.assert_console("a", "> ")
        self.qvmd.call("guest.kill", name="a")
        self.assert_gone("vm1", "vm2")

    def test_a_bridge_does_not_take_the_address_of_a_tap_that_goes(self):
        other = open_tap("other")  # a port that stays
        try:
            set_address("other", bytes.fromhex("fa0000000001"))
            add_port("br0", "other")
            self.assertEqual(address("br0"), address("other"))
            self.run_guest("a", "vm1,br0")
            self.assertEqual(len(ports("br0")), 2)
            self.assertEqual(address("br0"), address("other"))
            self.assertEqual(address("vm1")[0], 0xFE)
        finally:
            os.close(other)

    def test_two_guests_do_not_have_one_tap(self):
        pid = self.run_guest("a", "vm1,br0")["pid"]
        self.assertEqual(self.denied("b", "vm1"),
                         f"b.qvmconf:5: 'tap:vm1' is held by guest 'a' (pid {pid})")
        self.qvmd.call("guest.kill", name="a")
        self.run_guest("b", "vm1")
        self.assertEqual(self.denied("c", "vm2", "vm2,br0"),
                         "c.qvmconf:6: 'tap:vm2' is asked for twice (c.qvmconf:5)")

    def test_a_tap_outlives_qvmd_and_goes_with_its_guest(self):
        before = self.run_guest("a", "vm1,br0")
        index = devices()["vm1"]
        self.qvmd.restart()
        self.assert_runs_on(before)
        self.assertEqual(devices()["vm1"], index)
        self.assertIn("is held by guest 'a'", self.denied("b", "vm1"))
        self.qvmd.call("guest.kill", name="a")
        self.assert_gone("vm1")
        for _ in range(3):  # the next one does not meet what the last one leaves behind
            self.run_guest("a", "vm1,br0")
            self.qvmd.call("guest.kill", name="a")

    def test_nothing_is_left_when_all_are_killed(self):
        pid = self.run_guest("a", "vm1,br0")["pid"]
        self.qvmd.crash()
        os.kill(pid, 9)
        self.eventually(lambda: "vm1" not in devices(), "the tap is left")
        self.qvmd.start()
        self.eventually(lambda: self.qvmd.guest("a")["state"] != "running", "not found dead")
        self.run_guest("a", "vm1,br0")
        self.assertEqual(len(ports("br0")), 1)

    def test_who_may_not_have_it_is_told_why(self):
        for taps, sentence in (
                (["eth0"], "5: tap 'eth0' is not for guests: 'tap eth0' of qvmd.conf would make it "
                           "so"),
                (["vm1", "vm2,br1"], "6: tap 'vm2' (qvmd.conf:3) may not be in the bridge 'br1': "
                                     "'bridge br1' there would allow it"),
                (["vm1,nowhere"], "5: there is no bridge 'nowhere': 'ip link add nowhere type "
                                  "bridge' makes one, 'ip link set nowhere up' switches it on"),
                (["vm1", "vm2,lo"], "6: the network device 'lo' is no bridge"),
                (["lo"], "5: there is a network device 'lo' that is no tap")):
            with self.subTest(taps):
                self.assertEqual(self.denied("a", *taps), "a.qvmconf:" + sentence)
                # the hand that made the first of them ends after it has told why
                self.eventually(lambda: not {"vm1", "vm2"} & set(devices()), devices, within=20)
        many = [f"vm{number}" for number in range(33)]
        self.assertEqual(self.denied("a", *many), "a.qvmconf:37: a guest has at most 32 taps")

    def test_what_another_program_has_is_in_use_until_it_is_not(self):
        tap = open_tap("vm1")
        try:
            self.assertEqual(self.denied("a", "vm1"), "a.qvmconf:5: the tap 'vm1' is in use")
        finally:
            os.close(tap)
        self.run_guest("a", "vm1")

    def test_a_tap_of_the_hosts_own_is_used_and_left_where_it_is(self):
        tap = open_tap("vm1")
        persist(tap, 1)
        before = address("vm1")
        os.close(tap)
        try:
            self.assertEqual(self.denied("a", "vm1,br0"),
                             "a.qvmconf:5: the tap 'vm1' is the host's own, which has its place "
                             "already: leave the bridge out ('ip link set vm1 master br0' makes it "
                             "a port of that)")
            self.run_guest("a", "vm1")
            self.qvmd.call("guest.kill", name="a")
            self.assertEqual(address("vm1"), before)
            self.assertEqual(ports("br0"), set())
        finally:
            tap = open_tap("vm1")
            persist(tap, 0)
            os.close(tap)

    def test_a_tap_has_the_queues_that_are_wanted_and_is_claimed_once(self):
        pid = self.run_guest("a", "vm1,br0 queues 4", "vm2", "vm3 queues 8")["pid"]
        self.assertEqual([queues(pid, tap) for tap in ("vm1", "vm2", "vm3")], [4, 1, 8])
        self.assertEqual(ports("br0"), {devices()["vm1"]})
        self.assertNotIn("/dev/net/tun", self.qvmd_has())
        claims = [claim["id"] for claim in self.qvmd.call("guest.show", name="a")["claims"]
                  if claim["kind"] == "network"]
        self.assertEqual(claims, ["tap:vm1,br0", "tap:vm2", "tap:vm3"])
        for wish in ("vm1", "vm1 queues 2"):
            self.assertEqual(self.denied("b", wish),
                             f"b.qvmconf:5: 'tap:vm1' is held by guest 'a' (pid {pid})")
        self.qvmd.restart()
        self.assertIn("is held by guest 'a'", self.denied("b", "vm1 queues 2"))
        self.qvmd.call("guest.kill", name="a")
        self.assert_gone("vm1", "vm2", "vm3")
        for _ in range(3):  # the next one does not meet what the last one leaves behind
            self.run_guest("a", "vm1,br0 queues 4")
            self.qvmd.call("guest.kill", name="a")
        self.assertEqual(self.denied("a", "vm2", "vm1 queues 2", "vm1 queues 2"),
                         "a.qvmconf:7: 'tap:vm1' is asked for twice (a.qvmconf:6)")
        self.assert_gone("vm1", "vm2")

    def test_as_many_queues_as_a_vm_may_have_come_in_several_packets(self):
        wanted = {f"vm{number}": 8 if number < 9 else 1 for number in range(20)}
        pid = self.run_guest("a", *(f"{tap} queues {count}" for tap, count in wanted.items()))["pid"]
        self.assertEqual({tap: queues(pid, tap) for tap in wanted}, wanted)

    def test_a_tap_of_several_queues_that_another_program_has_is_in_use(self):
        tap = open_tap("vm1", IFF_MULTI_QUEUE)
        try:
            self.assertEqual(self.denied("a", "vm1 queues 2"),
                             "a.qvmconf:5: the tap 'vm1' is in use")
        finally:
            os.close(tap)
        self.run_guest("a", "vm1 queues 2")

    def test_a_tap_of_the_hosts_own_has_the_queues_that_it_was_made_with(self):
        for more, wrong, sentence, right in (
                (0, "vm1 queues 2", "has one queue: 'ip tuntap add vm1 mode tap multi_queue' makes "
                                    "one that has several", "vm1"),
                (IFF_MULTI_QUEUE, "vm1", "has several queues: 'queues' says how many of them, from "
                                         "2 on", "vm1 queues 2")):
            with self.subTest(right):
                tap = open_tap("vm1", more)
                persist(tap, 1)
                os.close(tap)
                try:
                    self.assertEqual(
                        self.denied("a", wrong),
                        "a.qvmconf:5: the tap 'vm1' is the host's own, and " + sentence)
                    self.run_guest("a", right)
                    self.qvmd.call("guest.kill", name="a")
                finally:
                    tap = open_tap("vm1", more)
                    persist(tap, 0)
                    os.close(tap)

    def test_a_qvmd_without_the_right_says_which_one_it_wants(self):
        self.qvmd.stop()
        self.qvmd.runner = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
        self.qvmd.start()
        self.assertEqual(self.denied("a", "vm1"),
                         "a.qvmconf:5: qvmd lacks the right CAP_NET_ADMIN; under systemd a drop-in "
                         "for its unit gives it that, and the host's network (qvmd(8))")


class TapCrashTest(CrashBase):
    settings = (*CrashBase.settings, "tap vm1 bridge br0")

    def test_a_qvmd_that_is_killed_while_it_gives_a_tap_leaves_none(self):
        def begin():
            return self.call("guest.start", name="a",
                             definition=bare("a", more=net("vm1,br0 queues 2")))["guest"]

        points, _, _ = self.one_run(self.forget, begin, 0)
        for name in ("taps made", "hand told to pass files on", "files passed on", "grant sent"):
            self.assertIn(name, points)
            with self.subTest(name):
                _, died, _ = self.die_at(self.forget, begin, points.index(name) + 1)
                self.assertTrue(died)
                self.qvmd.start()
                self.becomes("a", "failed", "running", "stopped")
                self.assert_all_is_well()
                self.put_to_rest()
                self.assertEqual(set(devices()), {"lo", "br0"})


if __name__ == "__main__":
    if not unshare() or not os.path.exists("/dev/net/tun"):
        print("SKIPPED: needs root, or /dev/net/tun is missing; nothing of this file was tried")
        sys.exit(SKIPPED)
    add_bridge("br0")
    main()
