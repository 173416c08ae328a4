#!/usr/bin/env python3
"""A qvm under a daemon that a test plays: ask and grant, adoption, messages, ends, bad peers."""

import contextlib
import os
import signal
import socket
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fake"))
from qvm_parent import Gone, QvmParent, definition  # noqa: E402

BUILD = os.environ["QVM_BUILD"]
QVM = os.path.join(BUILD, "qvm-worker/qvm")
VDEVS = os.path.join(BUILD, "vdevs")
GUESTS = os.path.join(BUILD, "tests/guests/bare")

BARE = f"""system web
ram 16M
guest load {GUESTS}/guest.bzimage
vdev ser8250 hostdev -
"""
BANNER = b"qvm-guest: up"
PROMPT = b"> "


class UnderTest(unittest.TestCase):
    def spawn(self, text=BARE, **options):
        qvm = QvmParent(QVM, VDEVS, definition(text), **options)
        self.addCleanup(qvm.close)
        return qvm

    def attach(self, conversation, **members):
        ours, theirs = socket.socketpair()
        ours.settimeout(10)
        conversation.send("attach", members, [theirs.fileno()])
        theirs.close()
        self.addCleanup(ours.close)
        return ours

    def read_until(self, console, wanted, count=1):
        data = b""
        while data.count(wanted) < count:
            piece = console.recv(4096)
            self.assertTrue(piece, data)
            data += piece
        return data

    def test_asks_for_all_that_the_plan_needs_with_its_lines(self):
        qvm = self.spawn()
        conversation, hello = qvm.meet()
        self.assertEqual(hello["instance"], 7)
        self.assertFalse(hello.get("is_running", False))
        self.assertEqual(len(conversation.fds), 3)  # the console ring, the counters, no log end
        ask = conversation.expect("ask")
        self.assertEqual([(item["kind"], item["id"], item["where"]) for item in ask["items"]], [
            ("memory", "host", "t.qvmconf:2"), ("cpu", "shared", "t.qvmconf:1"),
            ("kvm", "/dev/kvm", "t.qvmconf:1"),
            ("file", f"{GUESTS}/guest.bzimage", "t.qvmconf:3")])
        self.assertEqual(ask["items"][0]["amount"], 16 << 20)

    def test_runs_types_and_powers_off(self):
        qvm = self.spawn()
        conversation = qvm.run()
        console = self.attach(conversation)
        self.read_until(console, PROMPT)
        console.sendall(b"poweroff\r")
        self.assertEqual(conversation.expect("ending")["reason"], "poweroff")
        self.assertEqual(qvm.wait(), 0)
        self.assertEqual(qvm.record()["reason"], "poweroff")
        self.assertEqual(qvm.record()["status"], 0)

    def test_the_power_button_reaches_the_guest(self):
        qvm = self.spawn()
        conversation = qvm.run()
        self.read_until(self.attach(conversation), PROMPT)
        conversation.send("power-button")
        self.assertEqual(qvm.wait(), 0, qvm.log())
        self.assertEqual(qvm.record()["reason"], "poweroff")

    def test_end_is_a_power_cut(self):
        qvm = self.spawn()
        conversation = qvm.run()
        conversation.send("end")
        self.assertEqual(conversation.expect("ending")["status"], 3)
        self.assertEqual(qvm.wait(), 3)
        self.assertEqual(qvm.record()["reason"], "killed")

    def test_a_reboot_stays_in_the_process_and_is_told(self):
        qvm = self.spawn()
        conversation = qvm.run()
        console = self.attach(conversation)
        self.read_until(console, PROMPT)
        console.sendall(b"reboot\r")
        self.assertEqual(conversation.expect("reset")["reboots"], 1)
        self.read_until(console, BANNER)
        self.assertTrue(qvm.is_alive())
        again, hello = qvm.meet()
        self.assertEqual(hello["reboots"], 1)
        again.send("end")
        self.assertEqual(qvm.wait(), 3)

    def test_a_crash_of_the_guest_is_told_and_no_error_in_the_log(self):
        qvm = self.spawn()
        conversation = qvm.run()
        self.read_until(self.attach(conversation), PROMPT)
        conversation.send("input", {"data": "Y3Jhc2gN"})  # "crash\r"
        self.assertEqual(qvm.wait(), 7, qvm.log())
        self.assertEqual(qvm.record()["reason"], "guest-crash")
        self.assertIn("triple fault", qvm.record()["message"])
        self.assertTrue(qvm.log().startswith("run: ended reason=guest-crash"), qvm.log())

    def test_a_new_daemon_takes_over_and_the_old_one_is_cut(self):
        qvm = self.spawn()
        first = qvm.run()
        second, hello = qvm.meet()
        self.assertTrue(hello["is_running"])
        self.assertTrue(first.is_cut())
        second.send("query", {"serial": 5})
        state = second.expect("state")
        self.assertEqual(state["serial"], 5)
        self.assertIn("ser8250", [vdev["name"] for vdev in state["vdevs"]])
        second.send("end")
        self.assertEqual(qvm.wait(), 3)

    def test_outlives_its_daemon_with_its_console_sessions(self):
        qvm = self.spawn()
        conversation = qvm.run()
        console = self.attach(conversation)
        self.read_until(console, PROMPT)
        conversation.close()
        console.sendall(b"mem\r")
        self.read_until(console, b"0 errors")
        again, hello = qvm.meet()
        self.assertTrue(hello["is_running"])
        scrollback = self.attach(again, read_only=True)
        self.read_until(scrollback, BANNER)
        again.send("power-button")
        self.assertEqual(qvm.wait(), 0, qvm.log())

    def test_ends_when_its_daemon_dies_before_the_guest_runs(self):
        qvm = self.spawn()
        conversation, _ = qvm.meet()
        conversation.expect("ask")
        conversation.close()
        self.assertEqual(qvm.wait(), 64)
        self.assertEqual(qvm.record()["reason"], "vmm-crash")

    def test_a_second_daemon_before_the_guest_runs_ends_it(self):
        qvm = self.spawn()
        conversation, _ = qvm.meet()
        conversation.expect("ask")
        qvm.meet()
        self.assertEqual(qvm.wait(), 64)
        self.assertEqual(qvm.record()["message"], "qvmd was replaced while we started")

    def test_an_ask_longer_than_a_packet_comes_in_pieces(self):
        name = "n" * 3000
        loads = "".join(f"load {i:x}000000,/{name}{i}\n" for i in range(1, 64))
        qvm = self.spawn(f"system web\nram 1M\n{loads}")
        conversation, _ = qvm.meet()
        pieces, ids, more = 0, [], True
        while more:
            ask = conversation.expect("ask")
            ids += [item["id"] for item in ask["items"]]
            pieces, more = pieces + 1, ask.get("more", False)
        self.assertGreater(pieces, 2)
        self.assertEqual(ids[3:], [f"/{name}{i}" for i in range(1, 64)])
        conversation.send("deny", {"item": 65, "message": "no"})
        self.assertEqual(qvm.wait(), 64)
        self.assertEqual(qvm.record()["message"], "t.qvmconf:65: no")

    def test_a_grant_in_pieces_and_an_end_before_the_guest_runs(self):
        qvm = self.spawn()
        conversation, _ = qvm.meet()
        conversation.expect("ask")
        conversation.send("grant", {"items": [{"item": 0}, {"item": 1}], "more": True})
        conversation.send("end")
        self.assertEqual(qvm.wait(), 3)
        self.assertEqual(qvm.record()["reason"], "killed")

    def test_a_guest_that_resets_in_a_loop_is_slowed_down(self):
        qvm = self.spawn(BARE + "set on-crash reset\n")
        conversation = qvm.run()
        console = self.attach(conversation)
        for boot in range(1, 12):
            self.read_until(console, PROMPT)
            console.sendall(b"crash\r")
            if boot <= 10:
                self.assertEqual(conversation.expect("reset")["reboots"], boot)
        conversation.send("query", {"serial": 1})
        name = ""
        while name != "state":
            name, body, _ = conversation.receive()
            self.assertNotEqual(name, "reset")
        self.assertEqual(conversation.expect("reset")["reboots"], 11)

    def links(self, qvm):
        folder = f"/proc/{qvm.pid}/fd"
        links = []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed just now
                links.append(os.readlink(os.path.join(folder, name)))
        return links

    def test_a_vm_is_built_while_the_grant_is_awaited_and_runs_after_it(self):
        qvm = self.spawn()
        conversation, _ = qvm.meet()
        deadline = time.monotonic() + 10
        while "anon_inode:kvm-vcpu:0" not in self.links(qvm):
            self.assertLess(time.monotonic(), deadline)
        qvm.grant_all(conversation)
        conversation.expect("running")
        self.read_until(self.attach(conversation), PROMPT)

    def test_without_a_vm_ahead_the_granted_kvm_makes_one(self):
        for kvm in None, "/dev/null":
            with self.subTest(kvm=kvm):
                qvm = self.spawn(kvm=kvm)
                self.read_until(self.attach(qvm.run()), PROMPT)

    def test_kvm_is_closed_once_the_guest_runs(self):
        for kvm in "/dev/kvm", None:
            with self.subTest(kvm=kvm):
                qvm = self.spawn(kvm=kvm)
                self.read_until(self.attach(qvm.run()), PROMPT)
                self.assertNotIn("/dev/kvm", self.links(qvm))

    @unittest.skipIf(os.environ.get("QVM_HAS_DOOR") == "0", "this qvm has no door")
    def test_every_thread_is_behind_its_door_once_the_guest_runs(self):
        for kvm in "/dev/kvm", None, "/dev/null":
            with self.subTest(kvm=kvm):
                qvm = self.spawn(kvm=kvm)
                self.read_until(self.attach(qvm.run()), PROMPT)
                for task in os.listdir(f"/proc/{qvm.pid}/task"):
                    with open(f"/proc/{qvm.pid}/task/{task}/status", encoding="ascii") as file:
                        self.assertIn("\nSeccomp:\t2\n", file.read(), task)

    def test_a_denial_ends_it_with_the_line(self):
        qvm = self.spawn()
        conversation, _ = qvm.meet()
        conversation.expect("ask")
        conversation.send("deny", {"item": 0, "message": "16M are not there"})
        self.assertEqual(qvm.wait(), 64)
        self.assertEqual(qvm.record(), {"reason": "denied", "status": 64,
                                        "message": "t.qvmconf:2: 16M are not there"})

    def test_a_wrong_configuration_is_told_in_the_record(self):
        qvm = self.spawn("system web\nram 5000\n")
        self.assertEqual(qvm.wait(), 65)
        self.assertEqual(qvm.record()["reason"], "config-error")
        self.assertTrue(qvm.record()["message"].startswith("t.qvmconf:2: "), qvm.record())

    def test_a_configuration_of_another_name_is_refused(self):
        qvm = self.spawn("system db\nram 1M\n")
        self.assertEqual(qvm.wait(), 65)
        self.assertEqual(qvm.record()["message"],
                         "t.qvmconf:1: the configuration is of VM 'db', not 'web'")

    def test_an_image_that_is_none_is_refused_with_its_line(self):
        qvm = self.spawn("system web\nram 16M\nguest load /etc/hostname-not-there\n")
        conversation, _ = qvm.meet()
        conversation.expect("ask")
        conversation.send("deny", {"item": 3, "message": "No such file or directory"})
        self.assertEqual(qvm.wait(), 64)
        self.assertIn("t.qvmconf:3: ", qvm.record()["message"])

    def check_cut(self, qvm, peer):
        self.assertTrue(peer.is_cut())
        self.assertTrue(qvm.is_alive())

    def test_strangers_and_garbage_are_cut_and_the_guest_goes_on(self):
        qvm = self.spawn()
        conversation = qvm.run()
        for packet in (b"garbage", b"{}", b'{"hello":{}}', b"\0" * 100, b"[" * 5000,
                       b'{"power-button":{}}', b'{"running":{}}', b'{"hello":1}',
                       b'{"hello":{"version":1,"nonce":"wrong"}}', b"x" * 65536):
            stranger = qvm.connect()
            stranger.send_raw(packet)
            self.check_cut(qvm, stranger)
        stranger = qvm.connect()
        stranger.send_raw(b"x" * 65537)
        self.check_cut(qvm, stranger)
        conversation.send("query", {"serial": 1})
        conversation.expect("state")

    def test_what_runs_has_nothing_to_make_its_exit_record_longer_with(self):
        qvm = self.spawn()
        qvm.run()
        held = os.listdir(f"/proc/{qvm.pid}/fd")
        self.assertNotIn(qvm.exit_path, [os.readlink(f"/proc/{qvm.pid}/fd/{fd}") for fd in held])
        self.assertEqual(os.path.getsize(qvm.exit_path), 8192)

    def test_the_newest_version_that_both_speak_is_spoken(self):
        qvm = self.spawn()
        qvm.run()
        for told, spoken in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 6), (65535, 6)):
            peer = qvm.connect()
            self.assertEqual(peer.hello(qvm.nonce, version=told)["version"], spoken)

    def test_a_packet_may_have_its_limit_and_not_one_byte_more(self):
        qvm = self.spawn()
        conversation = qvm.run()
        conversation.send_raw(b'{"query":{"serial":1}}'.ljust(65536))
        conversation.expect("state")
        conversation.send_raw(b'{"query":{"serial":2}}'.ljust(65537))
        self.check_cut(qvm, conversation)

    def test_descriptors_of_strangers_are_closed(self):
        qvm = self.spawn()
        conversation = qvm.run()
        before = len(os.listdir(f"/proc/{qvm.pid}/fd"))
        with open("/dev/null", encoding="utf-8") as null:
            for _ in range(20):
                conversation.send("query", {"serial": 1}, [null.fileno()] * 64)
                conversation.expect("state")
        conversation.send("query", {"serial": 2})
        conversation.expect("state")
        self.assertEqual(len(os.listdir(f"/proc/{qvm.pid}/fd")), before)

    def test_a_silent_candidate_holds_nothing_up(self):
        qvm = self.spawn()
        qvm.run()
        silent = [qvm.connect() for _ in range(3)]
        again, hello = qvm.meet()
        self.assertTrue(hello["is_running"])
        again.send("query", {"serial": 1})
        again.expect("state")
        for peer in silent:
            peer.close()

    def test_a_daemon_that_does_not_read_is_cut(self):
        qvm = self.spawn()
        conversation = qvm.run()
        try:
            for serial in range(5000):
                conversation.send("query", {"serial": serial})
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertTrue(conversation.is_cut())
        again, hello = qvm.meet()
        self.assertTrue(hello["is_running"])
        again.send("end")
        self.assertEqual(qvm.wait(), 3)

    def test_a_peer_of_another_uid_is_cut(self):
        qvm = self.spawn(daemon_uid=os.getuid() + 1)
        with self.assertRaises((Gone, BrokenPipeError, ConnectionResetError)):
            qvm.meet()
        self.assertTrue(qvm.is_alive())

    def test_a_grant_that_does_not_fit_the_ask_ends_it(self):
        for grant in ({"items": [{"item": 9}]}, {"items": [{"item": 0}]},
                      {"items": [{"item": 2, "has_descriptor": True}]},
                      {"items": [{"item": 0}, {"item": 0}]}):
            qvm = self.spawn()
            conversation, _ = qvm.meet()
            conversation.expect("ask")
            conversation.send("grant", grant)
            self.assertEqual(qvm.wait(), 64, grant)
            self.assertEqual(qvm.record()["reason"], "vmm-crash")

    def test_signals_do_what_the_manual_says(self):
        qvm = self.spawn()
        conversation = qvm.run()
        self.read_until(self.attach(conversation), PROMPT)
        os.kill(qvm.pid, signal.SIGUSR1)
        os.kill(qvm.pid, signal.SIGUSR2)
        conversation.send("query", {"serial": 1})
        conversation.expect("state")
        os.kill(qvm.pid, signal.SIGQUIT)
        self.assertEqual(qvm.wait(), 3)
        self.assertIn("state: device=ser8250", qvm.log())
        self.assertIn("dump refused why=", qvm.log())

    @unittest.skipUnless(os.environ.get("QVM_HAS_DOOR", "1") == "1", "sanitizers have no door")
    def test_every_thread_is_filtered_once_the_guest_runs(self):
        qvm = self.spawn()
        qvm.run()
        for thread in os.listdir(f"/proc/{qvm.pid}/task"):
            with open(f"/proc/{qvm.pid}/task/{thread}/status", encoding="utf-8") as file:
                status = dict(line.split(":\t", 1) for line in file.read().splitlines())
            if not status["Name"].startswith("kvm-"):  # the kernel's own
                self.assertEqual(status["Seccomp"].strip(), "2", status["Name"])


if __name__ == "__main__":
    unittest.main()
