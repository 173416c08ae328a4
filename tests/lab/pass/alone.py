"""What tests of pass-through have in common: functions of the host that are vfio-pci's, and a qvm
alone, as root, whose guest is a stock Debian kernel with the drivers of real devices."""

import os
import shutil
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../debian"))
import debian  # noqa: E402: only after the line above

KERNEL = os.path.join(debian.TREE, "build/cache/lab/kernel")  # Debian's with all modules
DEVICES = "/sys/bus/pci/devices"
PATIENCE_SECONDS = 120
NVME, NIC = "0000:00:04.0", "0000:00:03.0"


def bind(bdf, driver="vfio-pci"):
    """Have a function of the host bound to a driver; what had it before loses it."""
    unbind(bdf)
    with open(f"{DEVICES}/{bdf}/driver_override", "w", encoding="ascii") as file:
        file.write(driver)
    with open("/sys/bus/pci/drivers_probe", "w", encoding="ascii") as file:
        file.write(bdf)
    assert os.path.basename(os.readlink(f"{DEVICES}/{bdf}/driver")) == driver


def unbind(bdf):
    """Take a function of the host from its driver, if it has one."""
    if os.path.exists(f"{DEVICES}/{bdf}/driver"):
        with open(f"{DEVICES}/{bdf}/driver/unbind", "w", encoding="ascii") as file:
            file.write(bdf)


def modules_of(names):
    """Paths of modules and of what they need, in an order in which they can be inserted."""
    release = os.listdir(f"{KERNEL}/lib/modules")[0]
    order = []
    for name in names:
        said = subprocess.run(["modprobe", "-d", KERNEL, "-S", release, "--show-depends", name],
                              stdout=subprocess.PIPE, text=True, check=True).stdout
        for line in said.splitlines():
            path = line.split()[1]
            if line.startswith("insmod") and path not in order:
                order.append(path)
    return order


def make_initrd(folder, modules):
    """The guest's initramfs and drivers behind it, which the command `drivers` inserts."""
    root = os.path.join(folder, "root")
    os.makedirs(os.path.join(root, "bin"))
    os.makedirs(os.path.join(root, "drivers"))
    names = []
    for path in modules_of(modules):
        shutil.copy(path, os.path.join(root, "drivers"))
        names.append(os.path.basename(path))
    with open(os.path.join(root, "bin/drivers"), "w", encoding="ascii") as file:
        file.write("#!/bin/sh\n" + "".join(f"insmod /drivers/{n} || exit 1\n" for n in names))
    os.chmod(os.path.join(root, "bin/drivers"), 0o755)
    files = "drivers\nbin/drivers\n" + "".join(f"drivers/{n}\n" for n in names)
    packed = subprocess.run(["cpio", "--create", "--format=newc", "--quiet"], cwd=root,
                            stdout=subprocess.PIPE, input=files.encode(), check=True)
    initrd = os.path.join(folder, "initrd.img")
    shutil.copy(f"{debian.GUEST}/initrd.img", initrd)
    with open(initrd, "ab") as file:
        file.write(packed.stdout)
    return initrd


class Alone(debian.Console):
    """A qvm without qvmd, and its console."""

    def __init__(self, text, folder):
        ours, theirs = socket.socketpair()
        path = os.path.join(folder, "guest.qvmconf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.log = os.path.join(folder, "qvm.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [os.path.join(debian.BUILD, "qvm-worker/qvm"), f"@{path}"], stdin=theirs,
                stdout=theirs, stderr=log,
                env={"QVM_VDEVS": os.path.join(debian.BUILD, "vdevs")})
        theirs.close()
        self.fd = ours.detach()
        self.heard = ""
        self.commands = 0

    def said(self):
        """What the qvm logged."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def end(self):
        """Whatever it does, it is over."""
        self.process.kill()
        self.process.wait()
        self.close()


def eventually(condition, what):
    """Wait until it is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)
