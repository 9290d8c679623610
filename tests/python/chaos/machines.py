"""The machines of a chaos run: kad-actor nodes and Python nodes, each in a network namespace, on the
bad network of link.py.

Always holds: what runs here ends with the link (it kills what is in its namespaces), even when this
process is killed. Never: a signal to anything but a process that was started here.
"""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time

PORT = 8468
TOOLS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# An answer line of a node: `values` and `ls` may be long.
LINE_BYTES = 8 << 20
# Long enough for anything healthy on a busy machine; only a hang takes longer.
PATIENCE = 60.0
# A node that was moved has published its shares anew this long after it was ready.
MOVED_SECONDS = 10.0


class Refused(Exception):
    """An answer with an `error`: its code and message."""

    def __init__(self, error):
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code = error.get("code", "")


class Unable(Exception):
    """This can't run on this machine."""


async def start(program, *words, **options):
    return await asyncio.create_subprocess_exec(
        program, *words, limit=LINE_BYTES, start_new_session=True, **options
    )


class Link:
    """The driver's side of link.py."""

    @classmethod
    async def start(cls, count, options, home):
        words = ["--machines", str(count), "--seed", str(options.seed), "--home", home]
        for share in ("loss", "duplicate", "reorder"):
            words += [f"--{share}", str(getattr(options, share))]
        words += ["--delay-ms", *map(str, options.delay_ms), "--jitter-ms", str(options.jitter_ms)]
        words += ["--keep"] if options.keep else []
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        self = cls()
        self.lock = asyncio.Lock()
        script = os.path.join(TOOLS, "link.py")
        self.process = await start(sys.executable, script, *words, **pipes)
        line = await self.process.stdout.readline()
        self.made = json.loads(line) if line else {"error": "link.py ended"}
        if "error" in self.made:
            raise Unable(f"no network namespaces with TUN devices: {self.made['error']}")
        return self

    async def ask(self, op, **order):
        async with self.lock:
            self.process.stdin.write((json.dumps({"op": op, **order}) + "\n").encode())
            line = await self.process.stdout.readline()
            if not line:
                raise RuntimeError("link.py has ended, and the network with it")
            return json.loads(line)["ok"]

    async def end(self):
        """Everything on the network ends with it."""
        self.process.stdin.close()
        await self.process.wait()


class Machine:
    """A namespace, and what it has lived through."""

    def __init__(self, number, link, home):
        self.number = number
        self.link = link
        self.namespace = link.made["namespaces"][number]
        self.address = link.made["addresses"][number]
        self.home = os.path.join(home, f"{number:02}")
        os.mkdir(self.home)
        self.process = None
        # Since when it serves; none while it doesn't.
        self.living_since = None
        # Until when what it shares may still be known under an earlier address.
        self.moved_until = 0.0
        self.frozen = self.starting = False
        self.starts = 0

    def __str__(self):
        return f"node {self.number}"

    @property
    def living(self):
        return self.living_since is not None

    def lived_since(self, moment):
        return self.living and self.living_since <= moment

    async def spawn(self, *command, **options):
        """Starts something on this machine, with its log in the machine's folder."""
        self.starts += 1
        with open(os.path.join(self.home, f"log.{self.starts}"), "wb") as log:
            self.process = await start(
                "ip", "netns", "exec", self.namespace, *command,
                stdout=asyncio.subprocess.PIPE, stderr=log, cwd=self.home, **options,
            )
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
        if not line:
            with open(os.path.join(self.home, f"log.{self.starts}"), "rb") as log:
                tail = log.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"{self} never got ready: {tail}")
        return json.loads(line)

    async def kill(self, power=False):
        """SIGKILL; where the power goes too, no packet tells anyone."""
        self.living_since = None
        if power:
            await self.link.ask("dark", machine=self.number)
        self.process.kill()
        await self.process.wait()


    def move(self):
        """To another address of its own, before it starts."""
        _, net, third, last = self.address.split(".")
        new = f"10.{net}.{int(third) + 1}.{last}"
        for change in (f"del {self.address}/16", f"add {new}/16"):
            subprocess.run(["ip", "-n", self.namespace, "addr", *change.split(), "dev", "lan"], check=True)
        self.address = new
        self.moved_until = math.inf

    def settle(self):
        """It lives, and joins: from now on it has so long to tell its new address."""
        if self.moved_until == math.inf:
            self.moved_until = time.monotonic() + MOVED_SECONDS

    def freeze(self):
        """SIGSTOP: its kernel still accepts connections, and nobody answers on them."""
        self.living_since, self.frozen = None, True
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)
        self.living_since, self.frozen = time.monotonic(), False


class Node(Machine):
    """A kad-actor node."""

    def __init__(self, number, link, home, options):
        super().__init__(number, link, home)
        self.options = options
        self.data = os.path.join(self.home, "d")
        self.socket = os.path.join(self.data, "node.sock")
        self.bootstrap = []
        settings = {n: v for n, v in os.environ.items() if not n.startswith("KAD_ACTOR_")}
        self.environment = {
            **settings, "NO_COLOR": "1",
            "XDG_CONFIG_HOME": self.home, "XDG_DATA_HOME": self.home,
        }

    async def run(self):
        """Starts it, also again: with the data it had."""
        self.starting = True
        await self.link.ask("light", machine=self.number)
        flags = [word for peer in self.bootstrap for word in ("--bootstrap", peer)]
        await self.spawn(
            self.options.binary, "node", "--json", "-v", "--data-dir", self.data,
            "--listen", f"0.0.0.0:{PORT}", "--admin-listen", "off", *flags,
            stdin=asyncio.subprocess.DEVNULL, env=self.environment,
        )
        self.starting, self.living_since = False, time.monotonic()
        self.settle()

    async def ask(self, op, **request):
        """One request on a connection of its own."""
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=LINE_BYTES)
        try:
            writer.write((json.dumps({"op": op, **request}) + "\n").encode())
            while True:
                line = await asyncio.wait_for(reader.readline(), PATIENCE)
                if not line:
                    raise ConnectionError("hung up")
                reply = json.loads(line)
                if "ok" in reply:
                    return reply["ok"]
                if "error" in reply:
                    raise Refused(reply["error"])
        finally:
            writer.close()

    async def command(self, *words):
        """A verb of the command line: its JSON, and its exit code's failure as Refused."""
        process = await start(
            self.options.binary, "--json", "--data-dir", self.data, *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env=self.environment, cwd=self.home,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), PATIENCE + 10)
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode == 0:
            return json.loads(out)
        lines = err.decode(errors="replace").strip().splitlines() or ["no word"]
        try:
            raise Refused(json.loads(lines[-1])["error"])
        except (ValueError, KeyError, TypeError):
            raise Refused({"code": f"exit {process.returncode}", "message": lines[-1]}) from None


class Python(Machine):
    """A node of the Python network's list dialect."""

    async def run(self):
        script = os.path.join(TOOLS, "list_nodes.py")
        words = ["--nodes", "1", "--interface", self.address, "--port", str(PORT)]
        await self.spawn(sys.executable, script, *words, stdin=asyncio.subprocess.PIPE)
        self.waiting = {}
        self.number_of_requests = 0
        self.reading = asyncio.create_task(self.read())
        self.living_since = time.monotonic()

    async def read(self):
        while line := await self.process.stdout.readline():
            answer = json.loads(line)
            future = self.waiting.pop(answer["tag"], None)
            if future and not future.done():
                future.set_result(answer)
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("hung up"))

    async def ask(self, op, **request):
        self.number_of_requests += 1
        tag = self.number_of_requests
        future = self.waiting[tag] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(
            (json.dumps({"tag": tag, "op": op, "node": 0, **request}) + "\n").encode()
        )
        answer = await asyncio.wait_for(future, PATIENCE)
        if "error" in answer:
            raise Refused({"code": "python", "message": answer["error"]})
        return answer["ok"]
