"""A qvmd that says what a test wants: JSON-RPC lines on a Unix socket, in threads of the test."""

import array
import json
import os
import socket
import threading


class Refusal(Exception):
    """Answered as an error with a stable name."""

    def __init__(self, name, message, code=-32000):
        super().__init__(message)
        self.name, self.code = name, code


class Connection:
    def __init__(self, sock):
        self.sock, self.lock = sock, threading.Lock()

    def line(self, message):
        with self.lock:
            self.sock.sendall(json.dumps(message).encode() + b"\n")

    def raw(self, data):
        with self.lock:
            self.sock.sendall(data)

    def result(self, request_id, result):
        self.line({"jsonrpc": "2.0", "id": request_id, "result": result})

    def result_with_descriptor(self, request_id, result, descriptor):
        data = json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}).encode() + b"\n"
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        with self.lock:
            self.sock.sendmsg([data], rights)

    def refuse(self, request_id, name, message, code=-32000):
        self.line({"jsonrpc": "2.0", "id": request_id,
                   "error": {"code": code, "message": message, "data": {"name": name}}})

    def event(self, **members):
        self.line({"jsonrpc": "2.0", "method": "event", "params": members})

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


class FakeQvmd:
    """`methods` maps a method's name to a function of (params) that returns its result or raises
    Refusal; or, for those in `raw`, to a function of (connection, id, params) that answers."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "qvmd.sock")
        self.methods, self.raw = {}, {}
        self.requests = []  # (method, params) in their order
        self.garbage = []  # lines that are no requests
        self.connections = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(sock)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            for line in connection.sock.makefile("rb"):
                try:
                    request = json.loads(line)
                except ValueError:
                    self.garbage.append(line)
                    continue
                self._answer(connection, request)
        except OSError:
            pass  # the client went away, or the test closed

    def _answer(self, connection, request):
        method, params = request["method"], request.get("params", {})
        self.requests.append((method, params))
        if method in self.raw:
            self.raw[method](connection, request["id"], params)
            return
        try:
            if method not in self.methods:
                raise Refusal("no-such-method", f"there is no method '{method}'")
            connection.result(request["id"], self.methods[method](params))
        except Refusal as refusal:
            connection.refuse(request["id"], refusal.name, str(refusal), refusal.code)

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in self.connections:
            connection.close()


def guest(name, **members):
    """A guest as guest.list shows it."""
    return {"name": name, "state": "defined", "desired": "stopped", "generation": 1,
            "owner": "root", "owner_uid": 0, **members}
