#!/usr/bin/env python3
"""Completion in the real shells, of real command lines, with names from a real qvmd: what is typed
stands on a terminal, and what became of it is read back from the shell."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from private_qvmd import BUILD, GUESTS, QVMCTL, PrivateQvmd  # noqa: E402

SCRIPTS = os.path.join(BUILD, "cli", "completion")
SKIPPED = 77  # for ctest
READ_BACK = b"\x18w"  # Ctrl-X w: bound to a function that writes the line to a file
CLEAR = b"\x15"

BASH_RC = f"""PS1='READY> '
bind 'set enable-bracketed-paste off'
bind 'set show-all-if-ambiguous on'
bind 'set completion-query-items 0'
bind 'set page-completions off'
source {SCRIPTS}/qvmctl
read_back() {{ printf '%s' "$READLINE_LINE" > out.new; mv out.new out; }}
bind -x '"\\C-xw": read_back'
"""

ZSH_RC = f"""PS1='READY> '
fpath=({SCRIPTS} $fpath)
autoload -U compinit
compinit -u -D
unset zle_bracketed_paste
LISTMAX=1000
setopt no_always_last_prompt auto_list no_list_ambiguous
read_back() {{ print -rn -- "$BUFFER" > out.new; mv out.new out }}
zle -N read_back
bindkey -e
bindkey '^Xw' read_back
"""


# What web-1 has that can be named on a command line.
PORTS = {"web-1": "vdev virtio-console name con loc mem:feb00000,512 intr ioapic:16 port agent "
                  "port shell\nvdev virtio-blk name disk loc mem:feb01000,512 intr ioapic:17 "
                  "hostdev disk.img\n"}


class Shell:
    """An interactive shell on a terminal of 80 columns."""

    def __init__(self, argv, directory, environment):
        self.out = os.path.join(directory, "out")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe(argv[0], argv, environment)
        self.read_until(b"READY> ")

    def read_until(self, wanted):
        data, end = b"", time.monotonic() + 20
        while wanted not in data:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"no {wanted!r} in {data!r}")
            data += os.read(self.fd, 65536)
        return data

    def complete(self, line):
        """Type the line and the tabulator; returns what the line became, and the screen."""
        if os.path.exists(self.out):
            os.unlink(self.out)
        os.write(self.fd, line.encode() + b"\t" + READ_BACK)
        screen, end = b"", time.monotonic() + 20
        while not os.path.exists(self.out):
            if select.select([self.fd], [], [], 0.05)[0]:
                screen += os.read(self.fd, 65536)
            if time.monotonic() > end:
                raise AssertionError(f"{line!r}: no answer: {screen!r}")
        while select.select([self.fd], [], [], 0)[0]:  # what was said before, and not read yet
            screen += os.read(self.fd, 65536)
        os.write(self.fd, CLEAR)
        with open(self.out, encoding="utf-8") as file:
            return file.read(), screen.decode(errors="replace")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)  # our child
        os.waitpid(self.pid, 0)
        os.close(self.fd)


class ShellTest:
    """What each of the shells must do; `complete` returns the completed line, and all candidates
    that were shown if there are several."""

    @classmethod
    def setUpClass(cls):
        cls.qvmd = PrivateQvmd()
        cls.qvmd.put("disk.img", "\0" * (1 << 20))
        for name in ("web-1", "web.a_b-c", "Z", "longest" + "x" * 56):
            cls.qvmd.put(name + ".qvmconf", f"system {name}\nram 16M\n"
                                            f"load {GUESTS}/guest.bzimage\n"
                                            "vdev ser8250 hostdev -\n" + PORTS.get(name, ""))
            done = cls.qvmd.ctl("define", name + ".qvmconf")
            assert done.returncode == 0, done.stderr
        assert cls.qvmd.ctl("start", "web-1", "--timeout", "20").returncode == 0

    @classmethod
    def tearDownClass(cls):
        cls.qvmd.close()

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="qvm-shell-")
        self.addCleanup(holder.cleanup)
        self.directory = holder.name
        for name in ("my guest.qvmconf", "other.txt"):
            with open(os.path.join(self.directory, name), "w", encoding="utf-8"):
                pass
        self.socket = self.qvmd.socket
        self.open()

    def environment(self):
        return {"PATH": os.path.dirname(QVMCTL) + ":" + os.environ["PATH"], "TERM": "xterm",
                "HOME": self.directory, "ZDOTDIR": self.directory, "QVM_SOCKET": self.socket,
                "LANG": "C.UTF-8", "COLUMNS": "80"}

    # Who completes waits half a second for the daemon and then offers what is known without it: on a
    # busy machine one has to press the tabulator again.
    TRIES = 10

    def expect_one(self, line, completed):
        for _ in range(self.TRIES):
            found = self.complete(line)[0].rstrip()
            if found == completed:
                return
        self.assertEqual(found, completed)

    def expect_several(self, line, *wanted, without=()):
        for _ in range(self.TRIES):
            screen = self.complete(line)[1]
            if all(word in screen for word in wanted):
                break
        for word in wanted:
            self.assertIn(word, screen)
        for word in without:
            self.assertNotIn(word, screen)

    def test_commands_and_options_come_from_the_table(self):
        self.expect_one("qvmctl undef", "qvmctl undefine")
        self.expect_one("qvmctl --no-h", "qvmctl --no-headers")
        self.expect_one("qvmctl -q lis", "qvmctl -q list")
        self.expect_one("qvmctl stop --ki", "qvmctl stop --kill")
        self.expect_one("qvmctl list --kil", "qvmctl list --kil")
        self.expect_one("qvmctl stop --al", "qvmctl stop --all")
        self.expect_several("qvmctl st", "start", "stop")

    def test_values_of_options_and_arguments_that_are_no_guests(self):
        self.expect_one("qvmctl -o jsonl list --output ta", "qvmctl -o jsonl list --output table")
        self.expect_one("qvmctl list --output=na", "qvmctl list --output=name")
        self.expect_one("qvmctl info -o na", "qvmctl info -o na")
        self.expect_one("qvmctl wait web-1 unr", "qvmctl wait web-1 unreachable")
        self.expect_one("qvmctl call console.att", "qvmctl call console.attach")
        self.expect_one("qvmctl help undef", "qvmctl help undefine")
        self.expect_one("qvmctl completion fi", "qvmctl completion fish")

    def test_names_come_from_the_daemon_if_the_command_can_use_them(self):
        self.expect_several("qvmctl show w", "web-1", "web.a_b-c", without=["longest"])
        self.expect_one("qvmctl stop w", "qvmctl stop web-1")
        self.expect_one("qvmctl start web", "qvmctl start web.a_b-c")
        self.expect_one("qvmctl show web-", "qvmctl show web-1")
        self.expect_one("qvmctl show web.", "qvmctl show web.a_b-c")
        self.expect_one("qvmctl show web-1 web", "qvmctl show web-1 web.a_b-c")
        self.expect_one("qvmctl show l", "qvmctl show longest" + "x" * 56)
        self.expect_one("qvmctl stop --all w", "qvmctl stop --all w")

    def test_ports_and_vdevs_are_those_of_the_guest(self):
        self.expect_one("qvmctl console web-1:sh", "qvmctl console web-1:shell")
        self.expect_one("qvmctl console web-", "qvmctl console web-1")
        self.expect_several("qvmctl console web-1:", "agent", "shell", without=["longest", "sessions"])
        self.expect_one("qvmctl sendkey w", "qvmctl sendkey web-1")  # which alone runs
        self.expect_one("qvmctl resize web-1 d", "qvmctl resize web-1 disk")
        self.expect_one("qvmctl resize web-1 c", "qvmctl resize web-1 c")  # no disk

    def test_settings_and_their_values(self):
        self.expect_one("qvmctl set web-1 on-re", "qvmctl set web-1 on-reboot=")
        self.expect_one("qvmctl set web-1 restart=al", "qvmctl set web-1 restart=always")
        self.expect_one("qvmctl set web-1 enabled=y", "qvmctl set web-1 enabled=yes")
        self.expect_one("qvmctl set web-1 delay=w", "qvmctl set web-1 delay=w")  # no guest

    def test_words_that_stand_there_as_they_are(self):
        self.expect_one("qvmctl device cl", "qvmctl device clear")
        self.expect_one("qvmctl shmem wr", "qvmctl shmem write")
        self.expect_one("qvmctl shmem list wr", "qvmctl shmem list wr")
        self.expect_one("qvmctl partition l", "qvmctl partition list")
        self.expect_one("qvmctl events --what helper-a", "qvmctl events --what helper-again")
        self.expect_one("qvmctl top -s mem", "qvmctl top -s memory")
        self.expect_one("qvmctl console -e re", "qvmctl console -e re")  # no key of a keyboard

    def test_files_are_quoted_as_the_shell_does(self):
        self.expect_one("qvmctl define my", "qvmctl define my\\ guest.qvmconf")
        self.expect_one("qvmctl check --qvm oth", "qvmctl check --qvm other.txt")
        self.expect_one("qvmctl start oth", "qvmctl start other.txt")
        self.expect_one("qvmctl --socket oth", "qvmctl --socket other.txt")

    def test_without_a_daemon_there_is_silence(self):
        self.close()
        self.socket = "/none/qvmd.sock"
        self.open()
        line, screen = self.complete("qvmctl stop w")
        self.assertEqual(line.rstrip(), "qvmctl stop w")
        self.assertNotIn("qvmctl:", screen)
        self.expect_one("qvmctl undef", "qvmctl undefine")
        self.expect_one(f"qvmctl --socket {self.qvmd.socket} stop w",
                        f"qvmctl --socket {self.qvmd.socket} stop web-1")


class InteractiveTest(ShellTest):
    def open(self):
        with open(os.path.join(self.directory, self.RC), "w", encoding="utf-8") as file:
            file.write(self.TEXT)
        self.shell = Shell(self.ARGV, self.directory, self.environment())
        self.addCleanup(self.close)

    def close(self):
        if self.shell is not None:
            self.shell.close()
            self.shell = None

    def complete(self, line):
        return self.shell.complete(line)


@unittest.skipIf(shutil.which("bash") is None, "bash is missing")
class BashTest(InteractiveTest, unittest.TestCase):
    RC, TEXT, ARGV = "rc", BASH_RC, ["bash", "--noprofile", "--rcfile", "rc", "-i"]

    def test_in_quotes(self):
        self.expect_one("qvmctl stop 'w", "qvmctl stop 'web-1'")

    def test_the_script_is_clean(self):
        if shutil.which("shellcheck") is None:
            self.skipTest("shellcheck is missing")
        done = subprocess.run(["shellcheck", "-s", "bash", os.path.join(SCRIPTS, "qvmctl")],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.stdout, "")

    def test_bash_completion_loads_it_by_itself(self):
        loader = "/usr/share/bash-completion/bash_completion"
        if not os.path.exists(loader):
            self.skipTest("bash-completion is missing")
        place = os.path.join(self.directory, "bash-completion", "completions")
        os.makedirs(place)
        shutil.copy(os.path.join(SCRIPTS, "qvmctl"), place)
        with open(os.path.join(self.directory, "rc"), "w", encoding="utf-8") as file:
            file.write(BASH_RC.replace(f"source {SCRIPTS}/qvmctl", f"source {loader}"))
        shell = Shell(self.ARGV, self.directory,
                      {**self.environment(), "BASH_COMPLETION_USER_DIR":
                       os.path.join(self.directory, "bash-completion")})
        self.addCleanup(shell.close)
        self.complete = shell.complete
        self.expect_one("qvmctl stop w", "qvmctl stop web-1")


@unittest.skipIf(shutil.which("zsh") is None, "zsh is missing")
class ZshTest(InteractiveTest, unittest.TestCase):
    RC, TEXT, ARGV = ".zshrc", ZSH_RC, ["zsh", "-d", "-i"]

    def test_candidates_are_shown_with_what_they_mean(self):
        self.expect_several("qvmctl st", "start guests of files", "press the power button")
        self.expect_several("qvmctl show w", "running", "defined")


@unittest.skipIf(shutil.which("fish") is None, "fish is missing")
class FishTest(ShellTest, unittest.TestCase):
    """fish answers by itself what it would offer: `complete -C`."""

    def open(self):
        pass

    def close(self):
        pass

    def complete(self, line):
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {SCRIPTS}/qvmctl.fish; complete -C $argv[1]",
             line], cwd=self.directory, env=self.environment(), capture_output=True, text=True,
            timeout=30, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        # fish matches anywhere in a word, too; what begins so comes first, and alone if there is
        words = [row.split("\t")[0] for row in done.stdout.splitlines()]
        last = line.rsplit(" ", 1)[1]
        begins = [word for word in words if word.startswith(last)]
        if len(begins) != 1:
            return line, done.stdout
        return line[:len(line) - len(last)] + begins[0].replace(" ", "\\ "), done.stdout

    def test_candidates_are_shown_with_what_they_mean(self):
        self.expect_several("qvmctl st", "start\tstart guests of files", "stop\tpress the power")


class CompletionTest(unittest.TestCase):
    def test_the_command_prints_what_is_installed(self):
        for shell, name in (("bash", "qvmctl"), ("zsh", "_qvmctl"), ("fish", "qvmctl.fish")):
            done = subprocess.run([QVMCTL, "completion", shell], capture_output=True, check=False)
            with open(os.path.join(SCRIPTS, name), "rb") as file:
                self.assertEqual((done.returncode, done.stdout), (0, file.read()))

    def test_a_shell_that_it_does_not_know_is_wrong_usage(self):
        for words in ([], ["tcsh"], ["bash", "zsh"]):
            self.assertEqual(subprocess.run([QVMCTL, "completion", *words], capture_output=True,
                                            check=False).returncode, 2)


if __name__ == "__main__":
    missing = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell) is None]
    if missing:
        print(f"SKIPPED: {', '.join(missing)} missing (tests/setup integration installs them)")
        sys.exit(SKIPPED)
    unittest.main()
