#!/usr/bin/python3
"""qvmd under a service manager that speaks systemd's protocols: a socket that it keeps, readiness,
watchdog."""

import os
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

import qvmtest
from qvmtest import Client, bare, start_ticks


class Manager:
    """What systemd does for a service, as far as qvmd sees it."""

    def __init__(self):
        self.holder = tempfile.TemporaryDirectory(prefix="qvm-test-")
        os.chmod(self.holder.name, 0o755)
        self.home = os.path.join(self.holder.name, "q")
        self.path = os.path.join(self.holder.name, "api.sock")
        self.notify_path = os.path.join(self.holder.name, "notify")
        self.log = os.path.join(self.holder.name, "log")
        self.api = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.api.bind(self.path)
        self.api.listen(16)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(self.notify_path)
        self.notified.settimeout(qvmtest.TIMEOUT)
        self.process = None

    def start(self, passed=None, **environment):
        """Start qvmd with `passed` (the API's socket) as descriptor 3."""
        passed = self.api if passed is None else passed
        command = ('LISTEN_PID=$$ exec "$@" 3<&%d' % passed.fileno(), "sh", qvmtest.QVMD,
                   "--private", self.home, "--worker", qvmtest.QVM, "--vdevs", qvmtest.VDEVS)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[passed.fileno()],
                env={**os.environ, "LISTEN_FDS": "1", "NOTIFY_SOCKET": self.notify_path,
                     **environment})

    def heard(self):
        """The next thing that qvmd says."""
        return self.notified.recv(4096).decode()

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def client(self):
        return Client(self.path)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.api.close()
        self.notified.close()
        self.holder.cleanup()


class ServiceTest(unittest.TestCase):
    def setUp(self):
        self.manager = Manager()
        self.addCleanup(self.manager.close)

    def start_guest(self):
        with self.manager.client() as client:
            guest = client.call("guest.start", name="a", definition=bare("a"))["guest"]
        self.addCleanup(self.end_guest, guest["pid"])
        return guest

    def end_guest(self, pid):
        if start_ticks(pid) is not None:
            os.kill(pid, signal.SIGKILL)

    def test_a_socket_that_is_kept_for_qvmd_outlives_it_and_loses_no_request(self):
        self.manager.start()
        self.assertEqual(self.manager.heard(), "READY=1")
        self.assertEqual(stat.S_IMODE(os.stat(self.manager.path).st_mode), 0o600)
        guest = self.start_guest()
        self.manager.process.kill()
        self.manager.process.wait()
        with self.manager.client() as early:
            number = early.request("guest.wait", name="a", state="running", timeout_ms=20000)
            self.manager.start()
            self.assertEqual(early.answer(number)["guest"]["pid"], guest["pid"])
        self.manager.process.terminate()
        self.assertEqual(self.manager.process.wait(qvmtest.TIMEOUT), 0)
        self.assertTrue(os.path.exists(self.manager.path), "the socket was removed")
        self.assertIsNotNone(start_ticks(guest["pid"]))
        self.manager.start()
        with self.manager.client() as client:
            client.call("guest.kill", name="a")

    def test_the_loop_says_that_it_lives_and_that_it_ends(self):
        self.manager.start(WATCHDOG_USEC="100000")
        self.assertEqual(self.manager.heard(), "READY=1")
        self.assertEqual([self.manager.heard() for _ in range(3)], ["WATCHDOG=1"] * 3)
        self.manager.process.terminate()
        while (heard := self.manager.heard()) == "WATCHDOG=1":
            pass
        self.assertEqual(heard, "STOPPING=1")
        self.assertEqual(self.manager.process.wait(qvmtest.TIMEOUT), 0)

    def test_a_watchdog_for_somebody_else_is_left_alone(self):
        self.manager.start(WATCHDOG_USEC="1000", WATCHDOG_PID="1")
        self.assertEqual(self.manager.heard(), "READY=1")
        with self.manager.client() as client:
            client.call("host.info")
        self.manager.process.terminate()
        self.assertEqual(self.manager.heard(), "STOPPING=1")

    def test_what_trying_again_does_not_mend_is_status_2(self):
        def ends(config, **options):
            path = os.path.join(self.manager.holder.name, "qvmd.conf")
            with open(path, "w", encoding="utf-8") as file:
                file.write(config.format(top=self.manager.holder.name))
            done = subprocess.run([qvmtest.QVMD, "--config", path], capture_output=True, text=True,
                                  timeout=qvmtest.TIMEOUT, check=False, **options)
            return done.returncode, done.stderr.replace(self.manager.holder.name, "TOP")

        self.assertEqual(ends("hands 8\nadmin-group no-such-group\n"),
                         (2, "qvmd: TOP/qvmd.conf:2: there is no group 'no-such-group' in "
                             "/etc/group\n"))
        if os.getuid() == 0:
            self.assertEqual(ends("run-dir {top}/r\nlog-dir {top}/l\nstate-dir {top}/s\n", user=8),
                             (1, "qvmd: cannot make the directory 'TOP/s': Permission denied; run "
                                 "qvmd as root, or an instance of your own with --private DIR\n"))

    def test_something_else_than_the_apis_socket_is_refused(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            self.manager.start(other)
            self.assertEqual(self.manager.process.wait(qvmtest.TIMEOUT), 1)
        self.assertIn("what was passed to qvmd in LISTEN_FDS is not one listening unix stream "
                      "socket", self.manager.said())
        self.manager.start(LISTEN_FDS="2")
        self.assertEqual(self.manager.process.wait(qvmtest.TIMEOUT), 1)
        self.manager.start(LISTEN_FDS="some")
        self.assertEqual(self.manager.process.wait(qvmtest.TIMEOUT), 1)


if __name__ == "__main__":
    qvmtest.main()
