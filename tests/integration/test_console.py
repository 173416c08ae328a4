#!/usr/bin/env python3
"""Consoles: sessions by descriptor that outlive qvmd, who types, what is lost and told, floods."""

import base64
import os
import select
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from qvmtest import BUILD, QvmdTest, main  # noqa: E402

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")
RING = 256 * 1024


def line(text):
    """A line of the host's between the guest's."""
    return b"\r\n-- qvm: " + text.encode() + b" --\r\n"


class Session:
    """A session by its descriptor."""

    def __init__(self, qvmd, name, **options):
        with qvmd.client() as client:
            client.call("console.attach", name=name, **options)
            self.socket = socket.socket(fileno=client.fds.pop())
        self.socket.settimeout(30)
        self.heard = b""

    def type(self, text):
        self.socket.sendall(text.encode())

    def until(self, text, seconds=30):
        """What is heard up to and with `text`; what follows is kept."""
        text = text if isinstance(text, bytes) else text.encode()
        end = time.monotonic() + seconds
        while text not in self.heard:
            if time.monotonic() > end:
                raise AssertionError(f"never heard {text!r}, but {self.heard[-300:]!r}")
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError(f"the session ended after {self.heard[-300:]!r}")
            self.heard += piece
        at = self.heard.index(text) + len(text)
        said, self.heard = self.heard[:at], self.heard[at:]
        return said

    def rest(self):
        """Everything up to the session's end."""
        while piece := self.socket.recv(65536):
            self.heard += piece
        return self.heard

    def close(self):
        self.socket.close()


class ConsoleTest(QvmdTest):
    def session(self, name, **options):
        session = Session(self.qvmd, name, **options)
        self.addCleanup(session.close)
        return session

    def start_at_prompt(self, name):
        self.start(name)
        self.assert_console(name, "> ")

    def test_a_session_types_and_reads_before_during_and_after_a_qvmd_is_killed(self):
        self.start_at_prompt("a")
        session = self.session("a")
        session.until("> ")
        session.type("echo before\r")
        session.until("before\r\n> ")
        self.qvmd.crash()
        session.type("echo during\r")
        session.until("echo during\r\nduring\r\n> ")
        self.qvmd.start()
        session.type("echo while_adopting\r")
        session.until("while_adopting\r\n> ")
        self.qvmd.wait("a", "running")
        session.type("echo after\r")
        session.until("after\r\n> ")
        self.assertIn("echo during", self.qvmd.console("a"))

    def test_a_port_has_sessions_of_its_own_also_after_a_qvmd_was_killed(self):
        said = os.path.join(self.qvmd.top, "said")
        self.start("a", more="vdev virtio-console console shell port agent "
                             f"port file,>{said}\n")
        self.assert_console("a", "> ")
        typing, reading = self.session("a", port="agent"), self.session("a", port="agent")
        reading.until(line("another session types; this one only reads"))
        self.qvmd.crash()
        self.qvmd.start()
        self.qvmd.wait("a", "running")
        typing.close()
        reading.until(line("this session types now"))
        self.session("a", port="shell").type("nobody reads this\n")
        self.assertEqual(self.session("a", port="nobody").rest(),
                         line("there is no port 'nobody'; there are: shell agent"))
        self.assertIn(b"port 'file' is at '", self.session("a", port="file").rest())

    def test_a_guest_with_as_many_ports_as_there_may_be_is_saved_and_goes_on(self):
        ports = " ".join(f"port p{i}" for i in range(30))
        self.start("a", more=f"vdev virtio-console {ports}\nvdev test-dev save-every 5\n")
        self.assert_console("a", "> ")

        def is_restored():
            vdevs = {vdev["name"]: vdev["values"]
                     for vdev in self.qvmd.call("guest.show", name="a").get("vdevs", [])}
            return any(value["name"] == "restores" and int(value["value"]) > 5
                       for value in vdevs.get("test-dev", []))

        self.eventually(is_restored, "it was not saved and restored", 30)
        self.qvmd.type("a", "echo still_there\r")
        self.assert_console("a", "still_there\r\n> ")

    def test_a_descriptor_that_was_passed_on_is_the_console(self):
        self.start_at_prompt("a")
        session = self.session("a")
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
            os.setgid(65534)
            os.setuid(65534)
            os.write(fds[0], b"echo by_nobody\r")
            os._exit(0)
        socket.send_fds(ours, [b"x"], [session.socket.fileno()])
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        session.until("by_nobody\r\n> ")
        ours.close()
        theirs.close()

    def test_one_side_may_be_closed(self):
        self.start_at_prompt("a")
        deaf = self.session("a")
        deaf.socket.shutdown(socket.SHUT_RD)
        watcher = self.session("a", read_only=True)
        deaf.type("echo by_the_deaf\r")
        watcher.until("by_the_deaf\r\n> ")
        deaf.socket.shutdown(socket.SHUT_WR)
        mute = self.session("a")  # the next one that may type
        mute.until("> ")
        mute.type("echo said\r")
        mute.socket.shutdown(socket.SHUT_WR)
        mute.until("said\r\n> ")
        self.qvmd.call("console.write", name="a", data=base64.b64encode(b"echo heard\r").decode())
        mute.until("heard\r\n> ")

    def test_what_was_typed_before_hanging_up_arrives(self):
        self.start_at_prompt("a")
        session = Session(self.qvmd, "a")
        session.type("echo last_will\r")
        session.close()
        self.assert_console("a", "last_will\r\n> ")

    def test_a_thief_types_and_who_typed_reads_on_until_the_thief_leaves(self):
        self.start_at_prompt("a")
        first = self.session("a", no_scrollback=True)
        second = self.session("a", no_scrollback=True)
        second.until(line("another session types; this one only reads"))
        second.type("echo by_second\r")
        thief = Session(self.qvmd, "a", steal=True, no_scrollback=True)
        first.until(line("another session took the keyboard; this one only reads"))
        first.type("echo by_first\r")
        thief.type("echo by_thief\r")
        for session in (first, second, thief):
            said = session.until("by_thief\r\n> ")
            self.assertNotIn(b"by_first", said)
            self.assertNotIn(b"by_second", said)
        thief.close()
        first.until(line("this session types now"))
        first.type("echo again\r")
        second.until("again\r\n> ")

    def test_the_seventeenth_is_told_why_it_is_none(self):
        self.start_at_prompt("a")
        sessions = [self.session("a", read_only=True) for _ in range(16)]
        self.assertEqual(self.session("a", no_scrollback=True).rest(),
                         line("the console has 16 sessions already"))
        sessions[5].close()
        self.session("a").until("> ")

    def test_each_reboot_is_marked_with_its_number(self):
        self.start_at_prompt("a")
        session = self.session("a", no_scrollback=True)
        for number in (1, 2):
            session.type("reboot\r")
            session.until(line(f"guest 'a' rebooted ({number})"))
            session.until(f"boot {number + 1}")
            session.until("> ")

    def test_bytes_typed_before_the_guest_is_up_are_not_lost(self):
        self.start("a")
        self.qvmd.type("a", "echo early\r")
        self.assert_console("a", "early\r\n> ")
        session = self.session("a", no_scrollback=True)
        session.type("reboot\r")
        session.until(line("guest 'a' rebooted (1)"))
        session.type("echo while_booting\r")
        session.until("while_booting\r\n> ")

    def test_a_flood_is_whole_for_who_reads_and_counted_for_who_does_not(self):
        self.start_at_prompt("a")
        reader = self.session("a", no_scrollback=True)
        sleeper = self.session("a", read_only=True, no_scrollback=True)
        begin = self.qvmd.call("console.read", name="a", offset=0)["next"]
        reader.type("flood 22000\r")  # 500 KiB: more than the ring and a socket hold
        said = reader.until("line 22000 of the flood\r\n> ", 240)
        self.assertEqual(said[said.index(b"\r\n") + 2:-2],
                         b"".join(b"line %d of the flood\r\n" % i for i in range(1, 22001)))
        end = self.qvmd.call("console.read", name="a", offset=1 << 62)["next"]
        self.assertEqual(end - begin, len(said))
        self.check_sleeper(sleeper, end - begin)
        self.check_ring()

    def check_sleeper(self, sleeper, size):
        """What it heard and what it was told to have missed is all of it."""
        heard, lost = sleeper.until("line 22000 of the flood\r\n> "), 0
        while (at := heard.find(b"\r\n-- qvm: ")) >= 0:
            note = heard[at:heard.index(b" --\r\n", at) + 5]
            lost += int(note.split()[2])
            heard = heard.replace(note, b"", 1)
        self.assertGreater(lost, 0)
        self.assertEqual(len(heard) + lost, size)

    def check_ring(self):
        """The last bytes are there, and the others are counted."""
        data = self.qvmd.call("console.read", name="a", offset=0, size=131072)
        size = len(base64.b64decode(data["data"]))
        self.assertEqual(data["lost"] + size, data["next"])
        rest = self.qvmd.call("console.read", name="a", offset=data["next"], size=131072)
        self.assertEqual(rest.get("lost", 0), 0)
        self.assertEqual(size + len(base64.b64decode(rest["data"])), RING)
        self.assertEqual(data["lost"] + RING, rest["next"])

    def test_a_read_waits_for_something_to_come(self):
        self.start_at_prompt("a")
        offset = self.qvmd.call("console.read", name="a", offset=0)["next"]
        with self.qvmd.client() as client:
            number = client.request("console.read", name="a", offset=offset, wait_ms=60000)
            self.assertEqual(select.select([client.socket], [], [], 0.3)[0], [])
            self.qvmd.type("a", "echo news\r")
            self.assertIn(b"e", base64.b64decode(client.answer(number)["data"]))
        data = self.qvmd.call("console.read", name="a", offset=1 << 40, wait_ms=50)
        self.assertEqual(data["data"], "")  # the time is over

    def test_who_waits_for_a_console_hears_of_its_end(self):
        self.start_at_prompt("a")
        offset = self.qvmd.call("console.read", name="a", offset=0)["next"]
        with self.qvmd.client() as client:
            number = client.request("console.read", name="a", offset=offset, wait_ms=60000)
            self.qvmd.call("guest.kill", name="a")
            self.assertEqual(client.answer(number)["data"], "")

    def test_a_flooding_guest_slows_nobody(self):
        for name in ("flood1", "flood2"):
            self.start(name, run="flood")
        self.assert_console("flood1", "of the flood", within=60)
        deaf = self.session("flood1")
        self.start_at_prompt("b")
        session = self.session("b")
        session.type("echo quick\r")
        session.until("quick\r\n> ", 60)
        for name in ("flood1", "flood2", "b"):
            self.qvmd.call("guest.kill", name=name)
        self.assertEqual(len(self.qvmd.call("guest.list")["guests"]), 3)
        self.assertTrue(deaf.rest())

    def test_qvmctl_types_a_script_and_lingers(self):
        self.start_at_prompt("a")
        environment = {**os.environ, "QVM_SOCKET": self.qvmd.socket}
        done = subprocess.run([QVMCTL, "console", "--no-scrollback", "--linger", "0", "a"],
                              input=b"echo typed\r", env=environment, capture_output=True,
                              timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_console("a", "typed\r\n> ")
        done = subprocess.run([QVMCTL, "console", "--no-scrollback", "--linger", "2", "a"],
                              input=b"echo heard\r", env=environment, capture_output=True,
                              timeout=60)
        self.assertIn(b"heard\r\n> ", done.stdout)

    def test_qvmctl_follows_to_the_guests_end_without_input(self):
        self.start_at_prompt("a")
        child = subprocess.Popen([QVMCTL, "console", "a"], stdin=subprocess.DEVNULL,
                                 env={**os.environ, "QVM_SOCKET": self.qvmd.socket},
                                 stdout=subprocess.PIPE)
        self.addCleanup(lambda: (child.kill(), child.wait(), child.stdout.close()))
        scrollback = os.read(child.stdout.fileno(), 65536)
        self.assertIn(b"qvm-guest: up", scrollback)
        self.qvmd.type("a", "echo on\rpoweroff\r")
        self.assertIn(b"on\r\n> poweroff", child.communicate(timeout=60)[0])
        self.assertEqual(child.returncode, 0)


if __name__ == "__main__":
    main()
