"""QEMU's debugger stub: writes into L1's memory where nobody inside may write."""

import asyncio


async def poke(path, address, data):
    """Write `data` at the virtual address `address` of L1's kernel. QEMU listens at the socket
    `path`; L1 stands still from the connection to the detaching. Raises OSError when refused."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        try:
            await ask(reader, writer, f"M{address:x},{len(data):x}:{data.hex()}")
        finally:
            await ask(reader, writer, "D")  # L1 goes on, whatever became of it
    finally:
        writer.close()


async def ask(reader, writer, command):
    """One packet of the remote protocol, `$COMMAND#SUM`; the answer has to be OK. That L1 stands
    still is told at some time, too, and is no answer."""
    writer.write(packet(command))
    answer = b"T"
    while answer.startswith(b"T"):
        await reader.readuntil(b"$")
        answer = (await reader.readuntil(b"#"))[:-1]
        await reader.readexactly(2)
        writer.write(b"+")
    if answer != b"OK":
        raise OSError(f"QEMU's debugger stub answers '{answer.decode()}' to '{command}'")


def packet(command):
    """The command with its frame: the sum of its bytes in two hexadecimal digits."""
    return f"${command}#{sum(command.encode()) & 0xff:02x}".encode()
