#!/usr/bin/python3
"""The stock Debian guest whose interrupt controllers and timers are vdevs, wired as QNX's samples
wire them: its keyboard, its clock, its serial line; and Debian's own driver for the watchdog."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import debian  # noqa: E402: only after the line above

LAB_KERNEL = os.path.join(debian.TREE, "build/cache/lab/kernel")  # Debian's with all modules
KEY_A = 30
PATIENCE_SECONDS = 120
CLOCK_ERROR_SECONDS = 3
TRIES = 20
TRY_SECONDS = 5

CHIPS = """system chips
ram 256M
cmdline "console=ttyS0 quiet"
load {guest}/vmlinuz
initrd load {guest}/initrd.img
set acpi full
vdev ioapic loc 0xf8000000 intr apic name myioapic
vdev 8259 loc 0x20
vdev 8259 loc 0xa0
vdev timer8254 intr myioapic:0
vdev ser8250 intr myioapic:4
vdev mc146818
vdev pckeyboard
vdev hpet loc 0xf8008000 intr myioapic:0,myioapic:8
"""

# Debian's kernel for the cloud has no driver for this watchdog.
WATCHDOG = """system {name}
ram 256M
cmdline "console=ttyS0 quiet"
load {kernel}
initrd load {initrd}
vdev ser8250
vdev mc146818
vdev wdt-ib700 action {action}
"""


class ChipsTest(debian.DebianTest):
    def start(self, name, text):
        self.qvmd.call("guest.start", name=name,
                       definition=debian.qvmtest.definition(text, name=f"{name}.qvmconf"))
        console = debian.Console(self.qvmd, name)
        self.addCleanup(console.close)
        return console

    # ---- chips that are vdevs ----

    def test_a_guest_with_chips_of_the_qvms_own(self):
        console = self.start("chips", CHIPS.format(guest=debian.GUEST))
        console.wait_for_shell()
        for check in (self.it_found_them, self.time_runs, self.keys_reach_its_input,
                      self.a_break_is_sysrq, self.the_alarm_is_a_fixed_event):
            with self.subTest(check.__name__):
                check(console)
        console.send("reboot -f\n")
        console.wait_for_shell()
        self.time_runs(console)
        self.ctl("stop", "chips")
        self.assertEqual(self.qvmd.guest("chips")["reason"], "poweroff")

    def it_found_them(self, console):
        print(console.run("dmesg | grep -E 'e820: |IOAPIC|HPET|hpet|8259|rtc'; nproc;"
                          " cat /proc/interrupts", PATIENCE_SECONDS))
        self.assertIn("address 0xf8000000, GSI 0-23", console.run("dmesg | grep IOAPIC"))
        self.assertIn("hpet", console.run(
            "cat /sys/devices/system/clocksource/clocksource0/available_clocksource"))
        told = self.ctl("show", "--vdevs", "chips")
        self.assertRegex(told, r"(?s)\nmyioapic\n.*\nmessages +\d{3}")

    def time_runs(self, console):
        first = float(console.run("cut -d' ' -f1 /proc/uptime"))
        started = time.monotonic()
        console.run("sleep 2")
        second = float(console.run("cut -d' ' -f1 /proc/uptime"))
        self.assertGreater(second - first, 1.9)
        self.assertLess(second - first, time.monotonic() - started + CLOCK_ERROR_SECONDS)
        before = time.time()
        seconds = int(console.run("cat /sys/class/rtc/rtc0/since_epoch"))
        self.assertGreater(seconds, before - CLOCK_ERROR_SECONDS)
        self.assertLess(seconds, time.time() + CLOCK_ERROR_SECONDS)

    def again_until_it_is_heard(self, do, listen):
        """Who is to hear it may not listen yet, or be slow to go on."""
        for _ in range(TRIES):
            do()
            try:
                return listen(TRY_SECONDS)
            except AssertionError as not_yet:
                last = not_yet
        raise last

    def keys_reach_its_input(self, console):
        device = console.run("grep -l keyboard /sys/class/input/event*/device/name")
        event = re.search(r"event\d+", device)[0]
        console.begin(f"hexdump -n 48 -e '24/1 \"%02x \" \"\\n\"' /dev/input/{event}")
        told = self.again_until_it_is_heard(lambda: self.ctl("sendkey", "chips", "a"),
                                            console.finish)
        words = [line.split() for line in told.splitlines()]
        # struct input_event: time, type 1 (EV_KEY), code, value 1
        self.assertIn(["01", "00", f"{KEY_A:02x}", "00", "01", "00", "00", "00"],
                      [word[16:] for word in words], words)

    def a_break_is_sysrq(self, console):
        def ask():
            self.ctl("sendbreak", "chips")
            console.send("h")

        self.again_until_it_is_heard(
            ask, lambda seconds: console.read_until(r"sysrq: HELP", seconds))
        console.send("\n")
        self.assertEqual(console.run("echo $((6 * 7))").splitlines()[-1], "42")

    def the_alarm_is_a_fixed_event(self, console):
        """The HPET has the clock's line, so Linux takes the alarm from ACPI."""
        def rung():
            return int(console.run("cat /sys/firmware/acpi/interrupts/ff_rt_clk").split()[0])

        before = rung()
        console.run("echo +2 >/sys/class/rtc/rtc0/wakealarm && sleep 4", PATIENCE_SECONDS)
        self.assertGreater(rung(), before, console.run("cat /proc/driver/rtc"))

    # ---- the watchdog ----

    def make_initrd(self, folder):
        """The guest's initramfs and the watchdog's driver behind it."""
        modules = subprocess.run(["find", LAB_KERNEL, "-name", "ib700wdt.ko*", "-o", "-name",
                                  "watchdog.ko*"], stdout=subprocess.PIPE, text=True, check=True)
        os.makedirs(os.path.join(folder, "root/wdt"))
        names = []
        for path in modules.stdout.split():
            name = os.path.basename(path).split(".")[0]
            names.append(name)
            with open(os.path.join(folder, f"root/wdt/{name}.ko"), "wb") as file:
                unpack = ["xz", "-dc"] if path.endswith(".xz") else ["cat"]
                subprocess.run([*unpack, path], stdout=file, check=True)
        self.assertEqual(sorted(names), ["ib700wdt", "watchdog"])
        packed = subprocess.run(["cpio", "--create", "--format=newc", "--quiet"],
                                cwd=os.path.join(folder, "root"), stdout=subprocess.PIPE,
                                input=b"wdt\nwdt/ib700wdt.ko\nwdt/watchdog.ko\n", check=True)
        initrd = os.path.join(folder, "initrd.img")
        shutil.copy(f"{debian.GUEST}/initrd.img", initrd)
        with open(initrd, "ab") as file:
            file.write(packed.stdout)
        return initrd

    def bite(self, console):
        """Debian's driver starts it with 2 s, and nobody tells it that all is well."""
        console.run("insmod /wdt/watchdog.ko; insmod /wdt/ib700wdt.ko timeout=2", PATIENCE_SECONDS)
        self.assertIn("watchdog", console.run("ls /dev/watchdog"))
        console.send("sleep 1000 >/dev/watchdog\n")

    def the_alarm_rings(self, console):
        """In 2 s by the clock."""
        def rung():
            return int(console.run("grep -w rtc0 /proc/interrupts").split()[1])

        before = rung()
        console.run("echo +2 >/sys/class/rtc/rtc0/wakealarm && sleep 4", PATIENCE_SECONDS)
        self.assertGreater(rung(), before, console.run("cat /proc/driver/rtc"))

    def test_the_watchdog_bites_and_the_alarm_rings(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        given = {"kernel": f"{LAB_KERNEL}/vmlinux", "initrd": self.make_initrd(folder)}
        actions = {"again": "reset", "over": "terminate"}
        consoles = {name: self.start(name, WATCHDOG.format(name=name, action=action, **given))
                    for name, action in actions.items()}
        for console in consoles.values():
            console.wait_for_shell()
        self.the_alarm_rings(consoles["again"])
        for console in consoles.values():
            self.bite(console)
        self.eventually(lambda: self.qvmd.guest("over")["state"] == "failed",
                        "the watchdog has not bitten", PATIENCE_SECONDS)
        ended = self.qvmd.guest("over")
        self.assertEqual((ended["reason"], ended["exit_status"]), ("watchdog", 4))
        consoles["again"].read_until("guest 'again' rebooted")  # the same session
        self.assertEqual(self.qvmd.guest("again")["reboots"], 1)
        self.assertRegex(self.ctl("show", "--vdevs", "again"), r"\nbites +1\n")
        self.ctl("kill", "again")


if __name__ == "__main__":
    debian.main()
