#!/usr/bin/env python3
"""Programs of the host share memory with guests: the example of the library, and qvmctl."""

import grp
import os
import select
import shutil
import signal
import subprocess
import time

from qvmtest import BUILD, QvmdTest, Refused, main
from sharer import DETACH, FACTORY, FIND, NOTIFY, OK, PAGE, WINDOW, Sharer

ECHO = os.path.join(BUILD, "lib", "shmem-echo")
QVMCTL = os.path.join(BUILD, "cli", "qvmctl")
NOBODY = 65534
OPERATORS = "daemon"  # a group that every system has
REGION = 65536
SAID_BACK = WINDOW + PAGE + REGION // 2  # where the example puts its answers
HI = 0x006968  # "hi" with its end


class Program:
    """A program that says lines about a region."""

    def __init__(self, test, *words, user=()):
        self.test, self.said = test, ""
        self.process = subprocess.Popen([*user, *words], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT,
                                        env={**os.environ, "QVM_SOCKET": test.qvmd.socket})
        os.set_blocking(self.process.stdout.fileno(), False)
        test.addCleanup(self.end)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def hears(self, words, since=0, within=20):
        end = time.monotonic() + within
        while words not in self.said[since:]:
            left = end - time.monotonic()
            self.test.assertGreater(left, 0, f"never said {words!r}: {self.said}")
            select.select([self.process.stdout], [], [], left)
            more = self.process.stdout.read()
            self.test.assertNotEqual(more, b"", f"ended without {words!r}: {self.said}")
            self.said += (more or b"").decode()

    def ends(self, status=0):
        out, _ = self.process.communicate(timeout=60)
        self.said += out.decode()
        self.test.assertEqual(self.process.returncode, status, self.said)
        return self.said


class ProgramsTest(QvmdTest):
    def regions(self):
        return {one["name"]: one for one in self.qvmd.call("shmem.list")["regions"]}

    def clients(self, region):
        """Numbers, with the guest's name or the program's process."""
        return {one["client"]: one.get("guest", one.get("pid"))
                for one in self.regions().get(region, {}).get("clients", [])}

    def sharer(self, name, *words):
        """A guest that is attached to `ring`, and listens."""
        guest = Sharer(self, name, *words)
        self.assertEqual(guest.attach("ring", REGION // PAGE), (OK, WINDOW))
        guest.watch(WINDOW)
        return guest

    def echo(self, region="ring", *words):
        return Program(self, ECHO, region, *words)

    def assert_answers(self, guest, client):
        """The program reads what the guest wrote, and says it back."""
        guest.write(WINDOW + PAGE, HI)
        guest.write(SAID_BACK, 0)
        since = guest.said()
        guest.type(f"poke {WINDOW + NOTIFY:x} {1 << client:x}")
        guest.hears(0x10000 | 0x10000 << client | 1 << client, since=since)
        self.assertEqual(guest.read(SAID_BACK), 0x4948)


class ExchangeTest(ProgramsTest):
    def test_a_guest_and_a_program_exchange_data_and_hear_of_each_other_s_death(self):
        a = self.sharer("a", "create ring,64K")
        one = self.echo()
        one.hears(f"client 1 of {REGION} bytes")
        a.hears(0x30000)
        self.assertEqual(self.clients("ring"), {0: "a", 1: one.process.pid})
        self.assert_answers(a, 1)
        since = a.said()
        one.process.kill()
        a.hears(0x10000, since=since)
        self.assertEqual(self.clients("ring"), {0: "a"})
        two = self.echo()
        two.hears("client 1 of ")  # the number of the dead
        two.hears("attached 0x3")
        os.kill(a.info["pid"], signal.SIGKILL)
        self.assertIn("joined: signals 0 attached 0x2\nover\n", two.ends())

    def test_a_program_hears_a_guest_let_go_and_come_back(self):
        a = self.sharer("a", "create ring,64K")
        watcher = Program(self, QVMCTL, "shmem", "wait", "-f", "ring")
        watcher.hears("client 1 state joined signals - attached 0,1\n")
        a.write(WINDOW + DETACH, 1)
        watcher.hears("signals - attached 1\n")
        a.type(f"poke {FACTORY + FIND:x} 0")  # under the name that it wrote before
        watcher.hears("signals - attached 0,1\n", len(watcher.said))

    def test_a_region_of_programs_alone_lives_as_long_as_one_of_them(self):
        one = self.echo("own", "8192")
        one.hears("client 0 of 8192 bytes")
        two = self.echo("own", "4096")
        two.hears("client 1 of 8192 bytes")  # what it is, not what was asked for
        self.assertEqual(self.clients("own"), {0: one.process.pid, 1: two.process.pid})
        two.hears("attached 0x3")
        one.process.kill()
        self.assertIn("attached 0x2\nover\n", two.ends())
        self.eventually(lambda: self.regions() == {}, "it is still there")

    def test_the_slots_of_dead_programs_are_free_again(self):
        connections = [self.qvmd.client() for _ in range(16)]
        for client in connections:
            self.addCleanup(client.close)
        joined = [client.call("shmem.join", region="full", size=4096)["client"]
                  for client in connections]
        self.assertEqual(joined, list(range(16)))
        self.assertIn("region 'full' of shared memory has its 16 clients",
                      self.refused("too-many", "shmem.join", region="full"))
        connections[5].close()
        self.eventually(lambda: 5 not in self.clients("full"), "it is still attached")
        with self.qvmd.client() as again:
            self.assertEqual(again.call("shmem.join", region="full")["client"], 5)
            self.assertEqual(len(again.fds), 18)


    def test_who_does_not_take_what_was_sent_before_gets_no_descriptors_and_is_cut(self):
        client = self.qvmd.client()
        self.addCleanup(client.close)
        for _ in range(8):  # more than a socket takes
            client.request("rpc.discover")
        client.request("shmem.join", region="late", size=4096)
        hung_up = select.poll()
        hung_up.register(client.socket, 0)
        self.assertTrue(hung_up.poll(20000), "qvmd did not hang up")  # nothing is taken until then
        with self.assertRaises(EOFError):
            client.answer(client.last_id)
        self.assertEqual(client.fds, [])
        self.eventually(lambda: self.regions() == {}, "it is still there")


class RefusalTest(ProgramsTest):
    settings = (f"operator-group {OPERATORS}",)

    def test_what_cannot_be_joined_is_told_why(self):
        for error, words, params in (
                ("no-such-region", "there is no region 'x' of shared memory", {"region": "x"}),
                ("invalid-params", "letters, digits", {"region": "a/b", "size": 4096}),
                ("insufficient", "with 4095 bytes", {"region": "x", "size": 4095}),
                ("insufficient", "at most 68719476736", {"region": "x", "size": 1 << 37}),
                ("no-such-region", "join it anew", {"region": "x", "memory": 1, "size": 4096})):
            with self.subTest(**params):
                self.assertIn(words, self.refused(error, "shmem.join", **params))
        with self.qvmd.client() as client:
            client.call("shmem.join", region="one", size=4096)
            with self.assertRaises(Refused) as caught:
                client.call("shmem.join", region="two", size=4096)
            self.assertEqual(caught.exception.name, "wrong-state")
        self.eventually(lambda: self.regions() == {}, "it is still there")

    def test_a_stranger_gets_nothing_and_another_owner_is_told_whose_it_is(self):
        if os.geteuid() != 0:
            self.skipTest("only root can be others")
        self.sharer("a", "create ring,64K")
        qvmctl = shutil.copy(QVMCTL, self.qvmd.top)  # the tree may lie where only root may go
        for group, words in (
                (NOBODY, "the role 'operator'"),
                (grp.getgrnam(OPERATORS).gr_gid, "region 'ring' of shared memory belongs to user 'root'")):
            user = ("setpriv", "--reuid", str(NOBODY), "--regid", str(group), "--clear-groups")
            program = Program(self, qvmctl, "shmem", "wait", "ring", user=user)
            with self.subTest(group=group):
                self.assertIn(words, program.ends(5))
        own = Program(self, qvmctl, "shmem", "wait", "-f", "mine", "--create", "4K",
                      user=user)
        own.hears("client 0 ")
        self.assertEqual(self.regions()["mine"]["owner"], "nobody")
        admin = Program(self, QVMCTL, "shmem", "wait", "-f", "mine")  # an admin shares everybody's
        admin.hears("client 1 ")
        self.assertEqual(self.regions()["mine"]["owner"], "nobody")
        self.assertEqual(self.clients("ring"), {0: "a"})


class NewQvmdTest(ProgramsTest):
    def test_a_program_outlives_qvmd_as_guests_do(self):
        a = self.sharer("a", "create ring,64K")
        one = self.echo()
        a.hears(0x30000)
        self.assert_answers(a, 1)
        one.hears("signals 0x1 attached 0x3")
        before = len(one.said)
        self.qvmd.crash()
        one.hears("alone: ", before)
        self.qvmd.start()
        one.hears("joined: signals 0 attached 0x3", before)
        self.eventually(self.is_found("a"), "not adopted")
        self.assertEqual(self.clients("ring"), {0: "a", 1: one.process.pid})
        self.assertNotIn("attached 0x1\n", one.said[before:])  # nobody was gone meanwhile
        self.assert_answers(a, 1)
        two = self.echo()
        two.hears("client 2 of ")
        a.hears(0x70000)
        since = a.said()
        one.process.kill()
        a.hears(0x50000, since=since)

    def test_signals_go_on_while_there_is_no_qvmd(self):
        self.sharer("a", "create ring,64K")
        watcher = Program(self, QVMCTL, "shmem", "wait", "-f", "ring")
        watcher.hears("client 1 ")
        with self.qvmd.client() as client:
            client.call("console.attach", name="a")
            console = os.dup(client.fds[0])
        self.addCleanup(os.close, console)
        self.qvmd.crash()
        watcher.hears("state alone")
        os.write(console, f"poke {WINDOW + NOTIFY:x} 2\r".encode())
        watcher.hears("state alone signals 0 ")
        self.qvmd.start()
        watcher.hears("state joined")

    def test_a_region_without_guests_ends_with_its_qvmd_and_that_is_said(self):
        one = self.echo("own", "8192")
        one.hears("attached 0x1")
        self.qvmd.restart()
        self.assertIn("lost: signals 0 attached 0x1\nover\n", one.ends())
        self.assertEqual(self.regions(), {})

    def test_who_died_while_there_was_no_qvmd_is_gone_for_the_next(self):
        a = self.sharer("a", "create ring,64K")
        one = self.echo()
        a.hears(0x30000)
        since = a.said()
        self.qvmd.crash()
        one.process.kill()
        one.process.wait()
        self.qvmd.start()
        self.eventually(self.is_found("a"), "not adopted")
        a.hears(0x10000, since=since)
        self.eventually(lambda: self.clients("ring") == {0: "a"}, "not known")

    def test_an_orderly_end_of_qvmd_is_no_other(self):
        a = self.sharer("a", "create ring,64K")
        one = self.echo()
        a.hears(0x30000)
        one.hears("attached 0x3")
        before, since = len(one.said), a.said()
        self.qvmd.stop()
        one.hears("alone: signals 0 attached 0x3", before)
        self.qvmd.start()
        one.hears("joined: signals 0 attached 0x3", before)
        self.assertNotIn("news 0x10000", a.test.qvmd.console("a")[since:])
        self.assert_answers(a, 1)


class ScriptTest(ProgramsTest):
    def test_a_script_reads_writes_and_signals(self):
        a = self.sharer("a", "create ring,64K")
        self.assertEqual(self.ctl("shmem", "show", "ring").stdout.split(),
                         ["CLIENT", "GUEST", "PID", "0", "a", str(a.info["pid"])])
        a.write(WINDOW + PAGE + 4096, HI)
        self.assertEqual(self.ctl("shmem", "read", "ring", "4K", "2").stdout, "hi")
        done = subprocess.run([QVMCTL, "--socket", self.qvmd.socket, "shmem", "write", "ring", "8"],
                              input=b"\x78\x56\x34\x12", check=False, timeout=60)
        self.assertEqual((done.returncode, a.read(WINDOW + PAGE + 8)), (0, 0x12345678))
        since = a.said()
        self.assertEqual(self.ctl("shmem", "notify", "ring", "all").returncode, 0)
        a.hears(0x30002, 0x10002, since=since)  # it may be gone already
        waits = Program(self, QVMCTL, "shmem", "wait", "ring")
        waits.hears("client 1 state joined signals - attached 0,1\n")
        a.type(f"poke {WINDOW + NOTIFY:x} 2")
        self.assertIn("client 1 state joined signals 0 attached 0,1\n", waits.ends())
        self.assertIn(f"0:a,1:pid {self.another()}", self.ctl("shmem").stdout)

    def another(self):
        """One more client, by its process: its connection is ours."""
        client = self.qvmd.client()
        self.addCleanup(client.close)
        client.call("shmem.join", region="ring")
        return os.getpid()

    def test_what_a_script_does_wrong_is_said(self):
        client = self.qvmd.client()
        self.addCleanup(client.close)
        client.call("shmem.join", region="ring", size=4096)
        for status, words, command in (
                (3, "there is no region 'x'", ("show", "x")),
                (3, "there is no region 'x'", ("read", "x")),
                (2, "4097 is behind the end", ("read", "ring", "4097")),
                (2, "the region has 4000 bytes there", ("read", "ring", "96", "4001")),
                (2, "'16' is no client", ("notify", "ring", "16")),
                (7, "nothing was heard of region 'ring' within 0.05 s",
                 ("wait", "ring", "--timeout", "50ms")),
                (2, "which clients", ("notify", "ring")),
                (2, "shmem knows", ("juggle", "ring"))):
            with self.subTest(command=command):
                done = self.ctl("shmem", *command)
                self.assertIn(words, done.stderr)
                self.assertEqual(done.returncode, status, done.stderr)


if __name__ == "__main__":
    main()
