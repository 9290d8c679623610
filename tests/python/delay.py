"""A long cable: two TAP devices, each in a network namespace; what is sent into one comes out of the
other after a delay, in order, and nothing is lost. For a kernel without netem.

    delay.py NAMESPACE DEVICE NAMESPACE DEVICE MILLISECONDS

Says `ready` when both devices are there, and runs until its input ends. Segments that the kernel has
not cut yet (64 KiB) pass whole, so that 50 MB/s take a few percent of a core.

Always holds: both devices go with the process. Never: changes a frame.
"""

import collections
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

# linux/if_tun.h
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO_ECN = 0x01, 0x02, 0x08
# The longest frame that is not cut, with the header that says how to.
FRAME_BYTES = 10 + 14 + 65_536
# Frames on their way at once; more are dropped, as a switch would.
MAX_UNDER_WAY = 4_096
# Frames taken from one end before the other has its turn.
BURST = 32


def device(namespace, name):
    """A TAP device in a namespace; its open file."""
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(file, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN)
    subprocess.run(["ip", "link", "set", name, "netns", namespace], check=True)
    return file


def run(ends, seconds):
    poll = select.epoll()
    for end in (*ends, 0):
        poll.register(end, select.EPOLLIN | select.EPOLLHUP)
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    # The delay is the same for all: who came first goes first.
    under_way = collections.deque()
    wait = None
    while True:
        for file, _ in poll.poll(wait):
            if file == 0:
                return
            due = time.monotonic() + seconds
            for _ in range(BURST):
                try:
                    frame = os.read(file, FRAME_BYTES)
                except BlockingIOError:
                    break
                if len(under_way) < MAX_UNDER_WAY:
                    under_way.append((due, other[file], frame))
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, to, frame = under_way.popleft()
            try:
                os.write(to, frame)
            except OSError:
                # Its queue is full, or it is down.
                pass
        wait = max(under_way[0][0] - now, 0) if under_way else None


def main():
    near, near_name, far, far_name, millis = sys.argv[1:]
    ends = [device(near, near_name), device(far, far_name)]
    try:
        # A cable doesn't wait for the processor.
        os.nice(-10)
    except OSError:
        pass
    print("ready", flush=True)
    run(ends, float(millis) / 1000)


main()
