"""Checks the Python swarms against themselves: a peer that is wrong proves nothing."""

import hashlib
import json
import os
import socket
import subprocess
import sys

import umsgpack

HERE = os.path.dirname(os.path.abspath(__file__))


class Swarm:
    """A swarm in a process of its own, driven as the Rust tests drive it."""

    def __init__(self, script, nodes, ksize=20):
        command = [sys.executable, os.path.join(HERE, script)]
        self.process = subprocess.Popen(
            command + ["--nodes", str(nodes), "--ksize", str(ksize)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.nodes = json.loads(self.process.stdout.readline())["nodes"]

    def ask_all(self, requests):
        """Sends all requests at once; the answers come back in the order of the requests."""
        for tag, request in enumerate(requests):
            self.process.stdin.write(json.dumps({"tag": tag, **request}) + "\n")
        self.process.stdin.flush()
        answers = [json.loads(self.process.stdout.readline()) for _ in requests]
        return [a.get("ok", a.get("error")) for a in sorted(answers, key=lambda a: a["tag"])]

    def ask(self, op, **request):
        return self.ask_all([{"op": op, **request}])[0]

    def join(self):
        first = [["127.0.0.1", self.nodes[0]["port"]]]
        for node in range(1, len(self.nodes)):
            self.ask("bootstrap", node=node, addresses=first)

    def raw(self, node, method, *args):
        """One request by hand; None when nobody answers within a second."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1)
            sender.connect(("127.0.0.1", self.nodes[node]["port"]))
            try:
                sender.send(b"\0" + bytes(range(20)) + umsgpack.packb([method, list(args)]))
                while True:
                    datagram = sender.recv(65536)
                    if datagram[0] == 1:
                        return umsgpack.unpackb(datagram[21:])
            except (TimeoutError, socket.timeout, ConnectionRefusedError):
                return None

    def quit(self):
        self.process.stdin.write('{"op": "quit"}\n')
        self.process.stdin.close()
        expect("the swarm ends on quit", self.process.wait(20), 0)


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"self_check: {what}: got {got!r}, wanted {wanted!r}")


def check_network(script, wrap):
    """What both dialects share: everything set is found from everywhere, the dead are dead."""
    # Every node is among the 20 nearest to every key; with fewer holders than nodes these peers
    # miss some keys by themselves.
    swarm = Swarm(script, nodes=8, ksize=20)
    swarm.join()
    keys = range(20)
    stored = swarm.ask_all(
        [{"op": "set", "node": k % 8, "key": f"key {k}", "value": f"värde {k}"} for k in keys]
    )
    expect("every set is acknowledged", stored, [True] * 20)
    gets = [{"op": "get", "node": n, "key": f"key {k}"} for n in range(8) for k in keys]
    found = swarm.ask_all(gets)
    wanted = [wrap(f"värde {k}") for _ in range(8) for k in keys]
    expect("nothing wrong is found", [f for f, w in zip(found, wanted) if f not in (w, None)], [])
    missed = found.count(None)
    if missed * 20 > len(found):
        sys.exit(f"self_check: {missed} of {len(found)} gets found nothing")
    expect("an unknown key", swarm.ask("get", node=1, key="nobody set this"), None)
    held = len(swarm.ask("holders", key="key 0"))
    if not 1 <= held <= 8:
        sys.exit(f"self_check: key 0 has {held} holders")

    id_bytes = bytes(20)
    expect("a living node answers", len(swarm.raw(2, "ping", id_bytes) or b""), 20)
    expect("kill", swarm.ask("kill", node=2), True)
    expect("a killed node is silent", swarm.raw(2, "ping", id_bytes), None)
    expect("it takes no orders", "killed" in swarm.ask("get", node=2, key="key 0"), True)
    expect("it holds nothing", 2 in swarm.ask("holders", key="key 0"), False)
    if not swarm.ask("neighbors", node=1):
        sys.exit("self_check: node 1 knows nobody")
    swarm.quit()


def check_list_values():
    """What only the list dialect does."""
    swarm = Swarm("list_nodes.py", nodes=4)
    swarm.join()
    for node, value in enumerate(["a", "b", "c", "a"]):
        swarm.ask("set", node=node, key="several", value=value)
    # A node whose own list is partial stops there, so only all of them together know everything.
    answers = [swarm.ask("get", node=node, key="several") for node in range(4)]
    expect("every node finds some", all(answers), True)
    expect("equal ones once", all(len(set(a)) == len(a) for a in answers), True)
    expect("all together", sorted(set().union(*answers)), ["a", "b", "c"])

    key = hashlib.sha1(b"by hand").digest()
    me = bytes([7]) * 20
    expect("nothing yet", isinstance(swarm.raw(0, "find_value", me, key), list), True)
    expect("a scalar", swarm.raw(0, "store", me, key, "x"), True)
    expect("one value is a list too", swarm.raw(0, "find_value", me, key), {"value": ["x"]})
    expect("a list", swarm.raw(0, "store", me, key, ["y", "x"]), True)
    answer = swarm.raw(0, "find_value", me, key)
    expect("merged, equal ones once", answer, {"value": ["y", "x"]})
    swarm.quit()


def check_scalar_values():
    """What only the scalar dialect does: a later value takes the place of the earlier one."""
    swarm = Swarm("scalar_nodes.py", nodes=2)
    key = hashlib.sha1(b"by hand").digest()
    me = bytes([7]) * 20
    for value in ["x", "y"]:
        swarm.raw(0, "store", me, key, value)
    expect("replaced", swarm.raw(0, "find_value", me, key), {"value": "y"})
    swarm.quit()


if __name__ == "__main__":
    check_network("scalar_nodes.py", lambda value: value)
    check_network("list_nodes.py", lambda value: [value])
    check_scalar_values()
    check_list_values()
    print("self_check: both Python swarms do what they should")
