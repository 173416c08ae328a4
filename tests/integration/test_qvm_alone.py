#!/usr/bin/env python3
"""qvm alone: configurations from files and words, exit statuses, pipes, the terminal."""

import glob
import os
import pty
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import time
import unittest

BUILD = os.environ["QVM_BUILD"]
QVM = os.path.join(BUILD, "qvm-worker/qvm")
GUESTS = os.path.join(BUILD, "tests/guests/bare")

BARE = f"""system bare
ram 16M
guest load {GUESTS}/guest.bzimage
vdev ser8250
    hostdev -
"""
BANNER = b"qvm-guest: up"
PROMPT = b"> "


class AloneTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="qvm-alone-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.put("bare.qvmconf", BARE)

    def put(self, name, text):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def environment(self, **more):
        return {"QVM_VDEVS": os.path.join(BUILD, "vdevs"), **more}

    def run_qvm(self, *words, typed=b"", prefix=(), **env):
        return subprocess.run([*prefix, QVM, *words], input=typed, capture_output=True, timeout=20,
                              cwd=self.directory, env=self.environment(**env), check=False)

    def run_as_nobody(self, *words):
        """With copies of what it needs: the tree may lie where only root may go."""
        os.chmod(self.directory, 0o755)
        for path in (QVM, f"{GUESTS}/guest.bzimage", *glob.glob(f"{BUILD}/vdevs/*.so")):
            shutil.copy(path, self.directory)
        self.put("bare.qvmconf", BARE.replace(GUESTS, self.directory))
        return subprocess.run(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "./qvm", *words],
            capture_output=True, timeout=20, cwd=self.directory,
            env=self.environment(QVM_VDEVS=self.directory), check=False)

    def refused(self, words, status, sentence, **options):
        done = self.run_qvm(*words, **options)
        self.assertEqual((done.returncode, done.stdout, done.stderr.decode()),
                         (status, b"", sentence + "\n"))

    def start(self, *words, **options):
        process = subprocess.Popen([QVM, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, cwd=self.directory,
                                   env=self.environment(), **options)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def read_until(self, fd, wanted, count=1):
        data = b""
        while data.count(wanted) < count:
            ready, _, _ = select.select([fd], [], [], 10)
            self.assertTrue(ready, data)
            piece = os.read(fd, 4096)
            self.assertTrue(piece, data)
            data += piece
        return data

    def type_at(self, process, *lines):
        for line in lines:
            process.stdin.write(line + b"\r")
        process.stdin.flush()

    # ---- through pipes ----

    def test_a_guest_talks_and_powers_off(self):
        qvm = self.start("@bare.qvmconf")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        self.type_at(qvm, b"poweroff")
        self.assertEqual(qvm.wait(10), 0)
        self.assertIn(b"reason=poweroff status=0", qvm.stderr.read())

    def test_the_end_of_standard_input_is_not_the_end_of_the_guest(self):
        qvm = self.start("@bare.qvmconf")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        self.type_at(qvm, b"mem", b"poweroff")
        qvm.stdin.close()
        self.assertIn(b"0 errors", qvm.stdout.read())
        self.assertEqual(qvm.wait(10), 0)

    def test_a_reboot_stays_in_the_process_unless_the_words_say_otherwise(self):
        qvm = self.start("@bare.qvmconf")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        self.type_at(qvm, b"reboot")
        self.assertIn(b"boot 2", self.read_until(qvm.stdout.fileno(), PROMPT))
        self.type_at(qvm, b"poweroff")
        self.assertEqual(qvm.wait(10), 0)
        qvm = self.start("@bare.qvmconf", "set", "on-reboot", "exit")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        self.type_at(qvm, b"reboot")
        self.assertEqual(qvm.wait(10), 0)
        self.assertIn(b"reason=reboot", qvm.stderr.read())

    def test_a_crash_is_status_7_and_no_error(self):
        qvm = self.start("@bare.qvmconf", "logger", "fatal,internal,error", "stderr")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        self.type_at(qvm, b"crash")
        self.assertEqual(qvm.wait(10), 7)
        self.assertEqual(qvm.stderr.read(), b"")

    def test_a_crash_resets_if_the_words_say_so(self):
        qvm = self.start("@bare.qvmconf", "set", "on-crash", "reset")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        self.type_at(qvm, b"crash")
        self.assertIn(b"boot 2", self.read_until(qvm.stdout.fileno(), PROMPT))
        qvm.kill()

    def test_an_image_that_changed_in_place_ends_a_reboot(self):
        with open(f"{GUESTS}/guest.bzimage", "rb") as file:
            image = file.read()
        path = os.path.join(self.directory, "kernel")
        with open(path, "wb") as file:
            file.write(image)
        self.put("own.qvmconf", BARE.replace(f"{GUESTS}/guest.bzimage", "kernel"))
        qvm = self.start("@own.qvmconf")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        with open(path, "r+b") as file:
            file.write(b"\0" * 1024)
        self.type_at(qvm, b"reboot")
        self.assertEqual(qvm.wait(10), 96)
        self.assertIn(b"own.qvmconf:3: ", qvm.stderr.read())

    # ---- signals ----

    def test_the_first_signal_presses_the_power_button(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            qvm = self.start("@bare.qvmconf")
            self.read_until(qvm.stdout.fileno(), PROMPT)
            qvm.send_signal(number)
            self.assertEqual(qvm.wait(10), 0)

    def test_the_second_signal_ends_it_at_once(self):
        qvm = self.start("@bare.qvmconf")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        self.type_at(qvm, b"hang")
        time.sleep(0.2)  # the guest must have hung, and cannot say so
        qvm.send_signal(signal.SIGTERM)
        self.read_until(qvm.stderr.fileno(), b"power button pressed")
        qvm.send_signal(signal.SIGTERM)
        self.assertEqual(qvm.wait(10), 3)

    def test_a_guest_that_resets_all_the_time_does_not_outlive_the_second_signal(self):
        qvm = self.start("@bare.qvmconf", "cmdline", "button=10:510 run=reboot")
        self.read_until(qvm.stdout.fileno(), b"boot 2")
        qvm.send_signal(signal.SIGTERM)
        self.read_until(qvm.stderr.fileno(), b"power button pressed")
        self.read_until(qvm.stderr.fileno(), b"guest reset")
        qvm.send_signal(signal.SIGTERM)
        self.assertEqual(qvm.wait(10), 3)

    def test_a_signal_ends_it_while_memory_is_populated(self):
        qvm = self.start("@bare.qvmconf", "ram", "2G", "set", "populate", "on")
        time.sleep(0.15)
        qvm.send_signal(signal.SIGTERM)
        self.assertEqual(qvm.wait(10), -signal.SIGTERM)
        self.assertEqual(qvm.stdout.read(), b"")

    def test_sigquit_is_a_power_cut(self):
        qvm = self.start("@bare.qvmconf")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        qvm.send_signal(signal.SIGQUIT)
        self.assertEqual(qvm.wait(10), 3)

    def test_sigusr1_logs_the_state_and_sigusr2_is_refused_in_words(self):
        qvm = self.start("@bare.qvmconf")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        qvm.send_signal(signal.SIGUSR2)
        self.read_until(qvm.stderr.fileno(), b"SIGUSR2 refused")
        qvm.send_signal(signal.SIGUSR1)
        self.read_until(qvm.stderr.fileno(), b"state: device=ser8250")
        self.type_at(qvm, b"poweroff")
        self.assertEqual(qvm.wait(10), 0)

    # ---- what is refused ----

    def test_errors_of_the_configuration_are_status_65(self):
        self.put("bad/x.qvmconf", "system x\nram 1M\nvdev ser8251\n")
        self.refused(["@nowhere.qvmconf"], 65, "cannot read the configuration 'nowhere.qvmconf': "
                     "No such file or directory")
        self.refused(["@bad"], 65, "the configuration 'bad' is a folder")
        self.refused(["@bare.qvmconf", "cmdlien", "x"], 65, "command line:1: unknown option "
                     "'cmdlien'; did you mean 'cmdline'?")
        done = self.run_qvm("@bad/x.qvmconf")
        self.assertEqual(done.returncode, 65)
        self.assertTrue(done.stderr.startswith(b"bad/x.qvmconf:3: there is no vdev 'ser8251'"),
                        done.stderr)

    def test_a_text_longer_than_its_limit_is_refused(self):
        self.put("long.qvmconf", "#" * 262145)
        self.refused(["@long.qvmconf"], 65,
                     "long.qvmconf:1: the text is longer than 262144 bytes")

    def test_relative_paths_start_from_the_folder_of_their_file(self):
        self.put("sub/x.qvmconf", "system x ram 1M load kernel")
        self.refused(["@sub/x.qvmconf"], 64, "sub/x.qvmconf:1: cannot open "
                     f"'{self.directory}/sub/kernel': No such file or directory")

    def test_an_image_that_is_none_is_refused_with_its_line(self):
        self.put("x.qvmconf", "system x\nram 1M\nguest load empty\n")
        self.put("empty", "")
        done = self.run_qvm("@x.qvmconf")
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertTrue(done.stderr.startswith(b"x.qvmconf:3: "), done.stderr)

    def test_ram_too_small_for_the_image_is_refused_with_its_line(self):
        done = self.run_qvm("system", "x", "ram", "64K", "load", f"{GUESTS}/guest.bzimage")
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertTrue(done.stderr.startswith(b"command line:"), done.stderr)

    def test_a_folder_without_vdevs_is_told(self):
        self.refused(["@bare.qvmconf"], 64, "cannot open the folder of vdevs '/nowhere' "
                     "(QVM_VDEVS names another): No such file or directory", QVM_VDEVS="/nowhere")

    @unittest.skipUnless(os.getuid() == 0, "only root can take rights away")
    def test_no_permission_for_kvm_says_what_to_do(self):
        mode = os.stat("/dev/kvm").st_mode & 0o777
        if mode & 0o006:
            self.skipTest("everybody may open /dev/kvm here")
        done = self.run_as_nobody("@bare.qvmconf")
        self.assertEqual(done.returncode, 64)
        self.assertIn(b"no permission to open /dev/kvm: run as a user of its group", done.stderr)

    @unittest.skipUnless(os.getuid() == 0, "only root can mount")
    def test_no_kvm_says_what_to_do_and_dryrun_needs_none(self):
        hide = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev && exec \"$0\" \"$@\""]
        done = self.run_qvm("@bare.qvmconf", prefix=hide)
        self.assertEqual(done.returncode, 64)
        self.assertIn(b"there is no /dev/kvm: load KVM ('modprobe kvm_intel'", done.stderr)
        done = self.run_qvm("@bare.qvmconf", "dryrun", prefix=hide)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"vdev ser8250", done.stdout)

    # ---- dryrun and the like ----

    def test_dryrun_needs_no_rights(self):
        run = self.run_as_nobody if os.getuid() == 0 else self.run_qvm
        done = run("@bare.qvmconf", "dryrun")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"0x000000100000-0x000000ffffff RAM", done.stdout)

    def test_dryrun_finds_a_missing_file_and_two_vdevs_at_one_place(self):
        self.refused_dryrun(["system", "x", "ram", "1M", "load", "/nowhere"], b"command line:6: ")
        self.refused_dryrun(["@bare.qvmconf", "vdev", "ser8250", "loc", "io:3f8,8"],
                            b"ser8250")

    def test_a_vdev_where_the_machine_itself_answers_is_refused_by_dryrun_as_well(self):
        for loc, owner in (("mem:1000,8", "guest RAM"), ("mem:fee00000,8", "the local APICs"),
                           ("io:600", "the sleep registers")):
            words = ["@bare.qvmconf", "vdev", "ser8250", "loc", loc]
            self.refused_dryrun(words, b"command line:2: vdev ser8250-2: ")
            done = self.run_qvm(*words)
            self.assertEqual(done.returncode, 65)
            self.assertIn(f" belong to {owner} (".encode(), done.stderr)

    def refused_dryrun(self, words, start):
        done = self.run_qvm(*words, "dryrun")
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn(start, done.stderr)

    def test_set_question_mark_lists_the_variables(self):
        done = self.run_qvm("set", "?")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"populate     boolean  vm", done.stdout)

    def test_usage_help_and_version(self):
        self.assertEqual(self.run_qvm().returncode, 65)
        self.assertIn(b"usage: qvm", self.run_qvm("--help").stdout)
        self.assertTrue(self.run_qvm("--version").stdout.startswith(b"qvm "))

    def test_env_comes_from_the_environment(self):
        done = self.run_qvm("system", "x", "ram", "$env{SIZE}", "dryrun", SIZE="8M")
        self.assertIn(b"ram 8M", done.stdout)

    # ---- the terminal ----

    def terminal(self):
        """A qvm on a terminal of its own: its pid, our end."""
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.directory)
            os.execve(QVM, ["qvm", "@bare.qvmconf"], self.environment())
        self.addCleanup(os.close, fd)
        return pid, fd

    def is_raw(self, fd):
        return not termios.tcgetattr(fd)[3] & termios.ICANON

    def wait_until(self, check):
        deadline = time.monotonic() + 5
        while not check() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertTrue(check())

    def drain_and_wait(self, pid, fd):
        while True:
            try:
                if not os.read(fd, 4096):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_the_terminal_is_raw_while_it_runs_and_given_back_at_the_end(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        for end in (b"poweroff\r", b"crash\r", b"\x1d", signal.SIGQUIT, signal.SIGKILL):
            qvm = subprocess.Popen(
                [QVM, "@bare.qvmconf"], stdin=slave, stdout=slave, stderr=slave,
                cwd=self.directory, env=self.environment(), start_new_session=True,
                preexec_fn=lambda: __import__("fcntl").ioctl(0, termios.TIOCSCTTY, 0))
            self.read_until(master, PROMPT)
            self.assertTrue(self.is_raw(slave))
            if isinstance(end, bytes):
                os.write(master, end)
            else:
                qvm.send_signal(end)
            qvm.wait(10)
            self.wait_until(lambda: not self.is_raw(slave))

    def test_ctrl_c_is_the_guests_and_the_escape_key_leaves(self):
        pid, fd = self.terminal()
        self.read_until(fd, PROMPT)
        os.write(fd, b"\x03")
        os.write(fd, b"mem\r")
        self.read_until(fd, b"0 errors")
        os.write(fd, b"\x1d")
        self.assertEqual(self.drain_and_wait(pid, fd), 3)


if __name__ == "__main__":
    unittest.main()
