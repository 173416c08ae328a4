#!/usr/bin/python3
"""What partitions promise, read back from the kernel, on a host with four CPUs, two memory nodes and
huge pages. In the lab."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../integration"))

from qvmtest import QVMD, QvmdTest, bare, main  # noqa: E402

MIB = 1 << 20
PAGE = 2 * MIB
PAGES = 16  # huge ones of node 1
HUGE = "/sys/devices/system/node/node1/hugepages/hugepages-2048kB"
HOLDER = "/sys/fs/cgroup/qvm-partition"
LOOKS = 20  # at where a thread that spins has just run


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read().strip()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def number(*path):
    return int(read(*path))


def own_groups():
    """Of a process: its groups' directory."""
    return [entry.path for entry in os.scandir(HOLDER) if entry.is_dir() and "." in entry.name]


def threads(pid):
    """Names, allowed CPUs and the last one of a process's threads, but for the kernel's own."""
    for tid in os.listdir(f"/proc/{pid}/task"):
        name = read(f"/proc/{pid}/task/{tid}/comm")
        if not name.startswith("kvm-"):
            status = dict(line.split(":\t", 1) for line in
                          read(f"/proc/{pid}/task/{tid}/status").splitlines() if ":\t" in line)
            last = read(f"/proc/{pid}/task/{tid}/stat").rsplit(")", 1)[1].split()[36]
            yield name, status["Cpus_allowed_list"], int(last)


def ram_pages(pid):
    """Of the guest's RAM: how many pages lie on which node, and their size in KiB."""
    line = next(line for line in read(f"/proc/{pid}/numa_maps").splitlines()
                if "memfd:guest-ram" in line)
    words = dict(word.split("=") for word in line.split() if "=" in word)
    return ({int(key[1:]): int(value) for key, value in words.items() if key[0] == "N"},
            int(words["kernelpagesize_kB"]))


class PartitionTest(QvmdTest):
    settings = (f"cgroup {HOLDER}", "spares 0",
                "partition fast exclusive 2-3 memory 64M weight 200",
                "partition near node 1 memory 64M",
                f"partition huge page-size 2M node 1 memory {PAGES * 2}M",
                "partition full memory 32M vcpus 3")

    @classmethod
    def setUpClass(cls):
        write(f"{HUGE}/nr_hugepages", str(PAGES))
        if number(HUGE, "nr_hugepages") != PAGES:
            raise RuntimeError("this host has no memory for huge pages")

    def tearDown(self):
        self.assert_invariants()
        write(f"{HUGE}/nr_hugepages", str(PAGES))

    def start_in(self, partition, name, ram="16M", words="", **more):
        return self.start(name, ram=ram, more=f"cpu partition {partition} {words}\n", **more)

    def refusal(self, partition, name, ram, words="", error="insufficient"):
        return self.refused(error, "guest.start", name=name, definition=bare(
            name, ram=ram, more=f"cpu partition {partition} {words}\n"))

    def group(self, guest):
        path = next(line for line in read(f"/proc/{guest['pid']}/cgroup").splitlines()
                    if line.startswith("0::"))
        return os.path.join(HOLDER, path.split("/")[-1])

    def free_pages(self):
        return number(HUGE, "free_hugepages"), number("/sys/kernel/mm/hugepages/hugepages-2048kB",
                                                      "resv_hugepages")

    def test_a_balloon_has_no_place_in_huge_pages(self):
        self.assertIn("b.qvmconf:6: a balloon gives pages of 4 KiB back to the host, and the memory "
                      "of partition 'huge' is in huge pages",
                      self.refusal("huge", "b", "16M", "\nvdev virtio-balloon", "config-error"))

    # ---- CPUs ----

    def test_an_exclusive_cpu_is_one_guest_s_alone(self):
        own = self.start_in("fast", "own", words="runmask 3")
        other = self.start("other")
        self.assertIn(f"own2.qvmconf:5: CPU 3 is held by guest 'own' (pid {own['pid']})",
                      self.refusal("fast", "own2", "16M", "runmask 2,3", error="busy"))
        self.assertEqual(self.qvmd.rows("SELECT resource FROM claim WHERE kind = 'hostcpu'"),
                         [("cpu3",)])  # nothing of what was refused
        self.assertEqual(read(self.group(own), "cpuset.cpus.effective"), "0-1,3")
        self.assertEqual(read(self.group(other), "cpuset.cpus.effective"), "0-1")
        for guest, cpus in ((own, "3"), (other, "0-1")):
            for name, allowed, _ in threads(guest["pid"]):
                self.assertEqual(allowed, cpus if name == "vcpu0" else "0-1", name)
        self.assertEqual({allowed for _, allowed, _ in threads(self.qvmd.process.pid)}, {"0-1"})
        for name in ("own", "other"):
            self.assert_console(name, "> ", within=60)
            self.qvmd.type(name, "mem\r")  # busy for a while
        for _ in range(LOOKS):
            self.assertEqual({last for name, _, last in threads(own["pid"]) if name == "vcpu0"},
                             {3})
            self.assertLessEqual({last for _, _, last in threads(other["pid"])}, {0, 1})
            time.sleep(0.02)

    def test_weight_and_numbers_of_processes_are_the_partition_s(self):
        fast = self.start_in("fast", "fast", words="runmask 2\ncpu partition fast runmask 2")
        plain = self.start("plain")
        self.assertEqual(number(self.group(fast), "cpu.weight"), 2 * 200)
        self.assertEqual(number(self.group(plain), "cpu.weight"), 100)
        self.assertEqual(number(self.group(fast), "pids.max"), 64 + 2)

    # ---- memory ----

    def test_ram_of_a_node_lies_there_before_the_guest_runs(self):
        guest = self.start_in("near", "a")
        self.assertEqual(read(self.group(guest), "cpuset.mems"), "1")
        pages, size = ram_pages(guest["pid"])
        self.assertEqual(list(pages), [1])
        self.assertGreaterEqual(pages[1] * size, 16 * 1024 - 128 - 384)  # but for a PC's hole

    def test_a_node_gives_no_more_than_it_has(self):
        check = subprocess.run([QVMD, "--check", "--config", "/dev/stdin"], text=True,
                               input="partition much node 1 memory 2G\n", capture_output=True,
                               timeout=60, check=False)
        self.assertEqual(check.returncode, 2)
        self.assertRegex(check.stderr, r":1: partition 'much' wants 2048 MiB, and guests may have "
                                       r"(\d{3,4}) MiB of node 1, of which \1 are left")
        self.assertIn("a.qvmconf:2: partition 'near': 36 MiB of memory are missing: 100 MiB are "
                      "asked for, 64 MiB of 64 MiB are free", self.refusal("near", "a", "100M"))

    def test_memory_that_is_exactly_full_refuses_the_last_guest(self):
        first, second = self.start_in("full", "a"), self.start_in("full", "b")
        said = self.refusal("full", "c", "1M")
        self.assertIn("c.qvmconf:2: partition 'full': 1 MiB of memory are missing: 1 MiB are asked "
                      "for, 0 bytes of 32 MiB are free; guest 'a' (pid ", said)
        self.eventually(lambda: len(own_groups()) == 2, own_groups)  # a hand takes its VM apart
        self.qvmd.call("guest.kill", name="b")
        self.start_in("full", "c", ram="15M")
        self.assertEqual(self.qvmd.guest("a")["pid"], first["pid"])
        self.assertNotEqual(first["pid"], second["pid"])

    def test_huge_pages_are_counted_bound_and_given_back(self):
        self.assertEqual(self.free_pages(), (PAGES, 0))
        guest = self.start_in("huge", "a")
        self.assertEqual(ram_pages(guest["pid"]), ({1: 8}, 2048))
        self.assertLess(number(self.group(guest), "memory.max"), 48 * MIB)  # these are not of it
        self.assertEqual(self.free_pages(), (PAGES - 8, 0))
        self.assert_console("a", "> ", within=60)
        os.kill(guest["pid"], 9)
        self.eventually(lambda: self.free_pages() == (PAGES, 0), "pages are lost")
        if "hugetlb" not in read("/sys/fs/cgroup/cgroup.controllers").split():  # as in Debian's 6.1
            self.assertEqual(self.qvmd.call("host.info")["not_enforced"],
                             ["the limit of huge pages of each instance: the control group "
                              f"'{HOLDER}' has no controller 'hugetlb'"])

    def test_huge_pages_short_by_one_are_refused_and_none_stays_reserved(self):
        self.start_in("huge", "a")
        write(f"{HUGE}/nr_hugepages", str(PAGES - 1))
        self.assertEqual(self.free_pages(), (7, 0))
        said = self.refusal("huge", "b", "16M")
        self.assertIn("b.qvmconf:2: partition 'huge': 1 page of 2 MiB is missing on node 1: 8 are "
                      "asked for, and 7 of the host's are free", said)
        self.assertEqual(self.free_pages(), (7, 0))
        self.assertEqual(self.qvmd.rows("SELECT amount FROM claim WHERE kind = 'memory'"),
                         [(16 * MIB,)])
        self.start_in("huge", "c", ram="14M")
        self.assertEqual(self.free_pages(), (0, 0))
        self.assertIn("partition 'huge': ", self.refusal("huge", "b", "16M"))

    def test_a_reload_does_not_move_the_ram_of_a_guest(self):
        guest = self.start_in("near", "a")
        config = read(self.qvmd.config)
        write(self.qvmd.config, config.replace("near node 1", "near node 0") + "\n")
        self.assertIn(f"guest 'a' (pid {guest['pid']}) is in partition 'near', whose 'node' would "
                      "be another; stop it first", self.refused("busy", "host.reload"))
        write(self.qvmd.config, config + "\n")
        self.qvmd.call("host.reload")


class GiantTest(QvmdTest):
    """A page of 1 GiB, of node 1, put aside at the host's boot (tests/lab/run --giants 1)."""

    free = "/sys/devices/system/node/node1/hugepages/hugepages-1048576kB/free_hugepages"
    settings = (f"cgroup {HOLDER}", "spares 0",
                "partition giant page-size 1G node 1 memory 1G")

    def test_ram_is_one_page_of_a_gibibyte(self):
        self.assertEqual(number(self.free), 1)
        guest = self.start("a", ram="1G", more="cpu partition giant\n")
        self.assertEqual(ram_pages(guest["pid"]), ({1: 1}, 1048576))
        self.assert_console("a", "> ", within=60)
        self.assertEqual(number(self.free), 0)
        os.kill(guest["pid"], 9)
        self.eventually(lambda: number(self.free) == 1, "the page is lost")

    def test_a_partition_of_two_where_one_is_is_refused(self):
        check = subprocess.run([QVMD, "--check", "--config", "/dev/stdin"], text=True,
                               input="partition two page-size 1G memory 2G\n", timeout=60,
                               capture_output=True, check=False)
        self.assertEqual(check.returncode, 2)
        self.assertIn(":1: partition 'two' wants 2 pages of 1024 MiB, and this host has 1 of them, "
                      "of which 1 are left", check.stderr)


if __name__ == "__main__":
    main()
