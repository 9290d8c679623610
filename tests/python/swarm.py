"""Drives a swarm of Python DHT nodes in one process, line by line over stdin and stdout.

One JSON object a line comes in, such as {"tag": 7, "op": "set", "node": 3, "key": "k",
"value": "v"}; for each, one object goes out with the same tag and either "ok" or "error".
Requests run side by side, so answers may come in another order. End of input means `quit`.

ops: set (node, key, value) · get (node, key) · bootstrap (node, addresses) ·
kill (node: its socket is closed) · neighbors (node) · holders (key: living nodes that store it) ·
quit
"""

import argparse
import asyncio
import json
import sys

from kademlia.utils import digest

# More operations at once only queue up in the one event loop, until peers believe that we died
# (their timeout is 5 s).
MAX_RUNNING = 48


class Swarm:
    """The nodes and what may be asked of them."""

    def __init__(self, servers):
        self.servers = servers
        self.dead = set()
        self.running = asyncio.Semaphore(MAX_RUNNING)

    def living(self, index):
        if index in self.dead:
            raise ValueError(f"node {index} was killed")
        return self.servers[index]

    async def do(self, request):
        op = request["op"]
        if op == "holders":
            key = digest(request["key"])
            return [
                index
                for index, server in enumerate(self.servers)
                if index not in self.dead and server.storage.get(key) is not None
            ]
        server = self.living(request["node"])
        if op == "set":
            return bool(await server.set(request["key"], request["value"]))
        if op == "get":
            return await server.get(request["key"])
        if op == "bootstrap":
            addresses = [(host, port) for host, port in request["addresses"]]
            return len(await server.bootstrap(addresses))
        if op == "neighbors":
            # Its own search for neighbours of a key in its last bucket looks into two buckets alone.
            buckets = server.protocol.router.buckets
            return [[node.ip, node.port] for bucket in buckets for node in bucket.get_nodes()]
        if op == "kill":
            self.dead.add(request["node"])
            server.stop()
            return True
        raise ValueError(f"unknown op {op!r}")

    async def answer(self, request):
        try:
            async with self.running:
                say({"tag": request.get("tag"), "ok": await self.do(request)})
        except Exception as error:  # The driver wants to hear of every failure.
            say({"tag": request.get("tag"), "error": f"{type(error).__name__}: {error}"})


def say(message):
    sys.stdout.write(json.dumps(message, default=lambda other: {"bytes": other.hex()}) + "\n")
    sys.stdout.flush()


async def serve(server_class, options):
    servers = []
    for _ in range(options.nodes):
        server = server_class(ksize=options.ksize)
        await server.listen(options.port, interface=options.interface)
        servers.append(server)
    say(
        {
            "event": "ready",
            "nodes": [
                {"port": s.transport.get_extra_info("sockname")[1], "id": s.node.id.hex()}
                for s in servers
            ],
        }
    )
    swarm = Swarm(servers)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    tasks = set()
    while line := await lines.readline():
        request = json.loads(line)
        if request["op"] == "quit":
            break
        task = asyncio.create_task(swarm.answer(request))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()
    for server in servers:
        server.stop()


def main(server_class):
    """Runs a swarm of `server_class` until `quit`."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--ksize", type=int, default=20)
    parser.add_argument("--interface", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of a single node; 0 is any free one")
    asyncio.run(serve(server_class, parser.parse_args()))
