#!/usr/bin/env python3
"""Cables: two guests whose network cards name each other."""

import contextlib
import os

from qvmtest import QvmdTest, Refused, bare, main


def sockets(pid):
    """The sockets that a process has, by their numbers."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return {name for name in found if name.startswith("socket:")}


def net(name, peer):
    return f"vdev virtio-net name {name} peer {peer}\n"


class CablesTest(QvmdTest):
    def tearDown(self):
        self.assert_invariants()

    def define(self, name, *networks):
        self.qvmd.call("guest.define", name=name,
                       definition=bare(name, more="".join(net(*one) for one in networks)))

    def both(self):
        """Two guests that are defined to be connected."""
        self.define("a", ("one", "b/two"))
        self.define("b", ("two", "/dev/qvm/a/one"))

    def run_guest(self, name):
        return self.qvmd.call("guest.start", name=name)["guest"]["pid"]

    def assert_connected(self, *names):
        """Their qvms have both ends of one cable in common."""
        first, second = (sockets(self.qvmd.guest(name)["pid"]) for name in names)
        self.assertEqual(len(first & second), 2, (first, second))

    def stop(self, name):
        self.qvmd.call("guest.kill", name=name)

    def denied(self, name):
        """The sentence with which a start is refused."""
        with self.assertRaises(Refused):
            self.qvmd.call("guest.start", name=name)
        return self.qvmd.guest(name)["message"]

    def test_guests_are_connected_in_any_order_and_again_after_each_end(self):
        self.both()
        for first, second in ("ab", "ba"):
            with self.subTest(first):
                self.run_guest(first)
                self.run_guest(second)
                self.assert_connected("a", "b")
                for name in "ab":
                    self.stop(name)
                    self.run_guest(name)
                    self.assert_connected("a", "b")
                self.stop("a")
                self.stop("b")

    def test_a_cable_outlives_qvmd_and_then_either_guest(self):
        self.both()
        before = self.run_guest("a")
        self.run_guest("b")
        for name in "ab":
            self.qvmd.restart()
            for other in "ab":
                self.eventually(self.is_found(other), "not adopted")
            self.assert_connected("a", "b")
            self.stop(name)
            self.qvmd.restart()
            other = "ab".replace(name, "")
            self.eventually(self.is_found(other), "not adopted")  # until then it cannot be asked
            self.run_guest(name)
            self.assert_connected("a", "b")
        self.assertNotEqual(self.qvmd.guest("a")["pid"], before)

    def test_qvmd_keeps_no_end_of_a_cable_that_nobody_has(self):
        self.both()
        before = len(os.listdir(f"/proc/{self.qvmd.process.pid}/fd"))
        for _ in range(3):
            self.run_guest("a")
            self.run_guest("b")
            self.stop("a")
            self.stop("b")
        self.eventually(lambda: len(os.listdir(f"/proc/{self.qvmd.process.pid}/fd")) <= before + 1,
                        lambda: os.listdir(f"/proc/{self.qvmd.process.pid}/fd"))

    def link(self, name):
        """What the guest's card says of its link."""
        for vdev in self.qvmd.call("guest.show", name=name)["vdevs"]:
            for value in vdev["values"]:
                if value["name"] == "link":
                    return value["value"]
        return None

    def assert_links(self, **wanted):
        self.eventually(lambda: {name: self.link(name) for name in wanted} == wanted,
                        lambda: {name: self.link(name) for name in wanted})

    def test_a_link_is_up_while_both_guests_run(self):
        self.both()
        self.run_guest("a")
        self.assert_links(a="down")
        self.run_guest("b")
        self.assert_links(a="up", b="up")
        self.stop("a")
        self.assert_links(b="down")
        self.run_guest("a")
        self.assert_links(a="up", b="up")

    def test_a_link_goes_down_with_a_guest_whose_end_nobody_saw(self):
        self.both()
        self.run_guest("a")
        pid = self.run_guest("b")
        self.qvmd.restart()
        for name in "ab":
            self.eventually(self.is_found(name), "not adopted")
        self.assert_links(a="up", b="up")
        self.qvmd.crash()
        os.kill(pid, 9)
        self.qvmd.start()
        self.assert_links(a="down")

    def test_what_a_guest_has_says_where_it_leads(self):
        self.both()
        self.run_guest("a")
        claims = self.qvmd.call("guest.show", name="a")["claims"]
        self.assertIn({"kind": "network", "id": "peer:b/two", "where": "a.qvmconf:5"},
                      [{key: claim.get(key) for key in ("kind", "id", "where")}
                       for claim in claims])

    def test_itself_and_nobody_are_no_peers(self):
        self.define("a", ("one", "a/two"), ("two", "a/one"))
        self.assertEqual(self.denied("a"),
                         "a.qvmconf:5: peer 'a/two' is a vdev of this guest itself")
        self.define("b", ("one", "nobody/two"))
        self.assertEqual(self.denied("b"), "b.qvmconf:5: peer 'nobody/two': there is no guest "
                                           "'nobody' ('qvmctl define' makes it known)")

    def test_a_guest_that_runs_without_such_a_vdev_is_no_peer(self):
        self.define("a", ("one", "b/wrong"))
        self.define("b", ("two", "a/one"))
        self.define("c", ("three", "b/two"))
        self.run_guest("b")
        self.assertEqual(self.denied("a"),
                         "a.qvmconf:5: peer 'b/wrong': guest 'b', which runs, has no vdev 'wrong' "
                         "whose peer is 'a/one'")
        self.assertIn("has no vdev 'two' whose peer is 'c/three'", self.denied("c"))
        self.assertEqual([], [event for event in self.qvmd.events()
                              if event["what"] == "peer-missing"])

    def test_who_waits_for_a_vdev_that_never_comes_is_told(self):
        self.define("a", ("one", "b/wrong"))
        self.define("b", ("two", "a/one"))
        self.run_guest("a")
        self.assertIn("has no vdev 'one' whose peer is 'b/two'", self.denied("b"))
        self.define("b")
        self.run_guest("b")
        self.qvmd.call("guest.kill", name="b")
        self.run_guest("b")  # as often as its owner likes: it is told once
        told = [event for event in self.qvmd.events(guest="a") if event["what"] == "peer-missing"]
        self.assertEqual([event["message"] for event in told],
                         ["vdev 'one' is alone: guest 'b' has no vdev 'wrong' whose peer is "
                          "'a/one'"])

    def test_no_guest_has_more_than_8_peers(self):
        self.define("a", *((f"n{i}", "b/two") for i in range(9)))
        self.define("b")
        self.refused("config-error", "guest.start", name="a")
        self.assertEqual(self.qvmd.guest("a")["message"],
                         "a.qvmconf:13: the VM has more than 8 peers")


if __name__ == "__main__":
    main()
