"""The host's network devices, without a program that might not be installed."""

import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWNET = 0x40000000  # linux/sched.h
IFF_UP = 1  # linux/if.h
TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB  # linux/if_tun.h
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x2, 0x1000, 0x4000, 0x100
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFHWADDR, SIOCSIFHWADDR = 0x8913, 0x8914, 0x8927, 0x8924
SIOCSIFADDR, SIOCSIFNETMASK = 0x8916, 0x891C  # linux/sockios.h
SIOCBRADDBR, SIOCBRADDIF, SIOCDEVPRIVATE = 0x89A0, 0x89A2, 0x89F0
BRCTL_GET_PORT_LIST = 7  # linux/if_bridge.h
SIOCADDRT = 0x890B
RTF_UP, RTF_GATEWAY = 1, 2  # linux/route.h
ARPHRD_ETHER = 1


def ask(number, request):
    """What the kernel says of a network device."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as about:
        return fcntl.ioctl(about, number, request)


def devices():
    return {name: index for index, name in socket.if_nameindex()}


def flags(name):
    return struct.unpack_from("H", ask(SIOCGIFFLAGS, struct.pack("40s", name.encode())), 16)[0]


def address(name):
    return ask(SIOCGIFHWADDR, struct.pack("40s", name.encode()))[18:24]


def ports(bridge):
    """The numbers of a bridge's ports."""
    found = (ctypes.c_int * 256)()
    words = (ctypes.c_ulong * 4)(BRCTL_GET_PORT_LIST, ctypes.addressof(found), len(found), 0)
    request = struct.pack("16sP16x", bridge.encode(), ctypes.addressof(words))
    ask(SIOCDEVPRIVATE, request)
    return {index for index in found if index != 0}


def open_tap(name, more=0):
    """As another program of the host has it."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(),
                                            IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | more))
    return tap


def add_port(bridge, name):
    ask(SIOCBRADDIF, struct.pack("16si20x", bridge.encode(), devices()[name]))


def set_address(name, hardware):
    ask(SIOCSIFHWADDR, struct.pack("16sH6s16x", name.encode(), ARPHRD_ETHER, hardware))


def persist(tap, stays):
    fcntl.ioctl(tap, TUNSETPERSIST, stays)


def unshare():
    """This process, and whom it starts, have a network of their own from here on; False: no right."""
    return ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0


def add_bridge(name, ip=None):
    """A bridge that is up, with an address of the host's in it (/24)."""
    ask(SIOCBRADDBR, name.encode() + b"\0")
    for request, text in ((SIOCSIFADDR, ip), (SIOCSIFNETMASK, "255.255.255.0")) if ip else ():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as about:
            fcntl.ioctl(about, request, struct.pack("16sH2x4s16x", name.encode(), socket.AF_INET,
                                                    socket.inet_aton(text)))
    ask(SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags(name) | IFF_UP))


def switch_on(name):
    ask(SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags(name) | IFF_UP))


def add_default_route(router):
    """By the device in whose network the router is."""
    words = (struct.pack("H14x", socket.AF_INET),
             struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(router)),
             struct.pack("H14x", socket.AF_INET))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as about:
        fcntl.ioctl(about, SIOCADDRT, struct.pack("8x16s16s16sH62x", *words, RTF_UP | RTF_GATEWAY))
