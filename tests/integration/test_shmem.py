#!/usr/bin/env python3
"""Guests share memory: bare-metal guests on the real /dev/kvm, through the factory page."""

import os
import signal
import socket

from qvmtest import QvmdTest, main
from sharer import (DETACH, FACTORY, GSI, IDX, ILLEGAL, NO_MEMORY, NO_PERMISSION, NOT_THERE, NOTIFY,
                    OK, PAGE, SIZE, TOO_MANY, VECTOR, WINDOW, Sharer, sharing)


class ShmemTest(QvmdTest):
    def regions(self):
        return {one["name"]: one for one in self.qvmd.call("shmem.list")["regions"]}

    def clients(self, region):
        return {one["client"]: one["guest"] for one in self.regions()[region].get("clients", [])}

    def test_two_guests_exchange_data_and_hear_of_each_other(self):
        a, b = Sharer(self, "a", "create ring,64K"), Sharer(self, "b")
        self.assertEqual(self.regions()["ring"]["size"], 65536)
        self.assertEqual(self.regions()["ring"]["kept_by"], ["a"])
        self.assertEqual(a.read(FACTORY), 0x474d5651)
        self.assertEqual(a.read(FACTORY + 4), 0x4d534732)
        self.assertEqual(a.read(FACTORY + VECTOR), GSI)
        self.assertEqual(a.attach("ring", 1), (OK, WINDOW))
        self.assertEqual(a.read(FACTORY + SIZE), 16)  # what it is, not what was asked for
        self.assertEqual(a.read(WINDOW + IDX), 0)
        a.watch(WINDOW)
        a.hears(0x10000)
        self.assertEqual(b.attach("ring", 0), (OK, WINDOW))
        a.hears(0x30000)
        self.assertEqual(b.read(WINDOW + IDX), 1)
        self.assertEqual(self.clients("ring"), {0: "a", 1: "b"})
        a.write(WINDOW + PAGE, 0x1234abcd)
        a.write(WINDOW + PAGE + 65532, 0x5eed)
        self.assertEqual(b.read(WINDOW + PAGE), 0x1234abcd)
        self.assertEqual(b.read(WINDOW + PAGE + 65532), 0x5eed)
        self.assertEqual(b.read(WINDOW + PAGE + 65536), 0)  # behind it is nothing
        b.watch(WINDOW)
        a.write(WINDOW + NOTIFY, 0b10)
        b.hears(0x30001)
        b.write(WINDOW + NOTIFY, 0xfffffffd)
        a.hears(0x30002)
        since = a.said()
        os.kill(b.info["pid"], signal.SIGKILL)
        a.hears(0x10000, since=since)
        self.assertEqual(self.clients("ring"), {0: "a"})

    def test_a_region_lives_as_long_as_somebody_has_it(self):
        a, b = Sharer(self, "a"), Sharer(self, "b")
        self.assertEqual(a.attach("one", 0)[0], NOT_THERE)
        self.assertEqual(a.attach("one", 2), (OK, WINDOW))
        a.write(WINDOW + PAGE, 77)
        self.assertEqual(b.attach("one", 0), (OK, WINDOW))
        self.assertEqual(b.attach("two", 1), (OK, WINDOW + 3 * PAGE))
        a.write(WINDOW + DETACH, 1)
        self.eventually(lambda: self.clients("one") == {1: "b"}, "still attached")
        self.assertEqual(a.read(WINDOW + PAGE), 0)
        self.assertEqual(a.attach("one", 0), (OK, WINDOW))
        self.assertEqual(a.read(WINDOW + PAGE), 77)
        self.qvmd.type("b", "reboot\r")
        self.eventually(lambda: list(self.regions()) == ["one"], "a reset does not detach")
        self.assertEqual(self.clients("one"), {0: "a"})
        self.qvmd.call("guest.kill", name="a")
        self.eventually(lambda: self.regions() == {}, "it is still there")

    def test_who_may_not_have_a_region_does_not_get_it(self):
        a = Sharer(self, "a", "create mine,4K", "allow pub*", "deny *secret")
        for name, status in (("pub1", OK), ("mine", OK), ("other", NO_PERMISSION),
                             ("pubsecret", NO_PERMISSION), ("a/b", ILLEGAL), ("", ILLEGAL)):
            self.assertEqual(a.attach(name, 1)[0], status, name)
        self.assertEqual(sorted(self.regions()), ["mine", "pub1"])
        self.assertEqual(a.attach("pub2", 255)[0], NO_MEMORY)  # more than the window has
        self.assertEqual(a.attach("pub2", 0x80000000)[0], NO_MEMORY)
        for i in range(6):
            self.assertEqual(a.attach(f"pub1{i}", 1)[0], OK)
        self.assertEqual(a.attach("pub2", 1)[0], TOO_MANY)

    def test_what_is_wrong_is_said_before_the_guest_runs(self):
        Sharer(self, "a", "create ring,64K")
        sentence = self.refused("exists", "guest.start", name="b",
                                definition=sharing("b", "create ring,8K"))
        self.assertIn("region 'ring' of shared memory is there already, with 65536 bytes and not "
                      "8192", sentence)
        self.assertRegex(sentence, r"^t\.qvmconf:\d+: ")

    def test_sharing_outlives_qvmd(self):
        a, b = Sharer(self, "a", "create ring,64K"), Sharer(self, "b")
        for guest in (a, b):
            self.assertEqual(guest.attach("ring", 16), (OK, WINDOW))
            guest.watch(WINDOW)
        a.write(WINDOW + PAGE, 1)
        self.qvmd.crash()
        self.qvmd.start()
        for guest in (a, b):
            self.eventually(self.is_found(guest.name), "not adopted")
        self.eventually(lambda: self.regions() and self.clients("ring") == {0: "a", 1: "b"},
                        lambda: f"not known: {self.regions()}")
        a.write(WINDOW + NOTIFY, 2)
        b.hears(0x30001)
        c = Sharer(self, "c")
        self.assertEqual(c.attach("ring", 0), (OK, WINDOW))
        self.assertEqual(c.read(WINDOW + PAGE), 1)
        a.hears(0x70000)
        since = a.said()
        os.kill(b.info["pid"], signal.SIGKILL)
        a.hears(0x50000, since=since)
        self.assertEqual(self.clients("ring"), {0: "a", 2: "c"})

    def session(self, name):
        """A console that needs no qvmd."""
        client = self.qvmd.client()
        self.addCleanup(client.close)
        client.call("console.attach", name=name)
        console = socket.socket(fileno=os.dup(client.fds[0]))
        console.settimeout(20)
        self.addCleanup(console.close)
        return console

    def test_a_signal_needs_no_qvmd(self):
        a, b = Sharer(self, "a", "create ring,64K"), Sharer(self, "b")
        for guest in (a, b):
            self.assertEqual(guest.attach("ring", 16), (OK, WINDOW))
        b.watch(WINDOW)
        b.hears(0x30000)
        typist, reader = self.session("a"), self.session("b")
        self.qvmd.process.send_signal(signal.SIGSTOP)
        try:
            typist.send(f"poke {WINDOW + NOTIFY:x} 2\r".encode())
            said = b""
            while b"news 0x30001" not in said:
                said += reader.recv(4096)
        finally:
            self.qvmd.process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    main()
