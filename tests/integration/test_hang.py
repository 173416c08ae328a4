#!/usr/bin/env python3
"""An owner's file system that never answers: one start hangs, and nobody else notices."""

import os
import shutil
import statistics
import time
import unittest

from fuse import SilentFileSystem, StallingFileSystem
from qvmtest import BUILD, IMAGE, Refused, bare, definition, main
from test_api import OPERATORS, SeveralUsersTest

STUCK_MAX = 32  # HAND_STUCK_MAX
OTHER = 12345  # an owner who is not root
LIAR = os.path.join(BUILD, "tests", "integration", "fake_liar")


def held_in(qvmd, directory):
    """What qvmd has open below that directory."""
    folder = f"/proc/{qvmd.process.pid}/fd"
    held = [os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder)]
    return [one for one in held if one.startswith(directory)]


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/fuse"),
                     "only root can mount, and the kernel must have FUSE")
class HangBase(SeveralUsersTest):
    def setUp(self):
        super().setUp()
        self.directory = os.path.join(self.qvmd.top, "silent")
        os.mkdir(self.directory)
        self.silent = SilentFileSystem(self.directory)
        self.addCleanup(lambda: self.silent and self.silent.close())

    def tearDown(self):
        self.assert_invariants()

    def image(self, name):
        """Another file for each: who looks for the same waits for the first, and asks nobody."""
        return os.path.join(self.directory, name)

    def start_hanging(self, client, name="hangs"):
        asked = len(self.silent.asked)
        number = client.request("guest.start", name=name,
                                definition=bare(name, image=self.image(name)))
        self.silent.wait(asked + 1)
        return number

    def answer_at_last(self):
        self.silent.close()
        self.silent = None

    def times(self):
        """Medians of what others do, in milliseconds."""
        taken = {"list": [], "start": [], "kill": []}
        for _ in range(10):
            for what, call in (("list", lambda: self.qvmd.call("guest.list")),
                               ("start", lambda: self.start("other")),
                               ("kill", lambda: self.qvmd.call("guest.kill", name="other"))):
                begin = time.monotonic()
                call()
                taken[what].append((time.monotonic() - begin) * 1000)
        return {what: round(statistics.median(all_of_them), 2)
                for what, all_of_them in taken.items()}


class HangTest(HangBase):
    settings = (*SeveralUsersTest.settings, "hands 4")

    def test_others_go_on_while_a_start_hangs_and_it_can_be_killed(self):
        self.start("other")
        self.qvmd.call("guest.kill", name="other")
        idle = self.steady()
        alone = self.times()
        with self.qvmd.client() as client:
            number = self.start_hanging(client)
            print(f"alone {alone} ms, beside one that hangs {self.times()} ms", flush=True)
            self.assertEqual(self.qvmd.guest("hangs")["state"], "starting")
            begin = time.monotonic()
            killed = self.qvmd.call("guest.kill", name="hangs")["guest"]
            print(f"killed in {(time.monotonic() - begin) * 1000:.1f} ms", flush=True)
            self.assertEqual((killed["state"], killed["reason"]), ("stopped", "killed"))
            with self.assertRaises(Refused) as caught:
                client.answer(number)
            self.assertEqual(caught.exception.name, "cancelled")
        # its hand is still there, whatever was sent to it; nothing of the guest waits for that
        self.eventually(lambda: len(self.qvmd.children()) == idle["children"] + 1, "no hand")
        self.start("hangs")
        self.qvmd.call("guest.kill", name="hangs")
        self.answer_at_last()
        self.assert_returns_to(idle)

    def test_a_start_that_nobody_ends_is_refused_in_its_time(self):
        message = self.refused("timeout", "guest.start", name="hangs",
                               definition=bare("hangs", image=self.image("hangs")))
        self.assertRegex(message, r"opening files as uid 0 took longer than \d+ ms, and cannot be "
                                  r"ended")
        self.assertEqual(self.qvmd.guest("hangs")["state"], "failed")
        self.start("hangs")

    def test_the_hands_of_one_owner_leave_some_to_the_others(self):
        with self.qvmd.client() as client:
            for number in range(2):
                self.start_hanging(client, f"hangs{number}")
            for number in range(2, 6):  # they wait for their turn
                client.request("guest.start", name=f"hangs{number}",
                               definition=bare(f"hangs{number}",
                                               image=self.image(f"hangs{number}")))
            self.qvmd.call("guest.list")
            begin = time.monotonic()
            image = shutil.copy(IMAGE, self.qvmd.top)  # the tree may lie where only root may go
            answers = self.ask(OTHER, [OPERATORS], (
                "guest.start", {"name": "polite", "definition": bare("polite", image=image)}))
            print(f"another owner's start beside six that hang: "
                  f"{(time.monotonic() - begin) * 1000:.1f} ms", flush=True)
            self.assertEqual(answers, ["ok"])
            self.assertEqual(self.qvmd.guest("polite")["state"], "running")
            self.assertEqual(len(self.silent.asked), 2)
            for number in range(6):
                self.assertEqual(self.qvmd.guest(f"hangs{number}")["state"], "starting")
                self.qvmd.call("guest.kill", name=f"hangs{number}")

    def start_on_a_server(self, name, *silent_to):
        """A guest of another owner with its disk on a server of his, which says nothing any more."""
        directory = os.path.join(self.qvmd.top, f"served-{name}")
        os.mkdir(directory)
        served = StallingFileSystem(directory)
        self.addCleanup(served.close)
        image = shutil.copy(IMAGE, self.qvmd.top)
        disk = ("vdev virtio-blk loc mem:feb00000,512 intr ioapic:16 "
                f"hostdev {directory}/image\n")
        served.stall(*silent_to)
        self.assertEqual(self.ask(OTHER, [OPERATORS], (
            "guest.start", {"name": name, "definition": bare(name, image=image, more=disk)})),
            ["ok"])
        return served

    def test_qvmd_never_has_a_file_whose_server_does_not_let_it_be_closed(self):
        served = self.start_on_a_server("his", "FLUSH")
        served.wait()  # the hand that opened it hangs in its end
        self.assertEqual(held_in(self.qvmd, served.directory), [])
        self.start("own")
        self.assert_console("his", "> ")
        self.assertEqual(self.qvmd.guest("his")["state"], "running")
        self.qvmd.call("guest.kill", name="own")
        self.qvmd.crash()
        self.qvmd.start()
        self.assert_console("his", "> ")  # the next one has its ring, and speaks with it
        self.qvmd.call("guest.pause", name="his")
        self.qvmd.call("guest.resume", name="his")
        # it dies when its server lets it go, and what it holds is free then
        with self.qvmd.client() as client:
            number = client.request("guest.kill", name="his")
            served.wait(2)
            self.start("own")
            self.qvmd.call("guest.kill", name="own")
            served.go_on()
            self.assertEqual(client.answer(number)["guest"]["state"], "stopped")

    def test_a_disk_that_does_not_answer_refuses_a_pause_and_the_guest_goes_on(self):
        directory = os.path.join(self.qvmd.top, "served")
        os.mkdir(directory)
        served = StallingFileSystem(directory)
        self.addCleanup(served.close)
        self.start("a", more="vdev virtio-blk name slow loc mem:feb00000,512 intr ioapic:16 "
                             f"hostdev <{directory}/image\n")
        self.assert_console("a", "> ")
        served.stall("READ")
        asked = len(served.asked)
        self.qvmd.type("a", "blk feb00000 16 read 0 1 1\r")
        served.wait(asked + 1)
        self.assertIn(f"disk 'slow' asked it for within 3 s: '{directory}/image' does not answer",
                      self.refused("timeout", "guest.pause", name="a"))
        self.assertEqual(self.qvmd.guest("a")["state"], "running")
        served.close()
        self.qvmd.call("guest.pause", name="a")
        self.assertEqual(self.qvmd.guest("a")["state"], "paused")
        self.qvmd.call("guest.kill", name="a")

    def test_a_qvmd_that_is_killed_leaves_only_the_hand_that_cannot_be_ended(self):
        with self.qvmd.client() as client:
            self.start_hanging(client)
            self.qvmd.crash()
        self.qvmd.start()
        self.qvmd.wait("hangs", "failed", 15000)
        self.start("hangs")
        self.qvmd.call("guest.kill", name="hangs")
        self.answer_at_last()


class StuckTest(HangBase):
    settings = (*SeveralUsersTest.settings, "hands 128", "spares 0")

    def test_who_has_left_too_many_hands_hanging_gets_no_more_and_others_do(self):
        with self.qvmd.client() as client:
            waiting = {self.start_hanging(client, f"hangs{i}") for i in range(STUCK_MAX)}
            while waiting:
                answer = client.line()
                self.assertEqual(Refused(answer["error"]).name, "timeout")
                waiting.discard(answer["id"])
        message = self.refused("too-many", "guest.start", name="one-more",
                               definition=bare("one-more"))
        self.assertIn(f"{STUCK_MAX} processes that opened files as uid 0 hang", message)
        image = shutil.copy(IMAGE, self.qvmd.top)
        self.assertEqual(self.ask(OTHER, [OPERATORS], (
            "guest.start", {"name": "polite", "definition": bare("polite", image=image)})), ["ok"])
        self.qvmd.call("guest.kill", name="polite")
        self.answer_at_last()
        self.eventually(lambda: self.qvmd.children() == [], "they are not gone", within=20)
        self.start("one-more")
        self.qvmd.call("guest.kill", name="one-more")


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/fuse"),
                     "only root can mount, and the kernel must have FUSE")
class ReturnTest(SeveralUsersTest):
    worker = LIAR
    settings = (*SeveralUsersTest.settings, "spares 0")

    def test_a_qvm_cannot_make_qvmd_take_what_it_must_not_have(self):
        directory = os.path.join(self.qvmd.top, "served")
        os.mkdir(directory)
        served = StallingFileSystem(directory)
        self.addCleanup(served.close)
        served.stall("FLUSH")
        name = "gives-its-file-back"
        self.assertEqual(self.ask(OTHER, [OPERATORS], (
            "guest.start", {"name": name, "definition": definition(f"{directory}/image")})), ["ok"])
        self.said_so(1)
        pid = self.qvmd.guest(name)["pid"]
        self.assertEqual(held_in(self.qvmd, directory), [])
        self.qvmd.crash()  # the next one is told by `hello`
        self.qvmd.start()
        self.said_so(2)
        self.eventually(lambda: "descriptors that nobody wants" in self.qvmd.log(), "it may go on",
                        within=20)
        self.assertEqual(held_in(self.qvmd, directory), [])
        self.qvmd.call("guest.start", name="bystander", definition=definition(""))
        self.assertEqual(self.qvmd.guest(name)["pid"], pid)
        with self.qvmd.client() as client:
            number = client.request("guest.kill", name=name)
            self.qvmd.call("guest.kill", name="bystander")
            served.go_on()
            self.assertEqual(client.answer(number)["guest"]["state"], "stopped")

    def said_so(self, times):
        self.eventually(lambda: self.qvmd.log().count("its qvm sent what is not to be taken") >= times,
                        "it was not noticed", within=20)


if __name__ == "__main__":
    main()
