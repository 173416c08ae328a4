#!/usr/bin/env python3
"""qvm alone: configurations from files and words, what is refused of them, dryrun."""

import json
import os
import re
import resource
import shutil
import subprocess
import unittest

from alonetest import BUILD, GUESTS, QVM, AloneTest


class WordsTest(AloneTest):
    def test_errors_of_the_configuration_are_status_65(self):
        self.put("bad/x.qvmconf", "system x\nram 1M\nvdev ser8251\n")
        self.refused(["@nowhere.qvmconf"], 65, "cannot read the configuration 'nowhere.qvmconf': "
                     "No such file or directory")
        self.refused(["@bad"], 65, "the configuration 'bad' is a folder")
        self.put("empty.qvmconf", "# nothing\n")
        self.refused(["@empty.qvmconf", "dryrun"], 65,
                     "empty.qvmconf:1: the configuration is empty: 'system NAME' comes first")
        self.refused(["@bare.qvmconf", "cmdlien", "x"], 65, "command line:1: unknown option "
                     "'cmdlien'; did you mean 'cmdline'?")
        done = self.run_qvm("--bogus")
        self.assertEqual(done.returncode, 65)
        self.assertTrue(done.stderr.startswith(b"qvm: there is no option '--bogus'\nusage: "),
                        done.stderr)
        done = self.run_qvm("@bad/x.qvmconf")
        self.assertEqual(done.returncode, 65)
        self.assertTrue(done.stderr.startswith(b"bad/x.qvmconf:3: there is no vdev 'ser8251'"),
                        done.stderr)

    def test_why_nothing_runs_is_told_to_who_started_it_whatever_the_loggers_are(self):
        self.put("quiet.qvmconf", "system x\nram 1M\nlogger fatal none\n")
        for words in (["dryrun"], []):
            done = self.run_qvm("@quiet.qvmconf", *words)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(b"nothing to boot", done.stderr)

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

    @unittest.skipUnless(os.getuid() == 0, "only root can mount")
    def test_a_device_that_is_not_kvm_is_told_by_its_name(self):
        hide = ["unshare", "-m", "sh", "-c",
                "mount --bind /dev/null /dev/kvm && exec \"$0\" \"$@\""]
        self.refused(["@bare.qvmconf"], 64, "/dev/kvm is not KVM: another device has its name "
                     "('ls -l /dev/kvm'; KVM's is 10, 232)", prefix=hide)

    def test_more_ram_than_the_host_has_is_refused_before_anything_runs(self):
        done = self.run_qvm("@bare.qvmconf", "ram", "900G")
        self.assertEqual((done.returncode, done.stdout), (64, b""))
        self.assertRegex(done.stderr.decode(), r"^bare\.qvmconf:2: 9216\d\d MiB of memory are asked "
                         r"for, and this host has \d+ MiB left for it\n$")

    def test_dryrun_needs_no_rights(self):
        run = self.run_as_nobody if os.getuid() == 0 else self.run_qvm
        done = run("@bare.qvmconf", "dryrun")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"0x000000100000-0x000000ffffff RAM", done.stdout)

    def test_dryrun_finds_a_missing_file_and_two_vdevs_at_one_place(self):
        self.refused_dryrun(["system", "x", "ram", "1M", "load", "/nowhere"], b"command line:6: ")
        self.refused_dryrun(["@bare.qvmconf", "vdev", "ser8250", "loc", "io:3f8,8"],
                            b"ser8250")

    def test_dryrun_refuses_the_images_that_a_start_refuses(self):
        self.put("empty.img", "")
        self.put("text.img", "no machine would run this\n")
        image = os.path.join(GUESTS, "guest.bzimage")
        shutil.copy(image, os.path.join(self.directory, "short.img"))
        os.truncate(os.path.join(self.directory, "short.img"), 700)
        for ram, load, sentence in (
            ("1M", "load empty.img", "x.qvmconf:3: '{folder}/empty.img' is empty"),
            ("1M", "load text.img",
             "x.qvmconf:3: '{folder}/text.img' is text, not a bootimage"),
            ("1M", "load short.img",
             "x.qvmconf:3: '{folder}/short.img' is not a bzImage of boot protocol 2.05 or later"),
            ("64K", f"load {image}", f"x.qvmconf:3: '{image}' needs 1 MiB at 0x100000, guest RAM "
             "ends at 0x10000: raise `ram`"),
            ("4M", f"load {image}\nacpi load text.img", "x.qvmconf:4: '{folder}/text.img' is no ACPI "
             "table: it is shorter than a table's header"),
            ("4M", f"load {image}\ndata load 800000,text.img", "x.qvmconf:4: '{folder}/text.img' "
             "needs 1 MiB at 0x800000, guest RAM ends at 0x400000: raise `ram`"),
            ("4M", "", "x.qvmconf:1: nothing to boot: `load` a bootimage first"),
        ):
            self.put("x.qvmconf", f"system x\nram {ram}\n{load}\n")
            sentence = sentence.format(folder=self.directory)
            self.refused(["@x.qvmconf", "dryrun"], 65, sentence)
            self.refused(["@x.qvmconf"], 65, sentence)

    def test_a_dryrun_of_a_large_image_takes_none_of_its_memory(self):
        with open(os.path.join(self.directory, "disk.img"), "wb") as file:
            file.truncate(1 << 30)
        self.put("x.qvmconf", f"system x\nram 2G\nload {GUESTS}/guest.bzimage\n"
                 "data load 10000000,disk.img\n")
        done = self.run_qvm("@x.qvmconf", "dryrun")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10, 1 << 29)

    def test_a_vdev_where_the_machine_itself_answers_is_refused_by_dryrun_as_well(self):
        for loc, owner in (("mem:1000,8", "guest RAM"), ("mem:fee00000,8", "the local APICs"),
                           ("io:600", "the sleep registers")):
            words = ["@bare.qvmconf", "vdev", "ser8250", "loc", loc]
            self.refused_dryrun(words, b"command line:2: vdev ser8250-2: ")
            done = self.run_qvm(*words)
            self.assertEqual(done.returncode, 65)
            self.assertIn(f" belong to {owner} (".encode(), done.stderr)

    def test_dryrun_tells_the_machine_as_json(self):
        done = self.run_qvm("@bare.qvmconf", "dryrun", "set", "summary", "json",
                            "logger", "error", "stderr")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        said = json.loads(done.stdout)
        self.assertEqual(said["system"], "bare")
        self.assertEqual(said["where"], "bare.qvmconf:1")
        self.assertEqual([vdev["intrs"] for vdev in said["vdevs"]], [[4]])
        self.assertIn({"line": 4, "vdevs": ["ser8250"]}, said["interrupts"])
        self.assertIn({"start": 1 << 20, "size": 15 << 20, "kind": "RAM"}, said["memory_map"])
        self.assertEqual([ask["kind"] for ask in said["asks"]], ["memory", "cpu", "kvm", "file"])

    def test_the_example_guests_can_be_put_together(self):
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../etc/guests")
        for name, vdevs in (("bare", 1), ("large", 98)):
            done = self.run_qvm(f"@{folder}/{name}.qvmconf", "dryrun", "set", "summary", "json",
                                QVM_GUEST_DIR=GUESTS)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(len(json.loads(done.stdout)["vdevs"]), vdevs)

    def test_a_cpu_that_the_host_has_not_is_refused(self):
        for option in (("runmask", "1023"), ("cluster", "_cpu-1023")):
            words = ["@bare.qvmconf", "cpu", *option]
            self.refused_dryrun(words, b"command line:3: there is no CPU 1023 of the host for this "
                                b"VM; it has ")
            self.assertEqual(self.run_qvm(*words).returncode, 65)

    @unittest.skipUnless(os.getuid() == 0, "only root sees the addresses")
    def test_memory_regions_of_the_host_have_names(self):
        with open("/proc/iomem", encoding="ascii") as file:
            lines = [line.strip().split(" : ", 1) for line in file]
        names = [name for _, name in lines]
        span, name = next(line for line in lines if names.count(line[1]) == 1)
        first, last = (int(part, 16) for part in span.split("-"))
        done = self.run_qvm("@bare.qvmconf", "dryrun", "set", "summary", "json", "reserve", "loc",
                            f"mem:$asinfo_start{{{name}}},$asinfo_length{{{name}}}")
        self.assertEqual(done.returncode, 0, done.stderr)
        reserved = json.loads(done.stdout)["reserved"][0]
        self.assertEqual((reserved["start"], reserved["size"]), (first, last - first + 1))
        self.refused_dryrun(["@bare.qvmconf", "ram", "$asinfo_start{no such}"],
                            b"command line:2: no memory region of the host is called 'no such'")

    def test_a_place_that_is_reserved_is_given_to_nobody_but_by_name(self):
        words = ["@bare.qvmconf", "set", "summary", "json"]
        for device in range(32):
            words += ["reserve", "loc", f"pci:0:{device}"]
        self.refused_dryrun([*words, "vdev", "pci-dummy"], b"command line:")
        done = self.run_qvm(*words, "vdev", "pci-dummy", "loc", "pci:0:7", "dryrun")
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    @unittest.skipUnless(os.getuid() == 0, "only root can take rights away")
    def test_real_time_scheduling_that_is_not_permitted_is_refused_in_words(self):
        for words, start in ((("sched", "10"), "real-time priority 10 is not permitted: "),
                             (("sched", "9,8,7,1000000,100000s"), "the host refuses a sporadic ")):
            done = subprocess.run(
                ["setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice", QVM,
                 "@bare.qvmconf", "cpu", *words], capture_output=True, timeout=20,
                cwd=self.directory, env=self.environment(), check=False, input=b"")
            self.assertEqual(done.returncode, 64)
            self.assertIn(f"command line:3: {start}".encode(), done.stderr)

    def refused_dryrun(self, words, start):
        done = self.run_qvm(*words, "dryrun")
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn(start, done.stderr)

    def test_set_question_mark_lists_the_variables(self):
        done = self.run_qvm("set", "?")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"populate     boolean  vm", done.stdout)

    def test_the_pages_of_qvm_and_qvmd_tell_every_option_and_exit_status(self):
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
        for program, page in ((QVM, "qvm-worker/qvm.8"),
                              (os.path.join(BUILD, "daemon/qvmd"), "daemon/qvmd.8")):
            with open(os.path.join(root, page), encoding="utf-8") as file:
                text = file.read()
            told = subprocess.run([program, "--help"], capture_output=True, timeout=20, check=True,
                                  text=True).stdout
            options = set(re.findall(r"--([a-z-]+)", told))
            self.assertGreaterEqual(len(options), 1, told)
            for option in options:
                self.assertRegex(text, rf"\.(It|Nm|Op) ?(Fl -version \| )?Fl -{option}\b", page)
        with open(os.path.join(root, "qvm-worker/exit_status.h"), encoding="utf-8") as file:
            statuses = re.findall(r"EXIT_STATUS_(\w+) = (\d+),", file.read())
        with open(os.path.join(root, "qvm-worker/qvm.8"), encoding="utf-8") as file:
            text = file.read().partition(".Sh EXIT STATUS")[2]
        for name, status in statuses:
            if not name.startswith("OF_VDEV"):
                self.assertIn(f".It {status}\n", text)

    def test_why_nothing_runs_is_said_once_whatever_the_loggers(self):
        for logger in ("error stderr", "error,warn syslog", "fatal stdout", "fatal none"):
            with self.subTest(logger):
                done = self.run_qvm("system", "a", "logger", *logger.split(), "ram", "5000")
                self.assertEqual((done.stdout + done.stderr).count(b"not 5000"), 1, done)
                self.assertEqual(done.returncode, 65)

    def test_usage_help_and_version(self):
        self.assertEqual(self.run_qvm().returncode, 65)
        self.assertIn(b"usage: qvm", self.run_qvm("--help").stdout)
        self.assertTrue(self.run_qvm("--version").stdout.startswith(b"qvm "))

    def test_env_comes_from_the_environment(self):
        done = self.run_qvm("system", "x", "ram", "$env{SIZE}", "load",
                            os.path.join(GUESTS, "guest.bzimage"), "dryrun", SIZE="8M")
        self.assertIn(b"ram 8M", done.stdout)


if __name__ == "__main__":
    unittest.main()
