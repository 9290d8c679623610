"""Real processes on a bad network: kad-actor nodes and Python nodes in network namespaces, with loss,
delay, reordering, partitions, kills, freezes and restarts. `scripts/chaos` runs it on the release binary,
`tests/chaos.rs` for a minute on the tested one.

Always holds: everything it starts ends with it, also on Ctrl-C. Ends 0 when what was judged went
right often enough and nothing was corrupt, 1 when not, 2 when it can't run here.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import compare
import report
from machines import Link, Unable
from scenario import Scenario


# What joining, and the downloads when calm is back, take at most on a busy machine.
BESIDES_SECONDS = 180.0

# The nodes' folders: whose run it is follows.
HOMES = "kad-chaos-"


def remove_leftovers():
    """Folders of runs that were killed together with their link; it has ended their nodes."""
    for name in os.listdir("/tmp"):
        whose = name.removeprefix(HOMES).split("-")[0]
        if name.startswith(HOMES) and whose.isdigit() and not os.path.exists(f"/proc/{whose}"):
            shutil.rmtree(os.path.join("/tmp", name), ignore_errors=True)


def span(text):
    begin, _, end = text.partition("-")
    return float(begin), float(end)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="Real nodes on a bad network.")
    parser.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--nodes", type=int, default=20, help="kad-actor nodes (default 20)")
    parser.add_argument("--pythons", type=int, default=5, help="Python nodes (default 5)")
    parser.add_argument("--seconds", type=float, default=300, help="of trouble (default 300)")
    # Half as many have some 360 downloads judged in five minutes, and even if all are right that proves no
    # more than 99.2 %: for 99.5 % it takes 600.
    parser.add_argument("--users", type=int, default=16, help="deeds at once (default 16)")
    parser.add_argument("--seed", type=int, help="draws the network and what happens to it")
    parser.add_argument(
        "--blow-every", type=float, default=6.0, help="seconds between kills, freezes, moves of nodes (default 6)"
    )
    parser.add_argument("--loss", type=float, default=0.02, help="share of packets (default 0.02)")
    parser.add_argument("--duplicate", type=float, default=0.01, help="(default 0.01)")
    parser.add_argument("--reorder", type=float, default=0.05, help="(default 0.05)")
    parser.add_argument("--delay-ms", type=float, nargs=2, metavar=("MIN", "MAX"), help="of a pair, one way (5 40)")
    parser.add_argument("--jitter-ms", type=float, help="on top of that, up to (4)")
    parser.add_argument(
        "--partition", type=span, action="append", metavar="FROM-TO", help="in seconds, instead of the usual"
    )
    parser.add_argument(
        "--require",
        type=float,
        default=0.995,
        help="share of right downloads (default 0.995): the share itself decides, and not what it is at least "
        "at 95 %% confidence, which is printed beside it: else one failure of 700 would fail the run",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--compare", action="store_true", help="and the simulator: into docs/figures.md")
    parser.add_argument("--keep", action="store_true", help="keep the nodes' folders and logs")
    parser.add_argument("-q", "--quiet", action="store_true", help="only the summary")
    options = parser.parse_args()
    # What is compared with the simulator has the distances of its `--link wan`.
    options.delay_ms = options.delay_ms or ([10.0, 150.0] if options.compare else [5.0, 40.0])
    options.jitter_ms = options.jitter_ms if options.jitter_ms is not None else 20.0 if options.compare else 4.0
    options.binary = os.path.abspath(options.binary)
    options.seed = random.randrange(1 << 32) if options.seed is None else options.seed
    options.log = sys.stderr
    return options


async def run(options):
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    for ending in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(ending, me.cancel)
    # Short: a Unix socket's path has 107 bytes.
    whose = "kept" if options.keep else os.getpid()
    home = tempfile.mkdtemp(prefix=f"{HOMES}{whose}-", dir="/tmp")
    link = None
    try:
        link = await Link.start(options.nodes + options.pythons, options, home)
        remove_leftovers()
        scenario = Scenario(options, link, home)
        await asyncio.wait_for(scenario.run(), options.seconds + BESIDES_SECONDS)
        figures = await link.ask("figures")
        return report.document(scenario, figures)
    finally:
        if link:
            await link.end()
        if options.keep:
            print(f"kept: {home}", file=sys.stderr)


def main():
    options = arguments()
    print(f"seed {options.seed}; again: {report.command(options)}", file=sys.stderr)
    try:
        document = asyncio.run(run(options))
    except Unable as why:
        print(f"can't run: {why}", file=sys.stderr)
        return 2
    except asyncio.TimeoutError:
        print("hangs: the run did not end in time", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("interrupted", file=sys.stderr)
        return 130
    if options.compare:
        compare.beside(document, options)
    print(json.dumps(document) if options.json else report.text(document))
    return 0 if document["passed"] else 1


sys.exit(main())
