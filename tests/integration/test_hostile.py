#!/usr/bin/env python3
"""Workers and clients that mean harm, or hang: what they break is theirs alone. How fast everybody
else is meanwhile is printed."""

import os
import resource
import signal
import socket
import statistics
import time

from qvmtest import BUILD, LeavesNothingTest, QvmdTest, Refused, bare, definition, main, start_ticks
from test_api import OPERATORS, SeveralUsersTest, as_user

LIAR = os.path.join(BUILD, "tests", "integration", "fake_liar")
NOTHING = definition("")
OTHER = 12345  # a user who is not root


def is_spawned(pid):
    """It runs its program."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read(4) == b"qvm\0"


def is_listening(pid):
    """It has said so (proto/spawn_fds.h)."""
    try:
        return is_spawned(pid) and not os.readlink(f"/proc/{pid}/fd/7").startswith("pipe:")
    except FileNotFoundError:
        return True


class Measured(QvmdTest):
    def list_ms(self):
        """The median of some calls, each with a connection of its own."""
        taken = []
        for _ in range(50):
            begin = time.monotonic()
            self.qvmd.call("guest.list")
            taken.append((time.monotonic() - begin) * 1000)
        return round(statistics.median(taken), 2)


class HostileWorkerTest(LeavesNothingTest, Measured):
    worker = LIAR
    settings = ("spares 0",)  # a liar waits for nobody

    def test_a_flood_of_descriptors_in_the_middle_of_start_stops_nobody(self):
        alone = self.list_ms()
        for name in ("floods-with-descriptors", "floods-with-nothing"):
            with self.qvmd.client() as client:
                client.request("guest.start", name=name, definition=NOTHING)
                self.eventually(lambda: self.qvmd.workers() != [], "no process")
                print(f"list: alone {alone} ms, beside one that {name}: {self.list_ms()} ms",
                      flush=True)
                self.assertLess(self.qvmd.descriptors(), self.before["descriptors"] + 100)
                self.qvmd.call("guest.kill", name=name)
        self.assertEqual([event for event in self.qvmd.events() if event["what"] == "reboot"], [],
                         "what does not run reboots")

    def test_a_flood_of_a_running_guest_stops_nobody(self):
        alone = self.list_ms()
        self.qvmd.call("guest.start", name="floods-later", definition=NOTHING)
        print(f"list: alone {alone} ms, beside one that floods {self.list_ms()} ms", flush=True)
        self.qvmd.call("guest.kill", name="floods-later")

    def test_packets_with_more_than_they_may_have_end_the_start(self):
        for name in ("sends-too-many", "sends-too-much"):
            message = self.refused("guest-failed", "guest.start", name=name, definition=NOTHING)
            self.assertIn("the qvm sent a packet that is too big", message)

    def stopped_in_start(self, name, is_there):
        """What is answered to who starts one that is stopped as soon as it `is_there`."""
        with self.qvmd.client() as client:
            number = client.request("guest.start", name=name, definition=NOTHING)
            self.eventually(lambda: self.qvmd.workers() != [], "no process")
            pid = self.qvmd.workers()[0]
            self.eventually(lambda: is_there(pid), "it does not come up")
            os.kill(pid, signal.SIGSTOP)
            with self.assertRaises(Refused) as caught:
                client.answer(number)
            return caught.exception.message

    def test_one_that_is_stopped_before_it_listens_is_ended_in_time(self):
        self.assertIn("did not say in time what it needs",
                      self.stopped_in_start("is-never-ready", is_spawned))

    def test_one_that_is_stopped_when_it_listens_is_ended_in_time(self):
        self.assertIn("the qvm does not answer", self.stopped_in_start("says-nothing", is_listening))


class StoppedTest(QvmdTest):
    """SIGSTOP of real ones."""

    def tearDown(self):
        self.assert_invariants()

    def test_one_that_is_stopped_while_it_stops_goes_on_when_it_may(self):
        before = self.start("a")
        self.assert_console("a", "> ")
        os.kill(before["pid"], signal.SIGSTOP)
        self.refused("timeout", "guest.stop", name="a", timeout_ms=200)
        self.assertEqual(self.qvmd.guest("a")["state"], "stopping")
        os.kill(before["pid"], signal.SIGCONT)
        self.assertEqual(self.qvmd.wait("a", "stopped")["reason"], "poweroff")

    def test_one_that_is_stopped_while_it_stops_and_qvmd_is_replaced_stops_then(self):
        before = self.start("a")
        self.assert_console("a", "> ")
        os.kill(before["pid"], signal.SIGSTOP)
        self.refused("timeout", "guest.stop", name="a", timeout_ms=200)
        self.qvmd.restart()
        self.assertEqual(self.qvmd.guest("a")["state"], "stopping")
        os.kill(before["pid"], signal.SIGCONT)
        self.assertEqual(self.qvmd.wait("a", "stopped")["reason"], "poweroff")

    def test_one_that_is_stopped_while_it_runs_keeps_nobody_waiting(self):
        before = self.start("a")
        os.kill(before["pid"], signal.SIGSTOP)
        self.qvmd.call("guest.show", name="a")
        self.start("b")
        self.qvmd.call("guest.kill", name="b")
        os.kill(before["pid"], signal.SIGCONT)
        self.assertEqual(self.qvmd.call("guest.kill", name="a")["guest"]["reason"], "killed")

    # ---- somebody else at the control socket ----

    def test_a_control_socket_that_somebody_else_listens_on_is_refused(self):
        before = self.start("a")
        self.qvmd.crash()
        path = os.path.join(self.qvmd.home, "guests", "a.1", "control")
        os.rename(path, path + ".real")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as somebody:
            somebody.bind(path)
            somebody.listen()
            self.qvmd.start()
            self.qvmd.wait("a", "unreachable", 20000)
            self.assertIn(f"another process (pid {os.getpid()}) listens in its place",
                          self.qvmd.log())
            self.refused("wrong-state", "guest.start", name="a")
            self.assertIsNotNone(start_ticks(before["pid"]))
        os.rename(path + ".real", path)
        self.qvmd.restart()
        self.assert_runs_on(before)


class HostileClientTest(SeveralUsersTest, Measured):
    settings = (*SeveralUsersTest.settings, "connections 200")

    def test_a_thousand_connections_of_one_user_stop_nobody(self):
        before = self.measure()
        alone = self.list_ms()
        read_fd, write_fd = os.pipe()

        def open_many():
            """As somebody else: as many as there can be; told how many were welcome."""
            sockets, welcome = [], 0
            resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))
            for _ in range(1000):
                one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                one.settimeout(5)
                try:
                    one.connect(self.qvmd.socket)
                    one.send(b'{"jsonrpc":"2.0","id":1,"method":"guest.list"}\n')
                except OSError:  # it was turned away before it had said anything
                    pass
                sockets.append(one)
            for one in sockets:
                try:
                    welcome += b'"result"' in one.recv(4096)
                except OSError:
                    pass
            os.write(write_fd, b".")
            os.read(read_ends, 1)  # they stay until the test has looked
            for one in sockets:
                one.close()
            return welcome

        read_ends, write_ends = os.pipe()
        pid = os.fork()
        if pid == 0:
            os._exit(as_user(OTHER, [OPERATORS], open_many) == 64 and 1 or 0)
        os.close(write_fd)
        os.read(read_fd, 1)  # its end, if it could not
        print(f"list: alone {alone} ms, beside a thousand connections {self.list_ms()} ms",
              flush=True)
        self.start("a")
        self.qvmd.call("guest.kill", name="a")
        os.write(write_ends, b".")
        _, status = os.waitpid(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 1, "more or less than 64 were welcome")
        for fd in (read_fd, read_ends, write_ends):
            os.close(fd)
        self.assert_returns_to(before)
        self.assert_invariants()

    def test_a_subscriber_that_never_reads_misses_what_it_misses_and_stops_nobody(self):
        with self.qvmd.client() as deaf:
            deaf.call("events.subscribe")
            for _ in range(3):
                self.start("a")
                self.qvmd.call("guest.kill", name="a")
            print(f"list beside one that never reads: {self.list_ms()} ms", flush=True)
        self.assert_invariants()

    def test_clients_that_vanish_in_start_leave_guests_that_run(self):
        before = self.measure()
        for number in range(10):
            client = self.qvmd.client()
            client.request("guest.start", name=f"g{number}",
                           definition=NOTHING if number % 2 else bare(f"g{number}"))
            client.close()
        for number in range(0, 10, 2):
            self.qvmd.wait(f"g{number}", "running")
            self.qvmd.call("guest.kill", name=f"g{number}")
        for number in range(1, 10, 2):
            self.qvmd.wait(f"g{number}", "failed")
        self.assert_returns_to(before)
        self.assert_invariants()


if __name__ == "__main__":
    main()
