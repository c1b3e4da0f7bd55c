"""Forward every packet between two TUN devices with a delay.

    python delay_forwarder.py NEAR FAR MILLISECONDS

The devices pass large segments unsegmented, with the header for their segmentation, as the network
of a virtual machine does: this takes a fraction of a core at full speed, while both kernels still
use packets of 1500 bytes.
"""

import contextlib
import fcntl
import os
import selectors
import struct
import sys
import time
from collections import deque

# From linux/if_tun.h; Python's fcntl does not define them.
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 0x01, 0x02, 0x04
MAX_PACKET_BYTES = 2**16 + 64


def open_tun(name: str) -> int:
    """Create a TUN device that exists as long as the returned descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
    return device


def forward(devices: tuple[int, int], delay_s: float) -> None:
    """Forward the packets until the process ends."""
    other = dict(zip(devices, reversed(devices), strict=True))
    # One delay for both directions, so packets are due in the order of their arrival.
    waiting: deque[tuple[float, int, bytes]] = deque()
    with selectors.DefaultSelector() as selector:
        for device in devices:
            selector.register(device, selectors.EVENT_READ)
        while True:
            wait_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            for key, _ in selector.select(wait_s):
                # A device that is full or not up yet drops the packet, as a link does.
                with contextlib.suppress(OSError):
                    while True:
                        packet = os.read(key.fd, MAX_PACKET_BYTES)
                        waiting.append((time.monotonic() + delay_s, other[key.fd], packet))
            now_s = time.monotonic()
            while waiting and waiting[0][0] <= now_s:
                _, device, packet = waiting.popleft()
                with contextlib.suppress(OSError):
                    os.write(device, packet)


def main() -> None:
    """Create both devices and forward packets."""
    near, far, milliseconds = sys.argv[1:]
    forward((open_tun(near), open_tun(far)), float(milliseconds) / 1000)


if __name__ == "__main__":
    main()
