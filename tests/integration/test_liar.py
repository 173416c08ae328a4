#!/usr/bin/env python3
"""qvmd in front of a qvm that lies (tests/fake/liar.c): the guest fails, with a reason, and nobody
else notices."""

import os
import signal
import socket
import subprocess
import time

from qvmtest import BUILD, LeavesNothingTest, Refused, definition, main

LIAR = os.path.join(BUILD, "tests", "integration", "fake_liar")
NOTHING = definition("")


class LiarTest(LeavesNothingTest):
    worker = LIAR
    settings = ("spares 0", "log-size 64K", "log-count 1")  # a liar waits for nobody

    def fails(self, name, reason, words, error="guest-failed"):
        message = self.refused(error, "guest.start", name=name, definition=NOTHING)
        self.assertIn(words, message)
        guest = self.qvmd.guest(name)
        self.assertEqual((guest["state"], guest["reason"]), ("failed", reason))
        return guest

    def run_it(self, name):
        return self.qvmd.call("guest.start", name=name, definition=NOTHING)["guest"]

    def test_one_that_dies_is_told_with_its_last_words(self):
        guest = self.fails("dies", "vmm-crash", "ended with status 7")
        self.assertIn("dies: with these last words", guest["message"])
        self.assertEqual(guest["exit_status"], 7)

    def test_one_that_leaves_rubbish_as_its_record_left_none(self):
        self.fails("leaves-rubbish", "vmm-crash", "left no record")
        self.fails("leaves-much", "vmm-crash", "left no record")

    def test_one_that_could_not_become_a_qvm_is_told_so(self):
        self.fails("talks-in-the-pipe", "vmm-crash", "could not be run: I would rather not")

    def test_one_that_asks_for_more_queues_than_a_tap_has_is_told_so(self):
        self.fails("asks-for-many-queues", "denied", "a tap has at most 8 queues", error="too-big")

    def test_a_program_that_is_none_is_told_so(self):
        path = os.path.join(self.qvmd.top, "none")
        with open(path, "w", encoding="utf-8") as file:
            file.write("nothing\n")
        os.chmod(path, 0o755)
        self.qvmd.stop()
        self.qvmd.worker = path
        self.qvmd.start()
        self.fails("a", "vmm-crash", "execveat: ENOEXEC")

    def test_one_that_nobody_can_connect_to_is_ended(self):
        self.fails("never-listens", "vmm-crash", "broke the connection off")

    def test_one_that_does_not_answer_is_ended(self):
        self.fails("says-nothing", "vmm-crash", "did not say in time")

    def test_one_with_another_nonce_is_ended(self):
        self.fails("has-another-nonce", "vmm-crash", "broke the connection off")

    def test_one_that_sends_rubbish_is_ended(self):
        for name in ("sends-rubbish", "sends-what-qvmd-sends", "hangs-up"):
            self.fails(name, "vmm-crash", "broke the connection off")

    def test_one_that_asks_by_another_kinds_name_is_refused(self):
        self.assertIn("its qvm asks for 'cpu0', which is no shmem",
                      self.refused("config-error", "guest.start", definition=NOTHING,
                                   name="asks-for-a-cpu-by-another-word"))

    def test_one_that_asks_for_the_address_of_the_host_is_refused(self):
        self.assertIn("its qvm asks for 'cid:2', which is no network",
                      self.refused("config-error", "guest.start", definition=NOTHING,
                                   name="asks-for-the-address-of-the-host"))

    def test_memory_that_was_never_shared_can_be_neither_left_nor_held(self):
        pid = self.qvmd.process.pid
        self.run_it("leaves-what-it-never-had")
        self.qvmd.call("guest.stats", names=["leaves-what-it-never-had"])
        self.assertEqual(self.qvmd.call("shmem.list")["regions"], [])
        self.qvmd.call("guest.kill", name="leaves-what-it-never-had")
        self.assertIsNone(self.qvmd.process.poll())
        self.assertEqual(self.qvmd.process.pid, pid)

    def test_regions_that_are_promised_and_never_told_of_hold_no_wish_up(self):
        name = "promises-regions"
        self.run_it(name)
        self.qvmd.crash()
        self.qvmd.start()
        self.eventually(lambda: self.qvmd.guest(name)["state"] == "stopped",
                        lambda: f"its wish was never answered: {self.qvmd.guest(name)}")
        told = [one for one in self.qvmd.events(guest=name) if one["what"] == "region-lost"]
        self.assertEqual([one["message"] for one in told],
                         ["region 'a' is not shared any more: it was not granted that"])
        # and it gets no more than it has memory, 8 KiB, whatever it says
        self.assertEqual(self.qvmd.guest(name)["message"], "no memory")

    def test_nobody_is_connected_beside_a_socket_that_was_not_granted(self):
        path = os.path.join(self.qvmd.top, "s")  # which it is granted as a file
        with open(path, "w", encoding="utf-8"):
            pass
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path + "_7")
            server.listen()
            server.setblocking(False)
            self.qvmd.call("guest.start", name="calls-elsewhere", definition=definition(path))
            self.eventually(lambda: self.qvmd.guest("calls-elsewhere")["state"] == "stopped",
                            "it was not answered", within=20)
            self.assertEqual(self.qvmd.guest("calls-elsewhere")["message"], "nothing")
            with self.assertRaises(BlockingIOError):
                server.accept()

    def images(self):
        for name in "ab":
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2",
                            os.path.join(self.qvmd.top, name), "1M"], check=True, timeout=60)
        return definition(self.qvmd.top)

    def heard(self, name):
        self.eventually(lambda: self.qvmd.guest(name)["state"] == "stopped",
                        lambda: f"it heard nothing: {self.qvmd.guest(name)}", within=30)
        return int(self.qvmd.guest(name)["message"])

    def test_no_helper_follows_one_that_was_not_granted_yet(self):
        name = "wishes-too-early"
        self.qvmd.call("guest.start", name=name, definition=self.images())
        self.assertEqual(self.heard(name), 1)
        self.assertNotIn("helper-lost", [one["what"] for one in self.qvmd.events(guest=name)])

    def test_wishes_without_end_are_not_all_answered(self):
        name = "wishes-for-ever"
        self.qvmd.call("guest.start", name=name, definition=self.images())
        heard = self.heard(name)
        self.assertGreaterEqual(heard, 256)  # a guest may have as many helpers
        self.assertLess(heard, 1000)

    def test_no_helper_gets_another_image_of_its_guest(self):
        name = "wishes-later"
        self.qvmd.call("guest.start", name=name, definition=self.images())
        pids = [row[0] for row in self.qvmd.rows("SELECT pid FROM helper")]
        self.assertEqual(len(pids), 2)
        self.qvmd.crash()
        for pid in pids:  # so that nobody has the images locked
            os.kill(pid, signal.SIGKILL)
        os.rename(os.path.join(self.qvmd.top, "b"), os.path.join(self.qvmd.top, "a"))
        self.qvmd.start()
        self.assertEqual(self.heard(name), 0)
        self.assertIn("it is another one than it was",
                      [one["message"] for one in self.qvmd.events(guest=name)
                       if one["what"] == "helper-lost"][-1])

    def test_one_that_asks_for_nothing_in_time_is_ended(self):
        self.fails("asks-nothing", "vmm-crash", "did not say in time")

    def test_one_that_runs_without_a_grant_does_not(self):
        with self.qvmd.client() as client:
            number = client.request("guest.start", name="runs-unasked", definition=NOTHING)
            time.sleep(0.3)
            self.assertEqual(self.qvmd.guest("runs-unasked")["state"], "starting")
            self.qvmd.call("guest.stop", name="runs-unasked")
            with self.assertRaises(Refused) as caught:
                client.answer(number)
            self.assertEqual(caught.exception.name, "cancelled")

    def test_one_that_says_it_runs_before_it_was_granted_anything_is_ended(self):
        self.fails("runs-from-the-start", "vmm-crash", "was granted nothing")

    def test_one_that_asks_for_ever_is_ended_and_stops_nobody(self):
        self.fails("asks-for-ever", "denied", "more than 256 things", error="too-big")

    def test_one_that_ignores_a_refusal_is_ended(self):
        self.fails("ignores-deny", "denied", "x:3: ", error="insufficient")

    def test_one_without_the_threads_that_are_to_be_placed_is_ended(self):
        """As one that is killed at that moment: it is no mistake of the configuration."""
        self.fails("has-no-vcpus", "vmm-crash", "its qvm ended before it ran")

    def test_a_flood_of_reboots_stops_nobody(self):
        self.run_it("reboots-for-ever")
        begin = time.monotonic()
        for _ in range(20):
            self.qvmd.call("guest.list")
        print(f"20 lists beside a flood of reboots: {(time.monotonic() - begin) * 1000:.0f} ms",
              flush=True)
        reboots = [event for event in self.qvmd.events() if event["what"] == "reboot"]
        self.assertLess(len(reboots), 20 + 10 * (time.monotonic() - begin))  # one in 100 ms
        self.qvmd.call("guest.kill", name="reboots-for-ever")

    def test_a_ring_that_is_none_is_not_mapped(self):
        for name in ("ring-unsealed", "ring-short"):
            self.run_it(name)
            self.refused("wrong-state", "console.read", name=name)
        log = self.qvmd.log()
        self.assertEqual(log.count("no console to read"), 2)

    def test_rubbish_from_a_running_guest_makes_it_unreachable_not_dead(self):
        guest = self.run_it("says-rubbish-later")
        self.assertEqual(self.qvmd.wait("says-rubbish-later", "unreachable")["pid"], guest["pid"])
        self.refused("wrong-state", "console.attach", name="says-rubbish-later")
        self.refused("wrong-state", "guest.start", name="says-rubbish-later")
        self.qvmd.call("guest.kill", name="says-rubbish-later")

    def test_its_last_words_come_before_its_end(self):
        outcome = self.qvmd.call("guest.start", name="ends-in-the-same-moment", definition=NOTHING)
        self.assertIn(outcome["guest"]["state"], ("running", "stopped"))
        self.qvmd.wait("ends-in-the-same-moment", "stopped")  # its end may come after the answer
        states = [event["state"] for event in self.qvmd.events() if event["what"] == "state"]
        self.assertEqual(states, ["starting", "running", "stopped"])

    @staticmethod
    def size(path):
        try:
            return os.path.getsize(path)
        except FileNotFoundError:  # qvmd is just turning the logs, or was when it was killed
            return 0

    def test_a_log_is_bounded(self):
        self.run_it("floods-the-log")
        path = os.path.join(self.qvmd.home, "log", "floods-the-log.log")
        self.eventually(lambda: os.path.exists(path + ".1"), "there was no flood", 40)
        self.assertLessEqual(self.size(path), 1 << 16)
        self.assertLessEqual(self.size(path + ".1"), 1 << 16)
        self.qvmd.crash()  # without qvmd it fills what the kernel gives it, and no disk
        size = self.size(path)
        time.sleep(0.5)
        self.assertEqual(self.size(path), size)
        self.qvmd.start()
        self.qvmd.call("guest.kill", name="floods-the-log")

    def test_an_exit_record_is_bounded(self):
        self.run_it("floods-its-record")
        path = os.path.join(self.qvmd.home, "guests", self.qvmd.directories()[0], "exit")
        self.eventually(lambda: os.path.getsize(path) >= 4 << 20, "there was no flood")
        self.eventually(lambda: os.path.getsize(path) == 0, "the record stays long", 15)
        self.qvmd.call("guest.kill", name="floods-its-record")

    def test_one_that_is_stopped_before_it_runs_is_cancelled(self):
        with self.qvmd.client() as client:
            number = client.request("guest.start", name="asks-nothing", definition=NOTHING)
            self.eventually(lambda: self.qvmd.workers() != [], "no process")
            self.qvmd.call("guest.kill", name="asks-nothing")
            with self.assertRaises(Refused) as caught:
                client.answer(number)
            self.assertEqual(caught.exception.name, "cancelled")

    def test_a_qvmd_that_is_killed_in_the_middle_of_a_start_leaves_no_process(self):
        with self.qvmd.client() as client:
            client.request("guest.start", name="asks-nothing", definition=NOTHING)
            self.eventually(lambda: self.qvmd.workers() != [], "no process")
            self.qvmd.crash()
        self.eventually(lambda: self.qvmd.workers() == [], "a process is left")
        self.qvmd.start()
        self.assertEqual(self.qvmd.guest("asks-nothing")["state"], "failed")

    def test_a_stopped_one_is_killed_all_the_same(self):
        guest = self.run_it("says-little")
        os.kill(guest["pid"], signal.SIGSTOP)
        self.assertEqual(self.qvmd.call("guest.kill", name="says-little")["guest"]["reason"],
                         "killed")


if __name__ == "__main__":
    main()
