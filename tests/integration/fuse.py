"""File systems that do not answer, straight on /dev/fuse.

Who waits for one waits in the kernel, and SIGKILL does not end it: the request is on its way to us.
close() ends the file system and frees everybody who waits."""

import ctypes
import os
import stat
import struct
import subprocess
import threading

INIT, INTERRUPT, FORGET, BATCH_FORGET = 26, 36, 2, 42
LOOKUP, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 3, 14, 15, 17, 18
ASYNC_READ = 1 << 0  # who reads waits for the page, and not for the answer: as on a disk
PARALLEL_DIROPS = 1 << 18  # several may look names up in one directory at once
HEADER = struct.Struct("<IIQQIIII")  # of a request: length, opcode, unique, node, uid, gid, pid, -
NAMES = {LOOKUP: "LOOKUP", GETATTR: "GETATTR", OPEN: "OPEN", READ: "READ", 16: "WRITE",
         RELEASE: "RELEASE", 20: "FSYNC", 25: "FLUSH", 27: "OPENDIR"}
ENOSYS = 38  # to this one: the kernel does without
ROOT_NODE, FILE_NODE = 1, 2
VALID_SECONDS = 3600

libc = ctypes.CDLL(None, use_errno=True)


class SilentFileSystem:
    """It is mounted, and then never answers anything."""

    def __init__(self, directory):
        self.directory = directory
        self.asked = []  # what was asked for and has no answer, by name
        self.has_asked = threading.Condition()
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
        if libc.mount(b"silent", directory.encode(), b"fuse", 0, options) != 0:
            os.close(self.fd)
            raise OSError(ctypes.get_errno(), "mount")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                request = os.read(self.fd, 1 << 17)
            except OSError:
                return  # unmounted
            _, opcode, unique, node, *_ = HEADER.unpack_from(request)
            if opcode == INIT:
                self.reply(unique, struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, ASYNC_READ |
                                               PARALLEL_DIROPS, 12, 9, 65536, 1, 1, 0, 0, *[0] * 7))
            elif opcode not in (INTERRUPT, FORGET, BATCH_FORGET):
                self.on_request(opcode, unique, node, request[HEADER.size:])

    def reply(self, unique, out=b"", error=0):
        os.write(self.fd, struct.pack("<IiQ", 16 + len(out), -error, unique) + out)

    def on_request(self, opcode, _unique, _node, _body):
        with self.has_asked:
            self.asked.append(NAMES.get(opcode, str(opcode)))
            self.has_asked.notify_all()

    def wait(self, count=1, timeout=20):
        """Until that many have asked, and have no answer."""
        with self.has_asked:
            assert self.has_asked.wait_for(lambda: len(self.asked) >= count, timeout), self.asked

    def close(self):
        if self.fd is None:
            return
        subprocess.run(["umount", "-f", self.directory], check=False,  # aborts the connection
                       stderr=subprocess.DEVNULL)
        subprocess.run(["umount", "-l", self.directory], check=False, stderr=subprocess.DEVNULL)
        self.thread.join(10)
        os.close(self.fd)
        self.fd = None


class StallingFileSystem(SilentFileSystem):
    """It has one file of zeros, `image`, and answers until it is told to stall()."""

    def __init__(self, directory, size=1 << 20):
        self.size = size
        self.silent_to = ()
        self.stalled = []
        super().__init__(directory)

    def stall(self, *names):
        """Requests of these names, or all of them, get no answer from now on."""
        self.silent_to = names or tuple(NAMES.values())

    def go_on(self):
        """What had no answer gets it now."""
        self.silent_to = ()
        stalled, self.stalled = self.stalled, []
        for request in stalled:
            self.on_request(*request)

    def attributes(self, node):
        mode = stat.S_IFDIR | 0o755 if node == ROOT_NODE else stat.S_IFREG | 0o666
        return struct.pack("<6Q10I", node, self.size, self.size // 512, 0, 0, 0, 0, 0, 0, mode, 1,
                           0, 0, 0, 4096, 0)

    def on_request(self, opcode, unique, node, body):
        if NAMES.get(opcode) in self.silent_to:
            self.stalled.append((opcode, unique, node, body))
            super().on_request(opcode, unique, node, body)
        elif opcode == LOOKUP:
            self.reply(unique, struct.pack("<4Q2I", FILE_NODE, 0, VALID_SECONDS, VALID_SECONDS, 0, 0)
                       + self.attributes(FILE_NODE))
        elif opcode == GETATTR:
            self.reply(unique, struct.pack("<Q2I", VALID_SECONDS, 0, 0) + self.attributes(node))
        elif opcode in (OPEN, RELEASE):
            self.reply(unique, bytes(16) if opcode == OPEN else b"")
        elif opcode == READ:
            offset, size = struct.unpack_from("<8xQI", body)
            self.reply(unique, bytes(max(0, min(size, self.size - offset))))
        elif opcode == STATFS:
            self.reply(unique, bytes(80))
        elif NAMES.get(opcode) == "FLUSH":
            self.reply(unique)
        else:
            self.reply(unique, error=ENOSYS)
