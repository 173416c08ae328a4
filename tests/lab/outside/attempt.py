"""One attempt to run a script in the lab: start L1, follow its channels, tell how it ended."""

import asyncio
import enum
import json
import os
import shlex
import signal
import subprocess
import time

from outside.debugger import poke
from outside.devices import make_disks
from outside.machine import Monitor, MonitorError, chunks, lines, qemu_arguments

STDOUT, STDERR = 1, 2
WORDS = ("boot", "device_add", "device_del", "poke", "qmp", "reboot", "reset")
BOOT_SILENCE = 120  # ticks of one second before the first heartbeat


class End(enum.Enum):
    """How an attempt can end."""

    EXIT = "the script ended"
    TIMEOUT = "the time is over"
    HUNG = "L1 is silent"
    DIED = "L1 ended before the script did"


class Attempt:
    """Everything that belongs to one QEMU process. Its files are in `run_dir`."""

    def __init__(self, options, cache, run_dir, number):
        self._options = options
        self._cache = cache
        self._run_dir = run_dir
        self._number = number
        self._boot = 1
        self._is_rebooting = False  # by its own will: what its script says while it ends is nothing
        self._silence = 0
        self._limit = BOOT_SILENCE
        self._started = time.monotonic()
        self._channel_log = open(os.path.join(run_dir, "channel.log"), "w", encoding="utf-8")
        self._frames = b""
        self._monitor = None
        self._ended = asyncio.get_running_loop().create_future()
        self._times = {}

    def log(self, text):
        """Write a line with its time to the channel's log."""
        seconds = time.monotonic() - self._started
        print(f"{seconds:8.2f} {text}", file=self._channel_log, flush=True)

    def _note(self, what):
        """Remember when something happened first."""
        self._times.setdefault(what, time.monotonic() - self._started)

    def tell_times(self):
        """What happened when, in seconds since QEMU was started."""
        return ", ".join(f"{what} {seconds:.1f} s" for what, seconds in self._times.items())

    async def run(self):
        """Run the script. Returns (End, exit status); the status has a meaning for EXIT alone."""
        servers = [
            await asyncio.start_unix_server(serve, os.path.join(self._run_dir, name))
            for name, serve in (
                ("beat", self._serve_beat),
                ("run", self._serve_run),
                ("ask", self._serve_ask),
                ("monitor", self._serve_monitor),
            )
        ]
        qemu = await self._start_qemu()
        watchers = [
            asyncio.create_task(watch)
            for watch in (self._watch_qemu(qemu), self._watch_silence(), self._watch_time())
        ]
        try:
            return await self._ended
        finally:
            for watcher in watchers:
                watcher.cancel()
            if qemu.returncode is None:
                qemu.kill()
            await qemu.wait()
            for server in servers:
                server.close()
            self._channel_log.close()

    def interrupt(self, status):
        """End now, with this exit status."""
        self._end(End.EXIT, status)

    def _end(self, how, status=0):
        if not self._ended.done():
            self._note("end")
            self.log(f"end: {how.value} ({status}); {self.tell_times()}")
            self._ended.set_result((how, status))

    def _write_settings(self):
        """The files for inside; the command is a script which init starts."""
        options = self._options
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/lab/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "LAB": "1",
            "LAB_ATTEMPT": str(self._number),
            **make_disks(options.device, self._run_dir),
            **dict(pair.split("=", 1) for pair in options.env),
        }
        command = "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()
        )
        command += "export LAB_BOOT=$(lab-ask boot)\n"
        command += f"cd {shlex.quote(os.getcwd())} || exit 125\n"
        command += f"exec {shlex.join([options.script, *options.arguments])}\n"
        modules = os.path.join(self._cache, "kernel/lib/modules")
        files = {"command": command, "modules": os.path.join(modules, *os.listdir(modules))}
        if options.systemd:
            files["systemd"] = "yes"
        paths = {}
        for name, text in files.items():
            paths[name] = os.path.join(self._run_dir, name + ".txt")
            with open(paths[name], "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
        return paths

    async def _start_qemu(self):
        arguments = qemu_arguments(
            self._options, self._cache, self._run_dir, self._write_settings()
        )
        with open(os.path.join(self._run_dir, "qemu.log"), "w", encoding="utf-8") as log:
            print(shlex.join(arguments), file=log, flush=True)
            # QEMU must not outlive us, however we end.
            return await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    # What can end an attempt

    async def _watch_qemu(self, qemu):
        await qemu.wait()
        await asyncio.sleep(0.5)  # the last frame may still be in its socket
        self._end(End.DIED)

    async def _watch_silence(self):
        """Count seconds rather than read a clock: when we ourselves were stopped, or waited for
        whoever reads our output, that is one tick and not L1's silence."""
        while self._silence < self._limit:
            await asyncio.sleep(1)
            self._silence += 1
        self.log(f"no heartbeat for {self._silence} s")
        try:
            await asyncio.wait_for(self._dump_cpus(), 5)
        except (asyncio.TimeoutError, MonitorError) as error:
            self.log(f"the monitor does not tell the CPUs' state: {error!r}")
        self._end(End.HUNG)

    async def _dump_cpus(self):
        if self._monitor is not None:
            arguments = {"command-line": "info registers -a"}
            self.log(await self._monitor.execute("human-monitor-command", **arguments))

    async def _watch_time(self):
        await asyncio.sleep(self._options.timeout)
        self._end(End.TIMEOUT)

    # The channels

    async def _serve_beat(self, reader, _writer):
        async for line in lines(reader):
            self.log(line)
            self._silence = 0
            if not self._is_rebooting:
                self._limit = self._options.silence
            self._note("first heartbeat")

    async def _serve_run(self, reader, _writer):
        """Frames as inside/run_script.c describes them."""
        async for data in chunks(reader):
            self._frames += data
            while len(self._frames) >= 5:
                size = int.from_bytes(self._frames[1:5], "big")
                if len(self._frames) < 5 + size:
                    break
                kind = self._frames[:1]
                payload = self._frames[5 : 5 + size]
                self._frames = self._frames[5 + size :]
                self._on_frame(kind, payload)

    def _on_frame(self, kind, payload):
        if kind == b"x":
            if not self._is_rebooting:
                self._end(End.EXIT, int(payload))
            return
        fd = STDOUT if kind == b"o" else STDERR
        try:
            while payload:
                payload = payload[os.write(fd, payload) :]
        except BrokenPipeError:
            self._end(End.EXIT, 128 + signal.SIGPIPE)  # as for any program whose reader left

    async def _serve_monitor(self, reader, writer):
        self._monitor = Monitor(reader, writer, self.log)
        serving = asyncio.create_task(self._monitor.serve())
        await self._monitor.execute("qmp_capabilities")
        await serving

    async def _reset(self):
        await self._monitor.stop_for_reset()
        self._boot += 1
        self._limit = BOOT_SILENCE
        self._frames = b""  # a frame that the reset cuts off
        await self._monitor.reset()

    async def _expect_reboot(self):
        self._boot += 1
        self._is_rebooting = True
        self._limit = BOOT_SILENCE
        await self._monitor.allow_resets()

    async def _poke(self, address, data):
        path = os.path.join(self._run_dir, "debugger")
        start = f"gdbserver unix:{path},server=on,wait=off"
        data = bytes.fromhex(data)
        address = int(address, 16)
        await self._monitor.execute("human-monitor-command", **{"command-line": start})
        try:
            await poke(path, address, data)
        finally:
            end = {"command-line": "gdbserver none"}
            await self._monitor.execute("human-monitor-command", **end)

    async def _serve_ask(self, reader, writer):
        """Requests as inside/ask.c describes them."""
        async for line in lines(reader):
            self.log(f"ask: {line}")
            number, word, *arguments = line.split(" ", 2)
            try:
                verdict, text = "ok", await self._answer(word, *arguments)
            except (MonitorError, OSError, TypeError, ValueError) as error:
                verdict, text = "fail", f"lab-ask: {word}: {error}\n"
            self.log(f"answer: {verdict} {text.strip()}")
            payload = text.encode()
            writer.write(f"{number} {verdict} {len(payload)}\n".encode() + payload)

    async def _answer(self, word, argument=""):
        if word == "boot":
            self._note("script")
            if self._is_rebooting:
                self._is_rebooting = False
                self._frames = b""  # a frame that the reboot cut off
            await self._monitor.refuse_resets()
            return f"{self._boot}\n"
        if word == "device_add":
            await self._monitor.device_add(argument)
        elif word == "device_del":
            await self._monitor.device_del(argument)
        elif word == "reset":
            await self._reset()
        elif word == "reboot":
            await self._expect_reboot()
        elif word == "poke":
            await self._poke(*argument.split())
        elif word == "qmp":
            request = json.loads(argument)
            answer = await self._monitor.execute(
                request["execute"], **request.get("arguments", {})
            )
            return json.dumps(answer) + "\n"
        else:
            raise MonitorError(f"no such word; there are {' '.join(WORDS)}")
        return ""
