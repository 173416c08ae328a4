"""The machine of the lab: the command line of the QEMU that plays L1, and its monitor."""

import asyncio
import json
import os

from outside.clock import tsc_khz
from outside.devices import device_arguments

DEVICE_DELETED_TIMEOUT = 30.0
DRAIN_SECONDS = 0.2
NVME_SIZE = 64 << 20

# maxcpus=1: inside/init brings the other CPUs up when the kernel has stopped to change its code,
#   which TCG can miss on another CPU; noreplace-smp and lpj: so that this takes no second.
# tsc=reliable: under TCG all CPUs read one counter; without it L1 takes the slow HPET for its
#   clock, and its guests have no proper kvmclock.
# no_timer_check: the kernel gives a timer that works only so long to prove it; where TCG has to
#   share the CPUs with others, that is too short, and L1 panics.
KERNEL_COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 oops=panic intel_iommu=on iommu=nopt"
    " maxcpus=1 noreplace-smp lpj=10000000 tsc=reliable no_timer_check"
)

# What the host may have made the default is not what is wanted here.
SYSTEMD_COMMAND_LINE = " systemd.unit=multi-user.target systemd.default_timeout_start_sec=60"

# A PC with AMD-V, in software.
PC = [
    *("-accel", "tcg,thread=multi", "-machine", "q35,kernel-irqchip=off"),
    *("-cpu", "EPYC,+svm,+npt"),
]


def qemu_arguments(options, cache, run_dir, settings):
    """The command line for QEMU: a PC with AMD-V, an IOMMU, and something to pass through.

    `options` are those of tests/lab/run, `settings` the files for inside by their fw_cfg name.
    The sockets in `run_dir` are ours: QEMU connects to them.
    """
    with open(os.path.join(run_dir, "nvme.img"), "wb") as disk:
        disk.truncate(NVME_SIZE)
    arguments = [
        "qemu-system-x86_64",
        *PC,
        *("-m", str(options.memory)),
        *("-smp", f"{options.cpus},sockets={options.nodes}"),
        *numa_nodes(options),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-kernel", os.path.join(cache, "kernel/vmlinux")),
        *("-initrd", os.path.join(cache, "initrd.img")),
        *("-append", kernel_command_line(options)),
        *("-serial", "file:" + os.path.join(run_dir, "console.log")),
        *("-chardev", "socket,id=monitor,path=" + os.path.join(run_dir, "monitor")),
        *("-mon", "chardev=monitor,mode=control"),
        *("-device", "intel-iommu,intremap=on,caching-mode=on"),
        *devices_to_pass_through(run_dir),  # first: their addresses must be free
        *device_arguments(options.device, run_dir),
        *("-device", "virtio-rng-pci"),
        *virtual_directories(options),
        *channels(run_dir),
    ]
    for name, path in settings.items():
        arguments += ["-fw_cfg", f"name=opt/lab/{name},file={path}"]
    return arguments


def kernel_command_line(options):
    """Pages of 1 GiB are set aside at the boot: later no such piece of memory is in one. And the TSC
    is told: L1 measures it against a timer of TCG, and where others want the CPUs its clock may come
    to run several times too fast."""
    words = KERNEL_COMMAND_LINE + (SYSTEMD_COMMAND_LINE if options.systemd else "")
    khz = tsc_khz()
    if khz is not None:
        words += f" tsc_early_khz={khz}"
    if options.giants > 0:
        words += f" hugepagesz=1G hugepages={options.nodes - 1}:{options.giants}"
    return words


def numa_nodes(options):
    """As many nodes as are asked for, each with its part of the CPUs and of the RAM."""
    arguments = []
    for node in range(options.nodes if options.nodes > 1 else 0):
        first = options.cpus * node // options.nodes
        last = options.cpus * (node + 1) // options.nodes - 1
        size = options.memory // options.nodes
        arguments += ["-object", f"memory-backend-ram,id=ram{node},size={size}M"]
        arguments += ["-numa", f"node,nodeid={node},memdev=ram{node},cpus={first}-{last}"]
    return arguments


def virtual_directories(options):
    """The host's root, and what is wanted of these: what lies over it, the folder for results."""
    arguments = [
        "-virtfs",
        "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap",
    ]
    if options.out is not None:
        path = os.path.abspath(options.out).replace(",", ",,")
        arguments += ["-virtfs", f"local,path={path},mount_tag=labout,security_model=none"]
    if options.layer is not None:
        path = os.path.abspath(options.layer).replace(",", ",,")
        arguments += [
            "-virtfs",
            f"local,path={path},mount_tag=layer,security_model=none,readonly=on",
        ]
    return arguments


def channels(run_dir):
    """One virtio-serial port for each of inside/port.h."""
    arguments = ["-device", "virtio-serial-pci"]
    for name in ("beat", "run", "ask"):
        path = os.path.join(run_dir, name)
        arguments += ["-chardev", f"socket,id={name},path={path}"]
        arguments += ["-device", f"virtserialport,chardev={name},name=lab.{name}"]
    return arguments


def devices_to_pass_through(run_dir):
    """A network card and a disk at fixed addresses; two empty slots and what may fill them."""
    disk = os.path.join(run_dir, "nvme.img")
    return [
        *("-netdev", "user,id=n0", "-device", "e1000e,netdev=n0,addr=3,romfile="),
        *("-drive", f"file={disk},if=none,id=d0,format=raw"),
        *("-device", "nvme,drive=d0,serial=lab0,addr=4"),
        *("-device", "pcie-root-port,id=slot0,chassis=1,addr=10.0,multifunction=on"),
        *("-device", "pcie-root-port,id=slot1,chassis=2,addr=10.1"),
        *("-netdev", "user,id=n1", "-netdev", "user,id=n2"),
        *("-device", "pc-testdev"),  # ports 0xE0-0xE3 keep what is written
    ]


async def lines(reader):
    """The lines of a stream until its other end, QEMU, has gone in whatever way."""
    try:
        while line := await reader.readline():
            yield line.decode(errors="replace").rstrip("\n")
    except ConnectionError:
        pass


async def chunks(reader):
    """The bytes of a stream as they come, until its other end has gone."""
    try:
        while data := await reader.read(65536):
            yield data
    except ConnectionError:
        pass


class MonitorError(Exception):
    """QEMU refused a command, in its own words."""


class Monitor:
    """QEMU's monitor (QMP) over the socket to which QEMU has connected."""

    def __init__(self, reader, writer, log):
        self._reader = reader
        self._writer = writer
        self._log = log
        self._answers = asyncio.Queue()
        self._deleted = {}

    async def serve(self):
        """Read answers and events until QEMU closes the connection."""
        async for line in lines(self._reader):
            self._log(f"monitor: {line}")
            message = json.loads(line)
            if "event" in message:
                self._on_event(message)
            elif "QMP" not in message:  # the greeting
                self._answers.put_nowait(message)

    def _on_event(self, message):
        if message["event"] == "DEVICE_DELETED":
            deleted = self._deleted.get(message["data"].get("device"))
            if deleted is not None:
                deleted.set()

    async def execute(self, command, **arguments):
        """Execute one command and return its result; MonitorError if QEMU refuses."""
        request = {"execute": command, "arguments": arguments}
        self._writer.write(json.dumps(request).encode() + b"\n")
        answer = await self._answers.get()
        if "error" in answer:
            raise MonitorError(answer["error"]["desc"])
        return answer["return"]

    async def device_add(self, text):
        """Plug a device in: `text` is what would follow -device on the command line."""
        driver, *properties = text.split(",")
        arguments = dict(p.partition("=")[::2] for p in properties)
        await self.execute("device_add", driver=driver, **arguments)

    async def device_del(self, name):
        """Unplug a device; returns when L1 has let it go."""
        deleted = self._deleted[name] = asyncio.Event()
        await self.execute("device_del", id=name)
        try:
            await asyncio.wait_for(deleted.wait(), DEVICE_DELETED_TIMEOUT)
        except asyncio.TimeoutError:
            raise MonitorError(f"L1 does not let the device '{name}' go") from None

    async def stop_for_reset(self):
        """Stop L1 and wait a moment, so that what it has sent is read before the rest is lost."""
        await self.execute("stop")
        await asyncio.sleep(DRAIN_SECONDS)

    async def reset(self):
        """Press the reset button of the stopped L1, which boots again.

        SeaBIOS itself resets the machine once more on the way: resets stay allowed until
        refuse_resets().
        """
        await self.allow_resets()
        await self.execute("system_reset")
        await self.execute("cont")

    async def allow_resets(self):
        """From now on L1 may reset itself."""
        await self.execute("set-action", reboot="reset")

    async def refuse_resets(self):
        """From now on a reset that nobody asked for ends QEMU, as a panic of L1 is one."""
        await self.execute("set-action", reboot="shutdown")
