"""What the tests of networks have guests send by TCP, and get back: /numbers, which is all there
afterwards. A console is debian.Console's."""

import socket

SECONDS = 120
PORT = 7000
FIND = ("i=$(grep -l {mac} /sys/class/net/*/address); i=${{i%/address}}; i=${{i##*/}}; ")


def mac(number, end):
    """Of the card of that number, of guest 0 or 1."""
    return f"02:00:00:00:{number:02}:{end + 1:02}"


def make_numbers(console, size):
    console.run(f"seq 200000 | head -c {size} >/numbers", SECONDS)


def copy(sender, receiver, address):
    """From guest to guest, of which the receiver has that address."""
    receiver.begin(f"nc -l -p {PORT} >/copy; cmp /copy /numbers && rm /copy")
    sender.run(f"until nc {address} {PORT} </numbers; do sleep 0.2; done", SECONDS)
    receiver.finish(SECONDS)


def speak_with_host(test, console, address, size, prefix=""):
    """What the guest sends its host comes back, and is the same; `prefix` is before its `nc`."""
    with socket.create_server((address, PORT)) as server:
        server.settimeout(SECONDS)
        console.begin(f"{prefix}nc {address} {PORT} </numbers >/copy; "
                      "cmp /copy /numbers && rm /copy")
        peer, _ = server.accept()
        with peer:
            peer.settimeout(SECONDS)
            data = b""
            while len(data) < size and (more := peer.recv(1 << 16)):
                data += more
            peer.sendall(data)
        console.finish(SECONDS)
    test.assertEqual(len(data), size)
