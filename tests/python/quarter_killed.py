"""What eighty Python DHT nodes on one machine do when a quarter of them is killed.

    target/python/bin/python tests/python/quarter_killed.py

Prints how many of 40 keys were found, and how long gets and sets took: what the simulated ones of
tests/sim_python.rs are compared with. Takes about two minutes: a dead peer costs 5 s a round.
"""

import asyncio
import logging
import random
import statistics
import time

from kademlia.network import Server

NODES = 80
KEYS = 40
AT_ONCE = 10

logging.disable(logging.CRITICAL)


async def start():
    servers = []
    for _ in range(NODES):
        server = Server()
        await server.listen(0, interface="127.0.0.1")
        if servers:
            known = random.choice(servers).transport.get_extra_info("sockname")
            await server.bootstrap([known])
        servers.append(server)
    await asyncio.sleep(3)
    return servers


async def timed(call, took):
    begun = time.monotonic()
    result = await call
    took.append(time.monotonic() - begun)
    return result


async def main():
    random.seed(1)
    servers = await start()
    for n in range(KEYS):
        await servers[n].set(f"key {n}", "v")
    for server in servers[::4]:
        server.stop()
    gets, sets = [], []

    async def ask(n):
        server = servers[n * 2 + 1]
        found = await timed(server.get(f"key {n}"), gets)
        await timed(server.set(f"late {n}", "v"), sets)
        return found == "v"

    found = 0
    for first in range(0, KEYS, AT_ONCE):
        found += sum(await asyncio.gather(*map(ask, range(first, first + AT_ONCE))))
    p95 = sorted(gets)[KEYS * 95 // 100]
    print(
        f"{found} of {KEYS} found; get p95 {p95:.2f} s; "
        f"set p50 {statistics.median(sets):.1f} s, mean {statistics.mean(sets):.1f} s"
    )


asyncio.run(main())
