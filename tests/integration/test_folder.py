#!/usr/bin/env python3
"""Folders that guests share with the host: virtiofsd, started and ended by qvmd, on the real
/dev/kvm."""

import json
import os
import signal
import subprocess
import unittest

import qvmtest
from rpc import Refused
from test_api import as_user, converse
from test_helper import HelperBase
from test_virtio import BUILD, QVM

OWNER = 65533
FS = {"at an address": ("fs feb00000 16", "loc mem:feb00000,512 intr ioapic:16"),
      "on PCI": ("fs 3 1", "loc pci:0:3.0")}
AT = FS["at an address"][0]


class FolderBase(HelperBase):
    def setUp(self):
        super().setUp()
        self.folder = self.path("shared")
        os.mkdir(self.folder)
        os.chmod(self.directory, 0o755)
        if os.geteuid() == 0:
            os.chown(self.folder, OWNER, OWNER)
        self.put("of-the-host", "hello-guest")

    def put(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
            file.write(text)

    def content_of(self, name):
        with open(os.path.join(self.folder, name), encoding="ascii") as file:
            return file.read()

    def vdev(self, folder=None, where="at an address", tag="files"):
        return f"vdev virtio-fs name f {FS[where][1]} tag {tag} hostdev {folder or self.folder}\n"

    def start_shared(self, name="a", **how):
        started = self.start(name, image=qvmtest.DEVICES, more=self.vdev(**how))
        self.assert_console(name, "> ")
        return started

    def read(self, name, answer, guest="a"):
        self.ask(f"{AT} read {name}", f"fs: read: {answer}", guest)

    def write(self, name, text, answer, guest="a"):
        self.ask(f"{AT} write {name} {text}", f"fs: write: {answer}", guest)


class FolderTest(FolderBase):
    def test_guest_and_host_see_each_others_files(self):
        for where, (command, _) in FS.items():
            with self.subTest(where):
                self.start_shared(where=where)
                pid = self.helper()
                self.ask(f"{command} tag", "fs: tag 656c6966, 1 queues")
                self.ask(f"{command} read of-the-host", "fs: read: error 0, 11 bytes: hello-guest")
                self.ask(f"{command} read nothing", "fs: read: error 2,")
                self.ask(f"{command} write of-the-guest hello", "fs: write: error 0, 5 bytes")
                self.assertEqual(self.content_of("of-the-guest"), "hello")
                if os.geteuid() == 0:
                    self.assertEqual(os.stat(os.path.join(self.folder, "of-the-guest")).st_uid,
                                     OWNER)
                self.put("of-the-host", "hello-again")
                self.ask(f"{command} read of-the-host", "fs: read: error 0, 11 bytes: hello-again")
                self.put("of-the-host", "hello-guest")
                os.unlink(os.path.join(self.folder, "of-the-guest"))
                self.assertEqual(self.lost(), [])
                self.qvmd.call("guest.kill", name="a")
                self.assert_ends(pid)
                self.eventually(lambda: self.helpers() == [], "its row stays")
                self.qvmd.call("guest.undefine", name="a")

    def test_a_folder_that_is_only_to_be_read_cannot_be_written(self):
        if os.geteuid() != 0 or os.environ.get("QVM_HAS_DOOR", "1") != "1":
            self.assertIn("can keep it from being written", self.deny("<" + self.folder))
            return
        self.start_shared(folder="<" + self.folder)
        self.read("of-the-host", "error 0, 11 bytes: hello-guest")
        self.write("of-the-guest", "hello", "error 30,")
        self.assertEqual(os.listdir(self.folder), ["of-the-host"])

    def test_two_guests_may_share_one(self):
        for name in ("a", "b"):
            self.start_shared(name)
        self.assertEqual(len(set(self.helpers())), 2)
        self.write("letter", "from-a", "error 0, 6 bytes")
        self.read("letter", "error 0, 6 bytes: from-a", "b")

    def test_a_reset_guest_has_its_folder_again(self):
        self.start_shared()
        self.write("before", "one", "error 0, 3 bytes")
        self.qvmd.call("guest.reset", name="a")
        self.assert_console("a", "boot 2")
        self.read("before", "error 0, 3 bytes: one")

    def test_a_pause_loses_nothing(self):
        self.start_shared()
        for i in range(10):
            self.qvmd.type("a", f"{AT} write n{i} text{i}\r{AT} read n{i}\r")
            self.qvmd.call("guest.pause", name="a")
            self.qvmd.call("guest.resume", name="a")
            self.eventually(lambda: f"5 bytes: text{i}" in self.said("a"),
                            lambda: self.qvmd.console("a"), within=20)

    @unittest.skipUnless(os.geteuid() == 0, "without root there are no namespaces")
    @unittest.skipUnless(os.environ.get("QVM_HAS_DOOR", "1") == "1", "sanitizers have no namespaces")
    def test_a_helper_has_its_folder_and_nothing_else(self):
        os.symlink("/etc/ld.so.cache", os.path.join(self.folder, "way-out"))
        qvm = self.start_shared()["pid"]
        self.read("of-the-host", "error 0, 11 bytes: hello-guest")
        pid = self.helper()
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.assertEqual(int(status["CapBnd"], 16), 0)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual(status["Uid"].split(), [str(OWNER)] * 4)  # the guest is root's
        self.assertEqual(status["Groups"].split(), [])
        for name, size in (("uid", 1), ("gid", 1)):
            with open(f"/proc/{pid}/{name}_map", encoding="ascii") as file:
                self.assertEqual(file.read().split(), ["0", str(OWNER), str(size)])
        for name in ("mnt", "pid", "net", "ipc", "uts", "user"):
            there, ours = (os.readlink(f"/proc/{who}/ns/{name}") for who in (pid, "self"))
            self.assertNotEqual(there, ours, name)
        self.assertEqual(sorted(os.listdir(f"/proc/{pid}/root")), ["of-the-host", "way-out"])
        groups = []
        for who in (pid, qvm):
            with open(f"/proc/{who}/cgroup", encoding="ascii") as file:
                groups.append(file.read())
        self.assertEqual(*groups)

    def deny(self, folder, tag="files"):
        with self.assertRaises(Refused):
            self.start("a", more=self.vdev(folder, tag=tag))
        self.eventually(lambda: self.helpers() == [], "its helper does not end", 20)
        message = self.qvmd.guest("a")["message"]
        self.assertRegex(message, r"^a.qvmconf:5: ")
        return message[len("a.qvmconf:5: "):]

    def test_what_is_no_folder_is_refused_with_its_line(self):
        file = os.path.join(self.folder, "of-the-host")
        for folder, words in ((self.path("none"), f"cannot open '{self.path('none')}': No such"),
                              (file, f"'{file}' is a regular file, not a directory"),
                              ("/dev/null", "'/dev/null' is a character device, not a directory"),
                              ("-", "hostdev '-' names no folder")):
            with self.subTest(folder):
                self.assertIn(words, self.deny(folder))
        self.assertIn("does not have 1 to 36 bytes", self.deny(self.folder, 37 * "t"))

    def test_a_helper_that_is_killed_is_followed_by_another(self):
        before = self.start_shared()
        self.read("of-the-host", "error 0, 11 bytes")
        pid = self.helper()
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: len(self.again()) == 1, "no other helper", 20)
        self.assertEqual(self.lost(), [
            f"the helper (pid {pid}) of '{self.folder}' is gone: it was ended by signal 9 "
            "(Killed); its folder waits for another one"])
        self.assertEqual(self.again(), [f"'{self.folder}' has another helper (pid {self.helper()})"])
        self.read("of-the-host", "error 0, 11 bytes: hello-guest")
        self.write("after", "kill", "error 0, 4 bytes")
        self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])

    def test_a_helper_that_is_killed_during_a_pause_is_followed_by_another(self):
        """What was under way when it died may have failed; what comes after the pause does not."""
        self.start_shared()
        for i in range(1, 4):
            prompts = self.said("a").count("> ")
            self.qvmd.type("a", f"{AT} write n{i} text{i}\r{AT} read n{i}\r")
            self.qvmd.call("guest.pause", name="a")
            os.kill(self.helper(), signal.SIGKILL)
            self.eventually(lambda: len(self.again()) == i, "no other helper", 20)
            self.qvmd.call("guest.resume", name="a")
            self.eventually(lambda: self.said("a").count("> ") >= prompts + 2,
                            lambda: self.qvmd.console("a"), within=20)
            self.write(f"m{i}", f"more{i}", "error 0, 5 bytes")
            self.read(f"m{i}", f"error 0, 5 bytes: more{i}")

    def test_a_guest_that_ends_its_helper_has_another_and_disturbs_nobody(self):
        """By a request that Linux does not make: virtiofsd 7.2 ends by a signal."""
        self.start_shared("b")
        other = self.helper()
        self.start_shared()
        self.ask(f"{AT} write of-the-host again", "fs: write: error")
        self.read("of-the-host", "error 0, 11 bytes: hello-guest")
        self.assertIn(other, self.helpers())
        self.read("of-the-host", "error 0, 11 bytes: hello-guest", "b")

    def test_a_folder_without_another_helper_is_out_of_reach(self):
        before = self.start_shared()
        self.read("of-the-host", "error 0, 11 bytes")
        os.rename(self.folder, self.folder + ".away")
        os.kill(self.helper(), signal.SIGKILL)
        self.eventually(lambda: len(self.lost()) == 2, "nobody is told", 20)
        self.assertIn(f"there is no other helper for '{self.folder}', until one is asked for "
                      f"(qvmctl helper a f) or the guest is started anew: cannot open '{self.folder}'", self.lost()[1])
        self.ask(f"{AT} read of-the-host", "features refused")
        self.assertEqual(self.qvmd.guest("a")["pid"], before["pid"])
        self.assertEqual(self.helpers(), [])

    def test_a_helper_outlives_qvmd_and_is_found_again(self):
        before = self.start_shared()
        pid = self.helper()
        self.qvmd.crash()
        self.assertFalse(self.is_gone(pid))
        self.qvmd.start()
        self.assert_runs_on(before)
        self.write("after", "crash", "error 0, 5 bytes")
        self.assertEqual(self.helper(), pid)
        self.qvmd.crash()
        os.kill(pid, signal.SIGKILL)
        self.assert_ends(pid)
        self.qvmd.start()
        self.assert_runs_on(before)
        self.eventually(lambda: len(self.again()) == 1, "no other helper", 20)
        self.read("after", "error 0, 5 bytes: crash")

    def test_a_qvm_alone_has_no_helper_and_says_so(self):
        config = self.path("t.qvmconf")
        with open(config, "w", encoding="ascii") as file:
            file.write("system t\nram 16M\n" + self.vdev())
        done = subprocess.run([QVM, "@t.qvmconf"], capture_output=True, timeout=60, check=False,
                              cwd=self.directory,
                              env={"QVM_VDEVS": os.path.join(BUILD, "vdevs")})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"t.qvmconf:3: '{self.folder}' is served by a helper", done.stderr.decode())


@unittest.skipUnless(os.geteuid() == 0, "other users are root's to make")
class OwnerTest(FolderBase):
    """A guest of somebody who is not root."""

    settings = ("operator-group daemon",)

    def setUp(self):
        super().setUp()
        os.chown(self.folder, 0, 0)

    def start_as_owner(self):
        request = {"jsonrpc": "2.0", "id": 1, "method": "guest.start", "params": {
            "name": "a", "definition": qvmtest.bare("a", image=qvmtest.DEVICES, more=self.vdev())}}
        return as_user(OWNER, ["daemon"],
                       lambda: converse(self.qvmd.socket, [json.dumps(request)]))

    def test_a_folder_that_its_owner_may_not_read_is_refused_with_its_line(self):
        for mode in (0o700, 0o711, 0o744):
            with self.subTest(oct(mode)):
                os.chmod(self.folder, mode)
                self.assertNotEqual(self.start_as_owner(), ["ok"])
                self.assertRegex(self.qvmd.guest("a")["message"],
                                 rf"^a.qvmconf:5: cannot open '{self.folder}': Permission denied "
                                 r"\(as user '\d+'\)")
                self.assertEqual(self.helpers(), [])
                self.qvmd.call("guest.undefine", name="a")

    def test_the_guest_s_root_may_what_its_owner_may(self):
        os.chmod(self.folder, 0o755)
        self.put("shut", "secret")
        os.chmod(os.path.join(self.folder, "shut"), 0o600)
        self.assertEqual(self.start_as_owner(), ["ok"])
        self.assert_console("a", "> ")
        self.read("of-the-host", "error 0, 11 bytes: hello-guest")
        self.read("shut", "error 13,")
        self.write("of-the-guest", "hello", "error 13,")


if __name__ == "__main__":
    qvmtest.main()
