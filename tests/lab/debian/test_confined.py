#!/usr/bin/python3
"""What a qvm may do while its Debian guest runs: no more than one guest needs."""

import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above
from qvmtest import bare  # noqa: E402: debian says where it is
from test_core import HandlerTest, NoHandlerTest  # noqa: E402, F401 pylint: disable=unused-import


def status(pid, task):
    """/proc/PID/task/TASK/status as {name: value}."""
    with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


class ConfinedTest(debian.DebianTest):
    def test_a_qvm_can_do_no_more_than_its_guest_needs(self):
        self.pid = self.boot("two", cpus=2)[0]["pid"]
        self.other = self.qvmd.call("guest.start", name="other", definition=bare("other"))["guest"]
        for check in (self.every_thread_is_confined, self.it_has_a_uid_of_its_own,
                      self.nobody_may_look_into_it, self.its_environment_is_empty,
                      self.its_descriptors_are_its_own):
            with self.subTest(check.__name__):
                check()
        self.ctl("kill", "two", "other")
        self.assert_nothing_left()

    def every_thread_is_confined(self):
        tasks = os.listdir(f"/proc/{self.pid}/task")
        self.assertGreaterEqual(len(tasks), 3)  # control, two vCPUs
        for task in tasks:
            values = status(self.pid, task)
            self.assertEqual((values["NoNewPrivs"], values["Seccomp"]), ("1", "2"), values["Name"])
            for which in ("Inh", "Prm", "Eff", "Amb"):
                self.assertEqual(int(values["Cap" + which], 16), 0, values["Name"])

    def it_has_a_uid_of_its_own(self):
        ours, theirs = status(self.pid, self.pid), status(self.other["pid"], self.other["pid"])
        for which in ("Uid", "Gid"):
            numbers = set(ours[which].split())
            self.assertEqual(len(numbers), 1)
            self.assertNotIn("0", numbers)
            self.assertNotEqual(numbers, set(theirs[which].split()))
        self.assertEqual(ours["Groups"].split(), [])

    def nobody_may_look_into_it(self):
        """The files of a process that is not dumpable belong to root, whoever it runs as."""
        self.assertEqual(os.stat(f"/proc/{self.pid}/mem").st_uid, 0)
        self.assertNotEqual(status(self.pid, self.pid)["Uid"].split()[0], "0")

    def its_environment_is_empty(self):
        with open(f"/proc/{self.pid}/environ", "rb") as file:
            self.assertEqual(file.read(), b"")

    def its_descriptors_are_its_own(self):
        home = re.escape(self.qvmd.home)
        own = [r"/dev/null", rf"{home}/(guests/two\.\d+/exit|log/two\.log)", r"socket:\[\d+\]",
               r"/memfd:.* \(deleted\)", r"anon_inode:kvm-(vm|vcpu:[01]|vcpu-stats:[01])",
               r"anon_inode:\[(eventfd|eventpoll|signalfd|timerfd)\]",
               r"pipe:\[\d+\]", rf"{re.escape(debian.GUEST)}/(vmlinuz|initrd\.img)"]
        folder = f"/proc/{self.pid}/fd"
        held = [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]
        strange = [link for link in held if not any(re.fullmatch(one, link) for one in own)]
        self.assertEqual(strange, [])


if __name__ == "__main__":
    debian.main()
