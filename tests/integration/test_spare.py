#!/usr/bin/env python3
"""Spares: qvm processes that wait for their guest."""

import os
import shutil
import signal

from qvmtest import QVM, QvmdTest, Refused, bare, main, start_ticks


class SpareBase(QvmdTest):
    def spare(self):
        """The pid of the spare, once there is one."""
        self.eventually(self.qvmd.spares, "there is no spare")
        return self.qvmd.spares()[0]

    def waiting(self):
        """The same, and it waits."""
        pid = self.spare()
        self.eventually(lambda: self.sleeps(pid), "the spare does not wait")
        return pid

    @staticmethod
    def sleeps(pid):
        with open(f"/proc/{pid}/syscall", encoding="utf-8") as file:
            return file.read().startswith("47 ")  # recvmsg


class SpareTest(SpareBase):
    def test_a_start_takes_the_spare_and_another_is_made(self):
        for name in ("a", "b", "c"):
            spare = self.waiting()
            self.assertEqual(self.start(name)["pid"], spare)
            with open(f"/proc/{spare}/cmdline", "rb") as file:
                self.assertEqual(file.read().rstrip(b"\0"), b"qvm\0--under-qvmd\0" + name.encode())
            self.assert_console(name, "> ")
        self.assert_invariants()

    def test_a_spare_is_no_guest_and_holds_nothing(self):
        spare = self.waiting()
        self.assertEqual(self.qvmd.call("guest.list")["guests"], [])
        self.assertEqual(self.qvmd.call("host.info")["live"], 0)
        self.assertEqual(self.qvmd.directories(), [])
        held = {number: os.readlink(f"/proc/{spare}/fd/{number}")
                for number in os.listdir(f"/proc/{spare}/fd")}
        self.assertEqual(sorted(held), ["0", "1", "2", "3", "6"])
        self.assertEqual({held[one] for one in "012"}, {"/dev/null"})
        self.assertTrue(held["3"].startswith("socket:"), held)
        with open(f"/proc/{spare}/environ", "rb") as file:
            self.assertEqual(file.read(), b"")

    def test_a_spare_that_was_killed_is_replaced_and_missed_by_nobody(self):
        for name in ("a", "b"):
            spare = self.waiting()
            os.kill(spare, signal.SIGKILL)
            self.eventually(lambda: start_ticks(spare) is None, "it does not die")
            self.start(name)
        self.waiting()
        self.assert_invariants()

    def test_a_spare_that_does_not_answer_keeps_nobody_waiting_for_ever(self):
        spare = self.waiting()
        os.kill(spare, signal.SIGSTOP)
        with self.qvmd.client() as client:
            number = client.request("guest.start", name="a", definition=bare("a"))
            self.eventually(lambda: self.qvmd.guest("a")["pid"] == spare, "it was not taken")
            os.kill(spare, signal.SIGCONT)
            client.answer(number)

    def test_a_spare_that_is_killed_while_it_is_taken_costs_the_start_nothing(self):
        spare = self.waiting()
        os.kill(spare, signal.SIGSTOP)
        with self.qvmd.client() as client:
            number = client.request("guest.start", name="a", definition=bare("a"))
            self.eventually(lambda: self.qvmd.guest("a")["pid"] == spare, "it was not taken")
            os.kill(spare, signal.SIGKILL)
            guest = client.answer(number)["guest"]
        self.assertNotEqual(guest["pid"], spare)
        self.assertEqual(guest["instance"], 1)
        self.assert_console("a", "> ")
        self.assertIn("its spare was ended", self.qvmd.log())
        self.assert_invariants()

    def test_a_guest_that_is_killed_while_its_spare_wakes_up_stays_killed(self):
        spare = self.waiting()
        os.kill(spare, signal.SIGSTOP)
        with self.qvmd.client() as client:
            number = client.request("guest.start", name="a", definition=bare("a"))
            self.eventually(lambda: self.qvmd.guest("a")["pid"] == spare, "it was not taken")
            self.qvmd.call("guest.kill", name="a")
            with self.assertRaises(Refused):
                client.answer(number)
        self.assertEqual(self.qvmd.workers(), [])
        self.assert_invariants()

    def test_spares_end_with_their_qvmd(self):
        for end in (self.qvmd.crash, self.qvmd.stop):
            spare = self.waiting()
            end()
            self.eventually(lambda: start_ticks(spare) is None, "the spare lives on")
            self.qvmd.start()

    def test_many_at_once_start_whether_there_is_a_spare_or_not(self):
        clients = [self.qvmd.client() for _ in range(8)]
        numbers = [client.request("guest.start", name=f"g{i}", definition=bare(f"g{i}"))
                   for i, client in enumerate(clients)]
        for client, number in zip(clients, numbers):
            client.answer(number)
            client.close()
        self.assert_invariants()
        if os.geteuid() == 0:
            rows = self.qvmd.rows("SELECT DISTINCT uid FROM instance")
            self.assertEqual(len(rows), 8, "two share a uid")


class ChangedTest(SpareBase):
    """The program is a copy, so that it can change."""

    def setUp(self):
        super().setUp()
        self.program = os.path.join(self.qvmd.top, "qvm")
        shutil.copy(QVM, self.program)
        self.qvmd.stop()
        self.qvmd.worker = self.program
        self.qvmd.start()

    def test_a_spare_of_a_program_that_changed_is_not_used(self):
        spare = self.waiting()
        shutil.copy(QVM, self.program + ".new")
        os.rename(self.program + ".new", self.program)
        pid = self.start("a")["pid"]
        self.assertNotEqual(pid, spare)
        self.eventually(lambda: start_ticks(spare) is None, "the old spare lives on")
        self.assertEqual(self.start("b")["pid"] in (pid, spare), False)
        self.assert_invariants()

    def test_a_program_that_makes_no_spares_works_without(self):
        with open(self.program + ".new", "w", encoding="utf-8") as file:
            file.write("#!/bin/false\n")
        os.chmod(self.program + ".new", 0o755)
        os.kill(self.waiting(), signal.SIGKILL)
        os.rename(self.program + ".new", self.program)
        self.eventually(lambda: self.qvmd.log().count("spare: none") >= 2, "spares were not tried")
        self.refused("guest-failed", "guest.start", name="a", definition=bare("a"))
        self.assert_invariants()


class NoSpareTest(QvmdTest):
    settings = ("spares 0",)

    def test_without_spares_guests_start_as_well(self):
        self.start("a")
        self.assertEqual(self.qvmd.spares(), [])
        self.assert_console("a", "> ")
        self.assert_invariants()


class SeveralTest(QvmdTest):
    settings = ("spares 3",)

    def test_as_many_are_kept_as_the_option_says(self):
        self.eventually(lambda: len(self.qvmd.spares()) == 3, "there are not three spares")
        pids = [self.start(name)["pid"] for name in ("a", "b", "c")]
        self.eventually(lambda: len(self.qvmd.spares()) == 3, "they were not replaced")
        if os.geteuid() == 0:
            uids = set()
            for pid in pids + self.qvmd.spares():
                with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                    uids.add(file.read().split("Uid:")[1].split()[0])
            self.assertEqual(len(uids), 6, "two share a uid")


if __name__ == "__main__":
    main()
