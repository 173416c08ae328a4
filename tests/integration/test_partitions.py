#!/usr/bin/env python3
"""How qvmd.conf divides the host: partitions, exclusive CPUs, clusters, real-time vCPUs."""

import json
import os
import signal
import subprocess
import threading
import unittest

from qvmtest import BUILD, QVMD, QvmdTest, Refused, bare, main

QVMCTL = os.path.join(BUILD, "cli", "qvmctl")

ONLINE = sorted(os.sched_getaffinity(0))
FIRST, LAST = ONLINE[0], ONLINE[-1]
REST = ",".join(str(cpu) for cpu in ONLINE[:-1])
SCHED_RESET_ON_FORK = 0x40000000


def threads(pid):
    """Names and numbers of a process's threads, but for the kernel's own."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as file:
            found.setdefault(file.read().strip(), []).append(int(tid))
    return {name: tids for name, tids in found.items() if not name.startswith("kvm-")}


def exclusive(name, **more):
    return bare(name, more=f"cpu partition rt runmask {LAST}\n", **more)


class PartitionsTest(QvmdTest):
    settings = (f"cluster own {LAST}", f"housekeeping {REST}",
                "memory-region frames 80000000 1M",
                "partition rt memory 48M exclusive own rt-priority 20 vcpus 3",
                "partition small memory 20M")

    @classmethod
    def setUpClass(cls):
        if len(ONLINE) < 2:
            cls.skipTest(cls, "two CPUs are needed")
        super().setUpClass()

    def tearDown(self):
        self.assert_invariants()

    def refusal(self, name, definition):
        with self.assertRaises(Refused) as caught:
            self.qvmd.call("guest.start", name=name, definition=definition)
        return caught.exception.message

    def start_exclusive(self, name, **more):
        return self.qvmd.call("guest.start", name=name,
                              definition=exclusive(name, **more))["guest"]

    # ---- CPUs ----

    def test_a_cpu_of_its_own_belongs_to_one_guest_until_that_is_gone(self):
        guest = self.start_exclusive("a")
        self.assertEqual(guest["cpus"], str(LAST))
        said = self.refusal("b", exclusive("b"))
        self.assertIn(f"b.qvmconf:5: CPU {LAST} is held by guest 'a' (pid {guest['pid']})", said)
        self.qvmd.call("guest.kill", name="a")
        self.assertEqual(self.start_exclusive("b")["cpus"], str(LAST))

    def test_vcpus_run_on_their_cpus_and_all_else_on_those_for_housekeeping(self):
        guest = self.start_exclusive("a")
        self.assert_console("a", "> ")
        others = {int(cpu) for cpu in ONLINE[:-1]}
        for name, tids in threads(guest["pid"]).items():
            for tid in tids:
                wanted = {LAST} if name == "vcpu0" else others
                self.assertEqual(os.sched_getaffinity(tid), wanted, name)
        shared = self.start("plain")
        for tids in threads(shared["pid"]).values():
            for tid in tids:
                self.assertEqual(os.sched_getaffinity(tid), others)
        self.assertEqual(os.sched_getaffinity(self.qvmd.process.pid), others)

    @unittest.skipIf(os.geteuid() != 0, "only root has the right, and uids for guests")
    def test_cpus_are_given_without_the_right_to_schedule_others_and_real_time_is_not(self):
        self.qvmd.stop()
        self.qvmd.runner = ("setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice")
        self.qvmd.start()
        more = f"cpu partition rt runmask {LAST} sched 20f\n"
        self.assertIn("lacks the right CAP_SYS_NICE", self.refusal("b", bare("b", more=more)))
        guest = self.start_exclusive("a")
        self.assert_console("a", "> ")
        self.assertEqual(os.sched_getaffinity(threads(guest["pid"])["vcpu0"][0]), {LAST})
        self.assertEqual(os.stat(f"/proc/{self.qvmd.process.pid}/io").st_uid, 0)

    def test_a_claim_survives_qvmd_and_its_crash(self):
        guest = self.start_exclusive("a")
        self.qvmd.restart()
        self.qvmd.wait("a", "running")
        self.assertEqual(self.qvmd.guest("a")["cpus"], str(LAST))
        self.assertIn(f"(pid {guest['pid']})", self.refusal("b", exclusive("b")))

    def test_of_starts_at_once_one_gets_the_cpu(self):
        names = [f"g{i}" for i in range(6)]
        for attempt in range(3):
            won, lost = [], []

            def start(name, won=won, lost=lost):
                try:
                    self.qvmd.call("guest.start", name=name, definition=exclusive(name))
                    won.append(name)
                except Refused as refused:
                    lost.append(refused.message)
                except (EOFError, OSError):
                    pass  # qvmd was killed

            starters = [threading.Thread(target=start, args=(name,)) for name in names]
            for one in starters:
                one.start()
            if attempt == 1:
                self.qvmd.restart()
            for one in starters:
                one.join()
            holders = self.qvmd.rows("SELECT instance FROM claim WHERE kind = 'hostcpu'")
            self.assertLessEqual(len(holders), 1)
            if attempt != 1:
                self.assertEqual(len(won), 1, lost)
                for message in lost:
                    self.assertIn(f"CPU {LAST} is held by guest '{won[0]}'", message)
            for name, guest in self.qvmd.guests().items():
                if guest["state"] not in ("stopped", "failed", "defined"):
                    self.qvmd.call("guest.kill", name=name)
                self.qvmd.call("guest.undefine", name=name)

    def test_cpus_of_others_are_refused_by_their_names(self):
        said = self.refusal("b", bare("b", more=f"cpu runmask {LAST}\n"))
        self.assertIn(f"b.qvmconf:5: CPU {LAST} belongs to partition 'rt' (qvmd.conf:6)", said)
        said = self.refusal("b", bare("b", more=f"cpu partition rt runmask {FIRST}\n"))
        self.assertIn(f"there is no CPU {FIRST} for partition 'rt', which has {LAST}", said)
        said = self.refusal("b", bare("b", more="cpu partition rt\n"))
        self.assertIn("partition 'rt' has no CPUs that are shared", said)
        said = self.refusal("b", bare("b", more="cpu cluster owm\n"))
        self.assertIn("b.qvmconf:5: there is no cluster 'owm'; did you mean 'own'?", said)
        said = self.refusal("b", bare("b", more="cpu partition rd\n"))
        self.assertIn("b.qvmconf:5: there is no partition 'rd' on this host; there are: host rt "
                      "small", said)
        said = self.refusal("b", bare("b", more="cpu partition rt cpu partition small\n"))
        self.assertIn("the VM is in partition 'rt' (b.qvmconf:5), and can be in one", said)

    # ---- memory ----

    def test_a_partition_has_so_much_memory_and_no_more(self):
        small = "cpu partition small\n"
        self.qvmd.call("guest.start", name="a", definition=bare("a", ram="16M", more=small))
        said = self.refusal("b", bare("b", ram="5M", more=small))
        self.assertIn("b.qvmconf:2: partition 'small': 1 MiB of memory are missing", said)
        self.assertIn("guest 'a' (pid ", said)
        self.qvmd.call("guest.start", name="c", definition=bare("c", ram="4M", more=small))
        self.start("d")  # the default has its own

    def test_regions_have_the_names_that_qvmd_conf_gives(self):
        ram = "ram 0,16M\nram $asinfo_start{frames},$asinfo_length{frames}\n"
        text = bare("a")
        text["sources"][0]["text"] = text["sources"][0]["text"].replace("ram 16M\n", ram)
        guest = self.qvmd.call("guest.start", name="a", definition=text)["guest"]
        self.assertEqual(guest["memory"], 17 << 20)
        text["sources"][0]["text"] = text["sources"][0]["text"].replace("frames", "nowhere")
        text["sources"][0]["text"] = text["sources"][0]["text"].replace("system a", "system b")
        said = self.refusal("b", text)
        self.assertIn("'memory-region' of qvmd.conf names them", said)

    # ---- real time ----

    def test_real_time_is_given_as_far_as_the_partition_goes(self):
        said = self.refusal("a", bare("a", more="cpu sched 10f\n"))
        self.assertIn("a.qvmconf:5: real-time priority 10 is too high for partition 'host': its "
                      "'rt-priority' in qvmd.conf is 0", said)
        more = f"cpu partition rt runmask {LAST} sched 21f\n"
        self.assertIn("priority 21 is too high", self.refusal("a", bare("a", more=more)))
        more = (f"cpu partition rt runmask {LAST} sched 20f\n"
                f"cpu partition rt runmask {LAST} sched 3r\ncpu partition rt runmask {LAST}\n")
        if os.geteuid() != 0:
            self.assertIn("CAP_SYS_NICE", self.refusal("a", bare("a", more=more)))
            return
        guest = self.qvmd.call("guest.start", name="a", definition=bare("a", more=more))["guest"]
        found = threads(guest["pid"])
        policies = [os.sched_getscheduler(found[f"vcpu{i}"][0]) & ~SCHED_RESET_ON_FORK
                    for i in range(3)]
        self.assertEqual(policies, [os.SCHED_FIFO, os.SCHED_RR, os.SCHED_OTHER])
        self.assertEqual(os.sched_getparam(found["vcpu0"][0]).sched_priority, 20)
        self.assertEqual(os.sched_getscheduler(guest["pid"]), os.SCHED_OTHER)
        self.assert_console("a", "> ")


class BudgetTest(QvmdTest):
    settings = ("partition host deadline yes",)

    def test_a_budget_of_cpu_time_is_the_kernel_s(self):
        more = "cpu sched 30,10,8,10000000,2000000s\n"
        if os.geteuid() != 0:
            self.refused("denied", "guest.start", name="a", definition=bare("a", more=more))
            return
        guest = self.qvmd.call("guest.start", name="a", definition=bare("a", more=more))["guest"]
        tid = threads(guest["pid"])["vcpu0"][0]
        self.assertEqual(os.sched_getscheduler(tid) & ~SCHED_RESET_ON_FORK, 6)
        self.assert_console("a", "> ")


class ReloadTest(QvmdTest):
    divided = (f"housekeeping {REST}", f"partition rt memory 48M exclusive {LAST}")
    settings = divided

    @classmethod
    def setUpClass(cls):
        if len(ONLINE) < 2:
            cls.skipTest(cls, "two CPUs are needed")
        super().setUpClass()

    def tearDown(self):
        self.assert_invariants()

    def write(self, *settings):
        with open(self.qvmd.config, encoding="utf-8") as file:
            first = file.readline()
        with open(self.qvmd.config, "w", encoding="utf-8") as file:
            file.write(first + "\n".join(settings) + "\n")

    def reload(self, *settings):
        self.write(*settings)
        return self.qvmd.call("host.reload")

    def refused_reload(self, *settings):
        with self.assertRaises(Refused) as caught:
            self.reload(*settings)
        return caught.exception.message

    def partitions(self):
        return {one["name"]: one for one in self.qvmd.call("host.partitions")["partitions"]}

    def test_what_no_guest_needs_may_change(self):
        pid = self.start("a")["pid"]
        self.reload(*self.divided, "partition more memory 8M")
        self.assertEqual(self.partitions()["more"]["memory"], 8 << 20)
        self.qvmd.call("guest.start", name="b",
                       definition=bare("b", ram="8M", more="cpu partition more\n"))
        self.assertIn("guest 'b' (pid ", self.refused_reload(*self.divided))
        self.assertIn("is in partition 'more', which would be gone",
                      self.refused_reload(*self.divided))
        self.assertIn("partition 'more' would have 4 MiB of memory, and its guests have 8 MiB",
                      self.refused_reload(*self.divided, "partition more memory 4M"))
        self.assertIn("more", self.partitions())  # nothing was changed
        self.assertEqual(self.qvmd.guest("a")["pid"], pid)

    def test_a_guest_keeps_its_cpu(self):
        guest = self.qvmd.call("guest.start", name="a", definition=exclusive("a"))["guest"]
        said = self.refused_reload(f"housekeeping {REST}",
                                   f"partition rt memory 48M shared {LAST}")
        self.assertIn(f"guest 'a' (pid {guest['pid']}) has CPU {LAST} for itself, which would not "
                      "be of partition 'rt'", said)
        self.reload(*self.divided)

    def test_a_cpu_on_which_a_guest_runs_is_given_to_nobody_alone(self):
        self.reload("guests 7")
        guest = self.start("a")
        self.assertIn(f"guest 'a' (pid {guest['pid']}) may run on CPU {LAST}, which would not be "
                      "for it", self.refused_reload(*self.divided))
        self.qvmd.call("guest.kill", name="a")
        self.reload(*self.divided)
        self.assertEqual(self.partitions()["rt"]["exclusive"], str(LAST))

    def test_what_wants_a_restart_is_told_and_mistakes_change_nothing(self):
        note = self.reload(*self.divided, "hands 3", "guests 1")["note"]
        self.assertEqual(note, "these want a restart of qvmd: hands")
        self.start("a")
        self.refused("too-many", "guest.define", name="b", definition=bare("b"))
        said = self.refused_reload(*self.divided, "partition rt", "exclusive 1000")
        self.assertIn("qvmd.conf:5: CPU 1000 is not there", said)
        self.refused("too-many", "guest.define", name="b", definition=bare("b"))

    def test_a_signal_does_the_same_and_ends_nobody(self):
        self.write(*self.divided, "partition more memory 8M")
        self.qvmd.process.send_signal(signal.SIGHUP)
        self.eventually(lambda: "more" in self.partitions(), "SIGHUP changes nothing")
        for round_ in range(20):  # nothing is kept of those before
            self.reload(*self.divided, f"partition more{round_} memory 8M")
        self.assertEqual(sorted(self.partitions()), ["host", "more19", "rt"])

    def test_who_has_what_is_told(self):
        guest = self.qvmd.call("guest.start", name="a", definition=exclusive("a"))["guest"]
        self.start("b")
        told = self.qvmd.call("host.partitions")
        own = {"cpu": LAST, "use": "exclusive", "partition": "rt", "guest": "a",
               "pid": guest["pid"]}
        self.assertTrue(any(own.items() <= cpu.items() for cpu in told["cpus"]), told["cpus"])
        self.assertIn({"partition": "rt", "guest": "a", "pid": guest["pid"], "memory": 16 << 20},
                      told["shares"])
        self.assertEqual(self.partitions()["rt"]["memory_claimed"], 16 << 20)
        for words, expected in ((["partition", "list"], ["rt", "32MiB/48MiB"]), (["cpus"], ["a"]),
                                (["memory"], ["a", "16MiB", "(left)", "(host's"])):
            said = subprocess.run([QVMCTL, "--socket", self.qvmd.socket, *words], text=True,
                                  capture_output=True, timeout=60, check=True).stdout
            for word in expected:
                self.assertIn(word, said.split())
            said = subprocess.run([QVMCTL, "--socket", self.qvmd.socket, "-o", "json", *words],
                                  text=True, capture_output=True, timeout=60, check=True).stdout
            self.assertEqual(json.loads(said), told)
        subprocess.run([QVMCTL, "--socket", self.qvmd.socket, "reload"], timeout=60, check=True)

    def test_a_configuration_is_checked_without_being_used(self):
        def check():
            return subprocess.run([QVMD, "--check", "--config", self.qvmd.config],
                                  capture_output=True, text=True, timeout=60, check=False)

        self.assertEqual(check().returncode, 0, check().stderr)
        self.write("partition a", "partition b memory 1048576G")
        self.assertEqual(check().returncode, 2)
        self.assertIn("qvmd.conf:3: partition 'b' wants ", check().stderr)


if __name__ == "__main__":
    main()
