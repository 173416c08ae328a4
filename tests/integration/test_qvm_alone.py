#!/usr/bin/env python3
"""qvm alone, with a guest: exit statuses, pipes, signals, where vCPUs run, the terminal."""

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import termios
import time
import unittest

from alonetest import BANNER, BARE, BUILD, GUESTS, PROMPT, QVM, AloneTest


class RunTest(AloneTest):
    # ---- through pipes ----

    def test_a_guest_talks_and_powers_off(self):
        qvm = self.start("@bare.qvmconf")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        self.type_at(qvm, b"poweroff")
        self.assertEqual(qvm.wait(10), 0)
        self.assertIn(b"reason=poweroff status=0", qvm.stderr.read())

    def test_input_and_output_of_a_serial_line_may_be_two_files(self):
        """And what waits for silence is there when the guest has ended."""
        self.put("typed", "poweroff\r")
        self.put("two.qvmconf", BARE + "hostdev <typed hostdev >said batch 10000000\n")
        done = self.run_qvm("@two.qvmconf")
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
        with open(os.path.join(self.directory, "said"), "rb") as file:
            said = file.read()
        self.assertIn(BANNER, said)
        self.assertIn(b"poweroff", said)

    def test_both_ends_of_a_serial_line_may_be_commands(self):
        self.put("pipe.qvmconf", BARE + 'hostdev <"|echo poweroff" hostdev >"|cat >said"\n')
        # Its error output is the command's, too: when that ends, the command has.
        done = self.run_qvm("@pipe.qvmconf")
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
        with open(os.path.join(self.directory, "said"), "rb") as file:
            said = file.read()
        self.assertIn(BANNER, said)
        self.assertIn(b"poweroff", said)

    def test_a_command_has_nothing_of_the_qvm_and_outlives_its_terminal_keys(self):
        self.put("look.qvmconf", BARE + 'hostdev >"|ls /proc/self/fd >fds; cat >/dev/null" '
                 'cmdline "run=poweroff"\n')
        self.assertEqual(self.run_qvm("@look.qvmconf").returncode, 0)
        with open(os.path.join(self.directory, "fds"), encoding="ascii") as file:
            self.assertLessEqual(set(file.read().split()), {"0", "1", "2", "3"})

    def test_a_command_that_ends_or_is_not_there_holds_no_guest_up(self):
        for command in ("exit 1", "/no/such/command"):
            with self.subTest(command):
                self.put("deaf.qvmconf", BARE + f'hostdev >"|{command}"\n'
                         'cmdline "run=flood_100,poweroff"\n')
                self.assertEqual(self.run_qvm("@deaf.qvmconf").returncode, 0)

    def test_ends_of_a_serial_line_that_come_later_are_waited_for(self):
        self.put("late.qvmconf", BARE + "hostdev >late/said hostdev <late/typed delayed forever\n")
        qvm = self.start("@late.qvmconf")
        late = os.path.join(self.directory, "late")
        os.mkdir(late)
        os.mkfifo(os.path.join(late, "typed"))
        self.wait_for_text(os.path.join(late, "said"), "\n> ")  # nothing that was said is lost
        with open(os.path.join(late, "said"), "rb") as file:
            self.assertIn(BANNER, file.read())
        with open(os.path.join(late, "typed"), "r+b", buffering=0) as typed:
            typed.write(b"echo heard\r")
            self.wait_for_text(os.path.join(late, "said"), "\nheard\r\n> ")
            typed.write(b"poweroff\r")
            self.assertEqual(qvm.wait(30), 0)

    def test_an_end_that_is_given_up_holds_no_guest_up(self):
        self.put("never.qvmconf", BARE + "hostdev >never/said delayed 0\n")
        qvm = self.start("@never.qvmconf")
        told = self.read_until(qvm.stderr.fileno(), b"given up").decode()
        self.assertRegex(told, r"never\.qvmconf:\d+: cannot open '\S*/never/said'")
        qvm.terminate()  # the guest is up, and hears the power button
        self.assertEqual(qvm.wait(30), 0)

    def test_who_waits_for_an_end_has_nothing_of_the_qvm_and_ends_with_it(self):
        self.put("gone.qvmconf", BARE + "hostdev >never/said delayed forever\n")
        qvm = self.start("@gone.qvmconf")
        waiting = self.eventually_finds("delayed", qvm.pid)
        fds = [os.readlink(f"/proc/{waiting}/fd/{fd}") for fd in os.listdir(f"/proc/{waiting}/fd")]
        self.assertEqual(len([fd for fd in fds if fd.startswith("socket:")]), 1, fds)
        self.assertFalse([fd for fd in fds if "kvm" in fd or "memfd" in fd], fds)
        qvm.kill()
        qvm.wait(30)
        end = time.monotonic() + 30
        while os.path.exists(f"/proc/{waiting}"):
            self.assertLess(time.monotonic(), end, "it goes on without its qvm")
            time.sleep(0.05)

    def eventually_finds(self, name, qvm):
        """The process of that name in the folder where this qvm runs, when it has all but one
        descriptor closed."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                        is_it = file.read().strip() == name
                    if is_it and os.readlink(f"/proc/{pid}/cwd") == self.directory and \
                            len(os.listdir(f"/proc/{pid}/fd")) <= 2:
                        return int(pid)
            time.sleep(0.05)
        self.fail(f"no process '{name}' of qvm {qvm}")
        return 0

    def test_a_file_that_others_truncate_goes_on_at_its_new_end(self):
        self.put("file.qvmconf", BARE + "hostdev >said hostdev <typed\n")
        said = os.path.join(self.directory, "said")
        os.mkfifo(os.path.join(self.directory, "typed"))
        with open(os.path.join(self.directory, "typed"), "r+b", buffering=0) as typed:
            qvm = self.start("@file.qvmconf")
            self.wait_for_text(said, "\n> ")
            os.truncate(said, 0)
            typed.write(b"echo after\r")
            self.wait_for_text(said, "\nafter\r\n> ")
            typed.write(b"poweroff\r")
            self.assertEqual(qvm.wait(10), 0)
        with open(said, "rb") as file:
            self.assertTrue(file.read().startswith(b"echo after\r\n"))

    def wait_for_text(self, path, text):
        end = time.monotonic() + 30
        while True:
            if os.path.exists(path):
                with open(path, encoding="ascii", newline="") as file:
                    if text in file.read():
                        return
            self.assertLess(time.monotonic(), end, f"no {text!r} in {path}")
            time.sleep(0.02)

    def run_unsupported(self, words, run):
        self.put("u.qvmconf", BARE + f'unsupported {words}\ncmdline "run={run},poweroff"\n')
        return self.run_qvm("@u.qvmconf")

    def test_what_is_not_supported_is_ignored(self):
        for words, run, said in (
                ("reference ignore", "mem_d0000000", b"0xd0000000: 0xffffffff"),
                ("reference ignore", "in_5a0", b"port 0x5a0: 0xff"),
                ("register ignore", "msr_12345678", b"register 0x12345678: 0xffffffffffffffff")):
            with self.subTest(words, run=run):
                done = self.run_unsupported(words, run)
                self.assertIn(said, done.stdout)
                self.assertEqual(done.returncode, 0)

    def test_what_is_not_supported_raises_an_exception(self):
        for words, run in (("reference fail", "mem_d0000000"), ("reference fail", "in_5a0"),
                           ("register fail", "msr_12345678")):
            with self.subTest(words, run=run):
                qvm = self.start("@bare.qvmconf", "unsupported", *words.split(),
                                 "cmdline", f"run={run}")
                self.read_until(qvm.stdout.fileno(), b"exception 13")

    def test_an_instruction_that_kvm_cannot_emulate_raises_an_exception(self):
        for reaction in ("fail", "ignore"):
            with self.subTest(reaction):
                done = self.run_unsupported(f"instruction {reaction}", "strange_d0000000")
                self.assertIn(b"exception 6", done.stdout)
                self.assertEqual(done.returncode, 0, done.stderr)
        done = self.run_unsupported("instruction abort", "strange_d0000000")
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn(b"KVM cannot emulate an instruction: bytes f3 0f b8", done.stderr)

    def test_a_halted_vcpu_that_keeps_its_cpu_hears_its_interrupts(self):
        qvm = self.start("@bare.qvmconf", "set", "exit-on-halt", "off",
                         "cmdline", "run=ticks_20,poweroff")
        self.assertIn(b"20 ticks", qvm.stdout.read())
        self.assertEqual(qvm.wait(10), 0)

    def test_a_guest_that_asks_who_hosts_it_hears_the_name_that_was_set(self):
        for words, said in (((), b"leaf 0x40000000: 0x40000010 0x4b4d564b 0x564b4d56 0x4d"),
                            (("set", "hypervisor", "qnx"),
                             b"leaf 0x40000000: 0x40000010 0x51584e51 0x53424d56 0x4751")):
            with self.subTest(words):
                qvm = self.start("@bare.qvmconf", *words, "cmdline",
                                 "run=cpuid_40000000,cpuid_40000100,poweroff")
                out = qvm.stdout.read()
                self.assertIn(said, out)
                self.assertEqual(b"0x4b4d564b 0x564b4d56 0x4d" in out.split(said)[1],
                                 len(words) > 0, out)
                self.assertEqual(qvm.wait(10), 0)

    def test_what_is_not_supported_ends_the_vm(self):
        for words, run, said in (
                ("reference abort", "mem_d0000000",
                 b"read of address 0xd0000000, where nothing is on vCPU 0: rip="),
                ("reference abort", "out_5a0_1", b"write to port 0x5a0, where nothing is"),
                ("register abort", "msr_12345678",
                 b"read of register 0x12345678, which is not supported on vCPU 0: rip=")):
            with self.subTest(words, run=run):
                done = self.run_unsupported(words, run)
                self.assertEqual(done.returncode, 5, done.stderr)
                self.assertIn(said, done.stderr)
                self.assertIn(b"reason=guest-crash status=5", done.stderr)

    def test_300_cpus_come_up_with_ids_of_32_bits(self):
        self.put("many.qvmconf", BARE + "cpu\n" * 300 + 'cmdline "run=cpus,poweroff"\n')
        done = self.run_qvm("@many.qvmconf")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"cpu 299: up", done.stdout)
        self.assertIn(b"300 cpus up", done.stdout)

    def test_memory_above_4_gib_is_memory(self):
        """All of it is written before any is read: what were two names of one byte would show."""
        self.put("high.qvmconf", BARE + "ram 0x100000000,16M\nvdev pci-dummy bar 0,mem64,32M\n")
        qvm = self.start("@high.qvmconf")
        output = qvm.stdout.fileno()
        self.assertIn(b"32383 KiB", self.read_until(output, PROMPT))
        self.type_at(qvm, b"mem")
        self.assertIn(b"30720 KiB checked, 0 errors", self.read_until(output, PROMPT))
        self.type_at(qvm, b"poke 100fffffc 12345678")
        self.read_until(output, PROMPT)
        self.type_at(qvm, b"mem 101000000")  # behind it
        self.assertIn(b"0xffffffff", self.read_until(output, PROMPT))
        self.type_at(qvm, b"reboot")
        self.read_until(output, PROMPT)
        self.type_at(qvm, b"mem 100fffffc")
        self.assertIn(b"0x12345678", self.read_until(output, PROMPT))
        self.type_at(qvm, b"poweroff")
        self.assertEqual(qvm.wait(10), 0)

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

    def test_a_vdev_that_cannot_go_on_is_status_6_and_named(self):
        os.mkdir(os.path.join(self.directory, "vdevs"))
        for name in ("vdevs/vdev-ser8250.so", "vdevs/vdev-test-dev.so",
                     "tests/unit/test-vdevs/vdev-fail.so"):
            shutil.copy(os.path.join(BUILD, name), os.path.join(self.directory, "vdevs"))
        for words, said in (
                ('vdev fail name lamp cmdline "run=out_700_1,out_700_ff,echo_alive"',
                 b"status=6 message=\"fail.qvmconf:%d: vdev 'lamp' cannot go on\""
                 % (BARE.count("\n") + 1)),
                ("vdev fail name lamp vdev test-dev save-every 5",
                 b"vdev 'lamp' cannot be saved: its module does not do that")):
            with self.subTest(words):
                self.put("fail.qvmconf", f"{BARE}{words}\n")
                done = self.run_qvm("@fail.qvmconf", QVM_VDEVS="vdevs")
                self.assertEqual(done.returncode, 6, done.stderr)
                self.assertIn(said, done.stderr)
                self.assertIn(b"reason=vmm-crash", done.stderr)
                self.assertNotIn(b"\nalive", done.stdout)

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
        self.read_until(qvm.stdout.fileno(), b"deaf")
        time.sleep(0.2)  # some instructions later it has hung
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
        self.read_until(qvm.stderr.fileno(), b"dump refused")
        qvm.send_signal(signal.SIGUSR1)
        self.read_until(qvm.stderr.fileno(), b"state: device=ser8250")
        self.type_at(qvm, b"poweroff")
        self.assertEqual(qvm.wait(10), 0)

    # ---- loggers of the host ----

    @unittest.skipUnless(os.getuid() == 0, "only root can mount")
    def test_a_logger_of_the_host_hears_the_end(self):
        self.put("logger.py", """
import os, socket, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
os.makedirs("/run/systemd/journal")
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
done = subprocess.run(sys.argv[1:], input=b"", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
assert done.stderr == b"", done.stderr
journal.setblocking(False)
try:
    while True:
        sys.stdout.buffer.write(journal.recv(4096) + b"\\n")
except BlockingIOError:
    pass
""")
        done = self.run_qvm("@bare.qvmconf", "logger", "info,error", "journal", "cmdline",
                            "run=poweroff", prefix=["unshare", "-m", "python3", "logger.py"])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"PRIORITY=6\nSYSLOG_IDENTIFIER=qvm\nQVM_GUEST=bare\nMESSAGE=run: ended ",
                      done.stdout)

    # ---- where a vCPU runs ----

    def test_vcpus_run_where_and_as_they_are_told(self):
        cpu = max(os.sched_getaffinity(0))
        qvm = self.start("@bare.qvmconf", "cpu", "runmask", str(cpu), "cpu", "sched", "5o")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        tasks = self.vcpus_of(qvm)
        self.assertEqual(os.sched_getaffinity(tasks["vcpu0"]), {cpu})
        self.assertEqual(os.sched_getaffinity(tasks["vcpu1"]), os.sched_getaffinity(0))
        self.assertEqual(os.sched_getscheduler(tasks["vcpu1"]), os.SCHED_OTHER)

    @unittest.skipUnless(os.getuid() == 0, "only root may have real-time scheduling")
    def test_real_time_scheduling_is_that_of_linux(self):
        deadline = 6  # SCHED_DEADLINE
        qvm = self.start("@bare.qvmconf", "cpu", "sched", "10", "cpu", "sched", "20f",
                         "cpu", "sched", "9,8,7,100000000,10000000s")
        self.read_until(qvm.stdout.fileno(), PROMPT)
        tasks = self.vcpus_of(qvm)
        got = [(os.sched_getscheduler(tasks[f"vcpu{i}"]) & ~os.SCHED_RESET_ON_FORK,
                os.sched_getparam(tasks[f"vcpu{i}"]).sched_priority) for i in range(3)]
        self.assertEqual(got, [(os.SCHED_RR, 10), (os.SCHED_FIFO, 20), (deadline, 0)])
        self.type_at(qvm, b"poweroff")
        self.assertEqual(qvm.wait(10), 0)

    def vcpus_of(self, process):
        folder = f"/proc/{process.pid}/task"
        found = {}
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/comm", encoding="ascii") as file:
                found[file.read().strip()] = int(task)
        return found

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
