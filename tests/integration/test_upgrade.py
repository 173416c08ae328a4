#!/usr/bin/env python3
"""qvmd is replaced under running guests: whose qvm is of the version before goes on with all that
it knows; whose is of a version that nobody knows runs on, unspoken to.

tests/data/qvm-v1 holds qvmd, qvm and vdevs of then, and a conversation of theirs."""

import os
import shutil
import tarfile

from qvmtest import BUILD, QVM, QVMD, VDEVS, QvmdTest, bare, definition, main, start_ticks

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "qvm-v1")
REPLAY = os.path.join(BUILD, "tests", "integration", "fake_replay_v1")
LIAR = os.path.join(BUILD, "tests", "integration", "fake_liar")


class Upgrade(QvmdTest):
    """With the programs of then unpacked beside the private qvmd."""
    stands_back = True  # the qvmd of then does not know `guest-nice`

    def setUp(self):
        super().setUp()
        self.old = os.path.join(self.qvmd.top, "old")
        os.mkdir(self.old)
        with tarfile.open(os.path.join(DATA, "qvm-v1.tar.xz")) as archive:
            archive.extractall(self.old)
        self.qvmd.stop()
        shutil.rmtree(self.qvmd.home)  # the store that today's made: then knows no such version
        os.mkdir(self.qvmd.home, 0o755)

    def tearDown(self):
        self.assert_invariants()

    def use(self, qvmd, qvm):
        """Which programs the next start is of: old or new."""
        self.qvmd.program = os.path.join(self.old, "qvmd") if qvmd == "old" else QVMD
        self.qvmd.worker = os.path.join(self.old, "qvm") if qvm == "old" else QVM
        self.qvmd.vdevs = os.path.join(self.old, "vdevs") if qvm == "old" else VDEVS

    def assert_all_works(self, before):
        """All operations on a guest that runs at its prompt."""
        name = before["name"]
        self.assert_runs_on(before)
        show = self.qvmd.call("guest.show", name=name)
        self.assertIn("ser8250", [vdev["name"] for vdev in show["vdevs"]])
        self.assertEqual({claim["kind"] for claim in show["claims"]}, {"memory", "cpu", "file"})
        with self.qvmd.client() as client:
            client.call("console.attach", name=name)
            os.write(client.fds[0], b"echo over\r")
            text = b""
            while text.count(b"over") < 2:
                text += os.read(client.fds[0], 4096)
        self.qvmd.type(name, "reboot\r")
        self.eventually(lambda: self.qvmd.guest(name).get("reboots") == 1, "no reboot", 20)
        self.eventually(lambda: self.qvmd.console(name).endswith("> "), "not up again", 20)

    def stop(self, name):
        guest = self.qvmd.call("guest.stop", name=name, timeout_ms=20000)["guest"]
        self.assertEqual((guest["state"], guest["reason"], guest["exit_status"]
                          if "exit_status" in guest else 0), ("stopped", "poweroff", 0))

    def test_guests_of_the_qvmd_before_are_adopted_and_obey(self):
        self.use("old", "old")
        self.qvmd.start()
        before = {name: self.start(name) for name in ("a", "b", "c")}
        for name in before:
            self.assert_console(name, "> ")
        self.qvmd.crash()
        self.use("new", "new")
        self.qvmd.start()
        for guest in before.values():
            self.assert_all_works(guest)
        for verb in ("pause", "reset", "reboot"):
            self.assertIn("earlier version", self.refused("unsupported", f"guest.{verb}", name="a"))
        self.stop("a")
        self.assertEqual(self.qvmd.call("guest.kill", name="b")["guest"]["reason"], "killed")
        again = self.start("a")
        self.assert_all_works(again)
        self.qvmd.restart()
        self.assert_runs_on(again)
        self.assert_runs_on(before["c"])
        self.stop("a")
        self.stop("c")

    def test_the_store_of_a_guest_of_the_qvmd_before_can_be_lost_then(self):
        self.use("old", "old")
        self.qvmd.start()
        before = self.start("a")
        self.qvmd.stop()
        self.use("new", "new")
        self.qvmd.start()
        self.assert_runs_on(before)
        self.qvmd.stop()
        os.unlink(self.qvmd.store)
        self.qvmd.start()
        self.assertEqual(self.qvmd.wait("a", "running", 15000)["pid"], before["pid"])
        self.stop("a")

    def test_what_ended_between_the_two_has_its_reason(self):
        self.use("old", "old")
        self.qvmd.start()
        before = self.start("a", run="ticks_100,poweroff")
        self.qvmd.crash()
        self.eventually(lambda: start_ticks(before["pid"]) is None, "it goes on", 20)
        self.use("new", "new")
        self.qvmd.start()
        self.assertEqual(self.qvmd.wait("a", "stopped", 10000)["reason"], "poweroff")


class ReplayTest(QvmdTest):
    worker = REPLAY

    def test_the_words_of_version_1_mean_what_they_meant(self):
        before = self.qvmd.call("guest.start", name="a", definition=bare("a"))["guest"]
        self.assertEqual(before["memory"], 16 << 20)
        self.assert_state_is_shown()
        with self.qvmd.client() as client:
            client.call("console.attach", name="a", read_only=True)
            self.qvmd.type("a", "reboot\r")
        self.eventually(lambda: self.qvmd.guest("a").get("reboots") == 1, "no reboot")
        self.qvmd.crash()
        self.qvmd.start()
        self.eventually(self.is_found("a"), "not adopted")
        self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])
        self.assert_state_is_shown()
        guest = self.qvmd.call("guest.stop", name="a", timeout_ms=5000)["guest"]
        self.assertEqual((guest["state"], guest["reason"], guest["message"]),
                         ("stopped", "poweroff", "the guest switched itself off"))
        self.assert_invariants()

    def assert_state_is_shown(self):
        vdevs = {one["name"]: one for one in self.qvmd.call("guest.show", name="a")["vdevs"]}
        self.assertIn("vcpu0.registers", [value["name"] for value in vdevs["machine"]["values"]])


class VersionTest(QvmdTest):
    worker = LIAR

    def test_a_version_that_is_not_known_is_told_and_never_spoken_to(self):
        for name, words in (("speaks-9", "the qvm speaks version 9 of the control protocol, and "
                                         "this qvmd those from 1 to 6"),
                            ("speaks-0", "'version' must lie between 1 and 65535")):
            with self.subTest(name):
                message = self.refused("guest-failed", "guest.start", name=name,
                                       definition=definition(""))
                self.assertIn("broke the connection off", message)
                self.assertIn(words, message)

    def test_a_running_qvm_of_a_version_that_is_not_known_is_unreachable_and_runs_on(self):
        for name, words in (("later-speaks-9", "speaks version 9"), ("later-speaks-0", "no packet")):
            with self.subTest(name):
                before = self.qvmd.call("guest.start", name=name,
                                        definition=definition(""))["guest"]
                self.qvmd.restart()
                self.qvmd.wait(name, "unreachable", 20000)
                self.assertIn(words, self.qvmd.log())
                self.assertIsNotNone(start_ticks(before["pid"]))
                self.assertEqual(self.qvmd.call("guest.kill", name=name)["guest"]["reason"],
                                 "killed")
        self.assert_invariants()


if __name__ == "__main__":
    main()
