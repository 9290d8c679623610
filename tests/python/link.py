"""A bad network in user space: machines in network namespaces, and every packet between them
passes through here, where it may be lost, late, doubled, overtaken or kept back by a partition.

    link.py --machines 25 --seed 7 --home FOLDER

Each machine is a namespace with one interface `lan`, a TUN device whose other end this process
holds: it stays open when its device moves. Orders come as JSON lines, an answer for each:

    {"op": "partition", "sides": [0, 0, 1, …]}   packets between different sides vanish
    {"op": "heal"}
    {"op": "dark", "machine": 3}, {"op": "light", "machine": 3}   its cable is out; in again
    {"op": "figures"}

Always holds: at the end of its input, or on SIGTERM, whatever runs in its namespaces is killed, by
process id, and the namespaces and FOLDER are removed. So whoever drives it may even be killed with
SIGKILL, and nothing stays. What a killed link.py left behind is removed by the next. Never: touches
the machine's own network, or a namespace that no link.py made.
"""

import argparse
import fcntl
import heapq
import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import time

# Namespaces are PREFIX-PID-NUMBER: the process that answers for them is in the name.
PREFIX = "kad-chaos"
# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
# A packet of a TUN device is at most its MTU; this leaves room.
PACKET_BYTES = 2048
# Packets on their way at once; more are dropped, as a switch would. 30 MB of them.
MAX_UNDER_WAY = 20_000
# Packets taken from one machine before the others have their turn.
BURST = 32
# A machine's line, where the kernel can shape it.
RATE = "rate 100mbit burst 64kb latency 100ms"
# Killed processes are gone sooner.
GONE_SECONDS = 10.0


class Link:
    """What happens to each packet. Delays are seconds, one way."""

    def __init__(self, devices, settings):
        count = len(devices)
        self.devices = devices
        self.settings = settings
        self.random = random.Random(settings.seed)
        self.sides = [0] * count
        self.dark = [False] * count
        low, high = settings.delay_ms
        # A pair is as far one way as the other, as on most paths.
        self.delay = [[0.0] * count for _ in range(count)]
        for a in range(count):
            for b in range(a):
                self.delay[a][b] = self.delay[b][a] = self.random.uniform(low, high) / 1000
        # When the last packet of a pair arrives: what isn't reordered stays in order.
        self.last = [[0.0] * count for _ in range(count)]
        self.under_way = []
        self.number = 0
        names = "packets bytes lost doubled reordered kept_back overflowed"
        self.count = dict.fromkeys(names.split(), 0)
        # Milliseconds by which packets left later than they should: the load of this machine.
        self.late = [0] * 1000

    def accept(self, source, packet, now):
        """Takes a packet that a machine sent."""
        # IPv4 only. A machine's number is the end of its address, and it may have any 10.79.X of it.
        if packet[0] >> 4 != 4 or packet[16:18] != b"\x0a\x4f":
            return
        target = packet[19] - 1
        if not 0 <= target < len(self.devices):
            return
        count, settings, chance = self.count, self.settings, self.random.random
        count["packets"] += 1
        count["bytes"] += len(packet)
        if self.sides[source] != self.sides[target] or self.dark[source] or self.dark[target]:
            count["kept_back"] += 1
            return
        if chance() < settings.loss:
            count["lost"] += 1
            return
        delay = self.delay[source][target]
        due = now + delay + chance() * settings.jitter_ms / 1000
        if chance() < settings.reorder:
            # Others overtake it.
            count["reordered"] += 1
            due += chance() * 2 * delay
        else:
            due = max(due, self.last[source][target])
            self.last[source][target] = due
        self.send(due, source, target, packet)
        if chance() < settings.duplicate:
            count["doubled"] += 1
            self.send(due + chance() * delay, source, target, packet)

    def send(self, due, source, target, packet):
        if len(self.under_way) >= MAX_UNDER_WAY:
            self.count["overflowed"] += 1
            return
        self.number += 1
        heapq.heappush(self.under_way, (due, self.number, source, target, packet))

    def deliver(self, now):
        """Hands over what is due; says how many seconds it is until the next."""
        while self.under_way:
            due, _, source, target, packet = self.under_way[0]
            if due > now:
                return due - now
            heapq.heappop(self.under_way)
            self.late[min(int((now - due) * 1000), len(self.late) - 1)] += 1
            # What was on its way when the cable was cut is lost with it.
            if self.sides[source] != self.sides[target] or self.dark[target]:
                self.count["kept_back"] += 1
                continue
            try:
                os.write(self.devices[target], packet)
            except OSError:
                # Its queue is full, or the interface is down.
                self.count["overflowed"] += 1
        return None

    def obey(self, order):
        op = order["op"]
        if op == "partition":
            self.sides = order["sides"]
        elif op == "heal":
            self.sides = [0] * len(self.devices)
        elif op in ("dark", "light"):
            self.dark[order["machine"]] = op == "dark"
        elif op == "figures":
            return {**self.count, "late_ms_p50": self.lateness(0.5), "late_ms_p99": self.lateness(0.99)}
        else:
            raise ValueError(f"unknown op {op!r}")
        return True

    def lateness(self, share):
        open_ = sum(self.late) * share
        for millis, count in enumerate(self.late):
            open_ -= count
            if open_ <= 0:
                return millis
        return len(self.late)

    def run(self):
        """Until the input ends."""
        poll = select.epoll()
        for device in self.devices:
            poll.register(device, select.EPOLLIN)
        poll.register(0, select.EPOLLIN | select.EPOLLHUP)
        of_device = {device: number for number, device in enumerate(self.devices)}
        pending = b""
        wait = None
        while True:
            for fd, _ in poll.poll(wait):
                if fd == 0:
                    read = os.read(0, 65536)
                    if not read:
                        return
                    *lines, pending = (pending + read).split(b"\n")
                    for line in lines:
                        say({"ok": self.obey(json.loads(line))})
                    continue
                now = time.monotonic()
                for _ in range(BURST):
                    try:
                        packet = os.read(fd, PACKET_BYTES)
                    except BlockingIOError:
                        break
                    self.accept(of_device[fd], packet, now)
            wait = self.deliver(time.monotonic())


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if check and done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def make_machine(number):
    """A namespace and its TUN device; the device's open file."""
    namespace, name = f"{PREFIX}-{os.getpid()}-{number}", f"kc{os.getpid()}-{number}"
    ip("netns", "add", namespace)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    ip("link", "set", name, "netns", namespace, "name", "lan")
    inside = ["-n", namespace]
    ip(*inside, "link", "set", "lo", "up")
    ip(*inside, "addr", "add", f"{address_of(number)}/16", "dev", "lan")
    ip(*inside, "link", "set", "lan", "up")
    return namespace, device


def address_of(number):
    return f"10.79.0.{number + 1}"


def shape(namespace):
    """Whether the machine's line has a rate now."""
    words = ["tc", "-n", namespace, *f"qdisc add dev lan root tbf {RATE}".split()]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def remove(namespace):
    """Kills what runs in a namespace of ours, and removes it."""
    limit = time.monotonic() + GONE_SECONDS
    while time.monotonic() < limit:
        pids = [int(pid) for pid in ip("netns", "pids", namespace, check=False).split()]
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    ip("netns", "delete", namespace, check=False)


def ours():
    """Namespaces that any link.py made: (name, process id)."""
    for line in ip("netns", "list", check=False).splitlines():
        name = line.split()[0] if line.split() else ""
        prefix, _, rest = name.rpartition(f"{PREFIX}-")
        if name.startswith(f"{PREFIX}-") and prefix == "" and rest.split("-")[0].isdigit():
            yield name, int(rest.split("-")[0])


def is_link(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"link.py" in file.read()
    except OSError:
        return False


def stop(*_):
    raise SystemExit(0)


def main():
    parser = argparse.ArgumentParser(description="A bad network in user space.")
    parser.add_argument("--machines", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--home", required=True, help="removed at the end, unless --keep")
    parser.add_argument("--keep", action="store_true")
    for share in ("--loss", "--duplicate", "--reorder"):
        parser.add_argument(share, type=float, default=0.0)
    parser.add_argument("--delay-ms", type=float, nargs=2, default=(0.0, 0.0))
    parser.add_argument("--jitter-ms", type=float, default=0.0)
    settings = parser.parse_args()
    # Ctrl-C is for who drives this; the end of the input follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    machines = []
    try:
        for name, pid in list(ours()):
            if pid != os.getpid() and not is_link(pid):
                remove(name)
        try:
            machines = [make_machine(number) for number in range(settings.machines)]
        except OSError as error:
            say({"error": str(error)})
            return
        shaped = all([shape(namespace) for namespace, _ in machines])
        try:
            # A cable doesn't wait for the processor.
            os.nice(-10)
        except OSError:
            pass
        names = [namespace for namespace, _ in machines]
        addresses = [address_of(number) for number in range(settings.machines)]
        say({"namespaces": names, "addresses": addresses, "rate": RATE if shaped else None})
        Link([device for _, device in machines], settings).run()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for name, pid in list(ours()):
            if pid == os.getpid():
                remove(name)
        if not settings.keep:
            shutil.rmtree(settings.home, ignore_errors=True)


if __name__ == "__main__":
    main()
