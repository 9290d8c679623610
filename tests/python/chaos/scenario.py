"""The run: nodes join, files are uploaded at some and downloaded at others, keys set and got, while
the plan's misfortunes happen; then calm returns, and everything must work.

Always holds: each download's bytes are compared with what was uploaded. Never: an operation is
tried twice.
"""

import asyncio
import hashlib
import os
import random
import time

from judge import GONE, Judge, Sides, Tally
from machines import PORT, Node, Python, Refused
from plan import KILL, draw

# Sizes of files in bytes, each up to so many, and how often.
SIZES = [(1_000, 25), (65_536, 35), (262_144, 25), (1 << 20, 10), (3 << 20, 5)]
# What users do, and how often.
DEEDS = [("download", 76), ("upload", 6), ("set", 5), ("get", 9), ("get by Python", 4)]
# Between two deeds of one user.
PAUSE = (0.0, 0.4)
# Longer than that, a download is a failure.
DOWNLOAD_SECONDS = 60
# Nodes that start at once.
STARTING = 4
# Downloads after the storm, at most; and how long after its end they begin.
AFTERWARDS = 60
CALM_SECONDS = 10.0
# How often a node is looked into.
LOOK_EVERY = 1.0
# Events that befall one kad-actor node.
NODE_EVENTS = {"kill", "freeze", "restart", "thaw"}

# What an operation meets whose node is killed meanwhile.
TROUBLES = (Refused, OSError, ConnectionError, asyncio.TimeoutError, EOFError)


class File:
    def __init__(self, name, seed, size):
        self.name = name
        self.content = random.Random(f"{seed}-{name}").randbytes(size)
        self.hash = hashlib.sha256(self.content).digest()
        # Who shares it, and since when we were told so.
        self.owners = {}


class Entry:
    """A key and its one value."""

    def __init__(self, key, publisher):
        self.key, self.value = key, f"value of {key}"
        self.publisher = publisher
        self.owners = {}


class Scenario:
    def __init__(self, options, link, home):
        self.options = options
        self.link = link
        self.nodes = [Node(n, link, home, options) for n in range(options.nodes)]
        count = options.nodes + options.pythons
        self.pythons = [Python(n, link, home) for n in range(options.nodes, count)]
        self.machines = self.nodes + self.pythons
        self.sides = Sides(count)
        self.judge = Judge(self.sides)
        self.dice = random.Random(f"{options.seed}-users")
        self.files, self.entries = [], []
        names = ["downloads", "lookups", "gets", "gets_of_python", "gets_by_python", "sets", "uploads", "afterwards"]
        self.tallies = {name: Tally() for name in names}
        self.fetches = []
        self.corrupt = []
        self.joins, self.hops = [], []
        self.contacts = self.dead_contacts = 0
        kinds = ["kill", "restart", "move", "freeze", "thaw", "partition", "heal", "kill python"]
        self.events = dict.fromkeys(kinds, 0)
        self.numbers = iter(range(1, 1_000_000))
        self.troubles = []
        self.begun = time.monotonic()

    def tell(self, text):
        if not self.options.quiet:
            print(f"{time.monotonic() - self.begun:7.1f} s  {text}", flush=True, file=self.options.log)

    # -- the network -----------------------------------------------------------------------------

    async def build(self):
        first, second = self.nodes[0], self.nodes[1]
        addresses = [f"{machine.address}:{PORT}" for machine in (first, second)]
        for node in self.nodes:
            node.bootstrap = [a for a in addresses if not a.startswith(f"{node.address}:")]
        await self.start(first)
        gate = asyncio.Semaphore(STARTING)

        async def gated(work):
            async with gate:
                await work

        await asyncio.gather(*(gated(self.start(node)) for node in self.nodes[1:]))
        await asyncio.gather(*(gated(self.start_python(python)) for python in self.pythons))

    async def start(self, node):
        """Until it knows a peer, where there is one."""
        await node.run()
        since = time.monotonic()
        while node.lived_since(since) and node is not self.nodes[0]:
            if (await node.ask("status"))["peers"]:
                break
            await asyncio.sleep(0.05)
        self.joins.append(time.monotonic() - since)

    async def start_python(self, python):
        await python.run()
        first = [[node.address, PORT] for node in self.nodes[:2]]
        while not await python.ask("bootstrap", addresses=first):
            await asyncio.sleep(0.5)

    async def happen(self, what, arguments):
        """One event of the plan; what befalls a node that is still starting passes it by."""
        node = self.nodes[arguments[0]] if what in NODE_EVENTS else None
        if node and (node.starting or node.living == (what in ("restart", "thaw"))):
            return
        # A frozen one only thaws: the restart was of an earlier blow.
        if node and node.frozen != (what == "thaw"):
            return
        self.events[what] += 1
        if what == "kill":
            self.tell(f"{node} {arguments[1]}")
            await node.kill(power=arguments[1] != KILL)
        elif what == "freeze":
            self.tell(f"{node} freezes")
            node.freeze()
        elif what == "thaw":
            self.tell(f"{node} thaws")
            node.thaw()
        elif what == "restart":
            self.tell(f"{node} starts again" + (" under another address" if arguments[1] else ""))
            await self.restart(node, move=arguments[1])
        elif what == "kill python":
            self.tell(f"Python node {arguments[0]} is killed")
            await self.pythons[arguments[0]].kill()
        elif what == "partition":
            self.tell(f"a partition: {sum(arguments[0])} machines on the other side")
            # Noted before it is there, and gone before that is noted: never judged too harshly.
            self.sides.now(arguments[0])
            await self.link.ask("partition", sides=arguments[0])
        else:
            self.tell("the partition is over")
            await self.link.ask("heal")
            self.sides.now([0] * len(self.machines))

    async def restart(self, node, move=False):
        if node.starting:
            return
        try:
            if move:
                node.move()
                self.events["move"] += 1
            await node.run()
        except Exception as error:
            self.troubles.append(f"{node} did not start again: {error}")
            return
        since = time.monotonic()
        while node.lived_since(since):
            try:
                if (await node.ask("status"))["peers"]:
                    self.joins.append(time.monotonic() - since)
                    return
            except TROUBLES:
                pass
            await asyncio.sleep(0.05)

    async def misfortunes(self, seconds):
        tasks = []
        for at, what, arguments in draw(self.options):
            await asyncio.sleep(max(0.0, self.begun + at - time.monotonic()))
            if at >= seconds:
                break
            tasks.append(asyncio.create_task(self.happen(what, arguments)))
        await asyncio.gather(*tasks)

    async def calm(self):
        """The end of all trouble: everybody is back, nothing stands between them."""
        if self.sides.parted:
            await self.happen("heal", ())
        for node in self.nodes:
            if node.frozen:
                node.thaw()
        dead = [node for node in self.nodes if not node.living]
        await asyncio.gather(*(self.restart(node) for node in dead))

    # -- users -----------------------------------------------------------------------------------

    async def user(self, until):
        deeds, weights = zip(*DEEDS)
        while time.monotonic() < until:
            deed = self.dice.choices(deeds, weights)[0]
            node = self.choose(self.nodes)
            if node is None:
                await asyncio.sleep(0.1)
            elif deed == "download":
                wanted = [file for file in self.files if node not in file.owners]
                if wanted:
                    await self.download(node, self.dice.choice(wanted), self.tallies["downloads"])
            elif deed == "upload":
                await self.upload(node)
            elif deed == "set":
                await self.set(self.choose(self.machines))
            elif self.entries and deed == "get":
                await self.get(node, self.dice.choice(self.entries))
            elif self.entries and (python := self.choose(self.pythons)):
                await self.get(python, self.dice.choice(self.entries))
            await asyncio.sleep(self.dice.uniform(*PAUSE))

    def choose(self, machines):
        living = [machine for machine in machines if machine.living]
        return self.dice.choice(living) if living else None

    async def upload(self, node):
        most, = self.dice.choices([s for s, _ in SIZES], [w for _, w in SIZES])
        name = f"file-{next(self.numbers)}.bin"
        file = File(name, self.options.seed, self.dice.randint(1, most))
        path = os.path.join(node.home, name)
        with open(path, "wb") as out:
            out.write(file.content)
        since = time.monotonic()
        answer, trouble = await attempt(node.ask("upload", path=path))
        right = bool(answer) and answer["stored"] > 0
        took = time.monotonic() - since
        why_not = None if node.lived_since(since) else GONE
        self.tallies["uploads"].count(why_not, right, took, lambda: f"{node}: {name}: {trouble or answer}")
        if right and node.living:
            file.owners[node] = time.monotonic()
            self.files.append(file)

    async def download(self, node, file, tally):
        """get-then-download, and a look at every byte."""
        since = time.monotonic()
        got, trouble = await attempt(node.ask("get", key=file.name))
        found = time.monotonic() - since
        share = self.dice.random() < 0.5
        folder = os.path.join(node.home, "got")
        os.makedirs(folder, exist_ok=True)
        # A download that a killed node goes on with later must not stand in the way of another.
        path = os.path.join(folder, f"{next(self.numbers)}-{file.name}")
        words = ["download", file.name, "-o", path, "--timeout", f"{DOWNLOAD_SECONDS}s"]
        asked = time.monotonic()
        saved, worse = await attempt(node.command(*words, *([] if share else ["--no-share"])))
        took = time.monotonic() - asked
        same = saved is not None and self.compare(path, file)
        owners = self.judge.reachable(node, file.owners, since)
        values = [entry["value"] for entry in got["values"]] if got else []
        named = any(f"//{owner.address}:{PORT}/" in str(v) for owner in owners for v in values)
        if same:
            self.fetches.append(took)
        why_not = self.judge.why_not(node, file.owners, since)
        told = lambda: (
            f"{time.monotonic() - self.begun:.1f} s: {node} (up {self.age(node):.1f} s), {file.name} of "
            f"{len(file.content)} bytes from {', '.join(map(str, owners))}; sides changed "
            f"{self.sides.last_change():.1f} s ago; get: {trouble or values} in {found:.2f} s; "
            f"download: {worse or saved['sources']} in {took:.2f} s"
        )
        self.tallies["lookups"].count(why_not, named, found, told)
        tally.count(why_not, named and same, time.monotonic() - since, told)
        if why_not is None and not (named and same):
            self.tell(f"FAILED {told()}")
        if saved and share and node.living and saved["stored"]:
            file.owners.setdefault(node, time.monotonic())
        if saved and not share:
            os.unlink(path)

    def age(self, machine):
        return time.monotonic() - machine.living_since if machine.living else 0.0

    def compare(self, path, file):
        with open(path, "rb") as saved:
            content = saved.read()
        if content == file.content:
            return True
        self.corrupt.append(f"{path}: {len(content)} bytes of {len(file.content)}")
        return False

    async def set(self, machine):
        entry = Entry(f"key-{next(self.numbers)}", machine)
        since = time.monotonic()
        answer, trouble = await attempt(machine.ask("set", key=entry.key, value=entry.value))
        right = answer is True or bool(answer) and answer["stored"] > 0
        took = time.monotonic() - since
        if machine in self.nodes:
            why_not = None if machine.lived_since(since) else GONE
            self.tallies["sets"].count(why_not, right, took, lambda: f"{machine}: {entry.key}: {trouble or answer}")
        if right and machine.living:
            entry.owners[machine] = time.monotonic()
            self.entries.append(entry)

    async def get(self, machine, entry):
        since = time.monotonic()
        answer, trouble = await attempt(machine.ask("get", key=entry.key))
        took = time.monotonic() - since
        if machine in self.pythons:
            name, values = "gets_by_python", answer or []
        else:
            name = "gets_of_python" if entry.publisher in self.pythons else "gets"
            values = [value["value"] for value in answer["values"]] if answer else []
        told = lambda: (
            f"{time.monotonic() - self.begun:.1f} s: {machine} (up {self.age(machine):.1f} s), {entry.key} of "
            f"{entry.publisher}; sides changed {self.sides.last_change():.1f} s ago: "
            f"{trouble or values} in {took:.2f} s"
        )
        why_not = self.judge.why_not(machine, entry.owners, since)
        self.tallies[name].count(why_not, entry.value in values, took, told)

    # -- looking on ------------------------------------------------------------------------------

    async def look(self, until):
        """How much of the routing tables is dead, and how far lookups go."""
        while time.monotonic() < until:
            await asyncio.sleep(LOOK_EVERY)
            node = self.choose(self.nodes)
            if node is None or not self.files:
                continue
            peers, _ = await attempt(node.ask("peers"))
            for peer in peers["peers"] if peers else []:
                self.contacts += 1
                ip = peer["address"].split(":")[0]
                self.dead_contacts += not any(m.living and m.address == ip for m in self.machines)
            name = self.dice.choice(self.files).name
            held, _ = await attempt(node.ask("values", key=name))
            trace, _ = await attempt(node.ask("lookup", key=name))
            if held and held["values"]:
                self.hops.append(0)
                continue
            for hop in trace["hops"] if trace else []:
                if hop["answer"] == "values":
                    self.hops.append(hop["hop"])
                    break

    def scan(self):
        """Whatever stands under a final name, also of downloads that nobody waited for."""
        by_name = {file.name: file for file in self.files}
        for node in self.nodes:
            folder = os.path.join(node.home, "got")
            for entry in os.scandir(folder) if os.path.isdir(folder) else []:
                file = by_name.get(entry.name.partition("-")[2])
                if file and not entry.name.startswith("."):
                    self.compare(entry.path, file)

    async def run(self):
        await self.build()
        self.tell(f"{len(self.nodes)} nodes and {len(self.pythons)} Python nodes have joined")
        await asyncio.gather(*(self.upload(node) for node in self.nodes))
        seconds = self.options.seconds
        self.begun = time.monotonic()
        until = self.begun + seconds
        users = [self.user(until) for _ in range(self.options.users)]
        await asyncio.gather(self.misfortunes(seconds), self.look(until), *users)
        await self.calm()
        await asyncio.sleep(CALM_SECONDS)
        self.tell("afterwards")
        await self.afterwards()
        self.scan()

    async def afterwards(self):
        gate = asyncio.Semaphore(self.options.users)

        async def one(file):
            async with gate:
                others = [node for node in self.nodes if node not in file.owners]
                if others:
                    await self.download(self.dice.choice(others), file, self.tallies["afterwards"])

        files = self.dice.sample(self.files, min(AFTERWARDS, len(self.files)))
        await asyncio.gather(*(one(file) for file in files))


async def attempt(work):
    """An answer, or the trouble instead."""
    try:
        return await work, None
    except TROUBLES as trouble:
        return None, f"{type(trouble).__name__} {trouble}"
