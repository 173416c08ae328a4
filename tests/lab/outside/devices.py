"""Devices of the lab's machine that a script asks for (--device NAME): each costs L1 time at its
start, so none of them is there by itself."""

import hashlib
import os
import struct

NVME_SIZE = 64 << 20
SEED = b"the lab's second NVMe disk"

# What QEMU is told for each, in the run's own directory.
DEVICES = {
    "nic": ("-netdev", "user,id=n3", "-device", "e1000e,netdev=n3,addr=5,romfile="),
    "nvme": (
        "-drive", "file={run_dir}/nvme1.img,if=none,id=d1,format=raw",
        "-device", "nvme,drive=d1,serial=lab1,addr=6",
    ),
    # no MSI, no MSI-X, and no function-level reset
    "intx": ("-netdev", "user,id=n4", "-device", "e1000,netdev=n4,addr=7,romfile="),
    # two functions in one IOMMU group: a disk of zeros, and another edu
    "multi": (
        "-blockdev", "driver=null-co,node-name=d2,size=16777216,read-zeroes=on",
        "-device", "nvme,drive=d2,serial=lab2,addr=8.0,multifunction=on",
        "-device", "edu,addr=8.1,multifunction=on",
    ),
    # an NVMe disk with up to two virtual functions, 0000:00:0a.1 and .2
    "vfs": (
        "-device", "nvme-subsys,id=s3",
        "-device", "nvme,serial=lab3,subsys=s3,addr=0xa,max_ioqpairs=6,msix_qsize=5,"
                   "sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2",
    ),
    # a card with one serial line, whose driver is in every kernel
    "serial": ("-chardev", "null,id=s4", "-device", "pci-serial,chardev=s4,addr=0xb"),
    # does DMA to wherever it is told; has MSI and no MSI-X, and an expansion ROM
    "edu": ("-device", "edu,addr=9.0,dma_mask=0xffffffffffff,romfile={run_dir}/edu.rom"),
}


def known_content(size=NVME_SIZE):
    """Bytes that are the same in each run, and nowhere twice."""
    for number in range(size >> 16):
        yield hashlib.shake_128(SEED + number.to_bytes(4, "big")).digest(1 << 16)


def expansion_rom():
    """A ROM of 2 KiB as firmware takes it: PCI Firmware Specification 3.0, 5.1. Behind its headers
    are bytes that are nowhere else."""
    size, pointer = 2048, 0x1c
    data = struct.pack("<4sHHHHB3sHHBBH", b"PCIR", 0x1234, 0x11e8, 0, 24, 0, b"\0\0\xff",
                       size // 512, 1, 0, 0x80, 0)
    head = struct.pack("<2sB21xH2x", b"\x55\xaa", size // 512, pointer)
    return (head + data + b"the lab's edu").ljust(size, b"\xee")


def device_arguments(names, run_dir):
    """QEMU's arguments for the devices of these names."""
    arguments = []
    for name in dict.fromkeys(names):
        arguments += [text.format(run_dir=run_dir.replace(",", ",,")) for text in DEVICES[name]]
    return arguments


def make_disks(names, run_dir):
    """Make what they hold; the script's environment is told what it is."""
    environment = {}
    if "edu" in names:
        with open(os.path.join(run_dir, "edu.rom"), "wb") as rom:
            rom.write(expansion_rom())
    if "nvme" in names:
        digest = hashlib.md5()
        with open(os.path.join(run_dir, "nvme1.img"), "wb") as disk:
            for piece in known_content():
                digest.update(piece)
                disk.write(piece)
        environment["LAB_NVME_MD5"] = digest.hexdigest()
    return environment
