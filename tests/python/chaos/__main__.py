"""Real processes on a bad network: kad-actor nodes and Python nodes in network namespaces, with loss,
delay, reordering, partitions, kills and restarts. `scripts/chaos` runs it on the release binary,
`tests/chaos.rs` for a minute on the tested one.

Always holds: everything it starts ends with it, also on Ctrl-C. Ends 0 when what was judged went
right often enough and nothing was corrupt, 1 when not, 2 when it can't run here.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import report
from machines import Link, Unable
from scenario import Scenario


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="Real nodes on a bad network.")
    parser.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--nodes", type=int, default=20, help="kad-actor nodes (default 20)")
    parser.add_argument("--pythons", type=int, default=5, help="Python nodes (default 5)")
    parser.add_argument("--seconds", type=float, default=300, help="of trouble (default 300)")
    parser.add_argument("--users", type=int, default=8, help="deeds at once (default 8)")
    parser.add_argument("--seed", type=int, help="draws the network and what happens to it")
    parser.add_argument("--require", type=float, default=0.995, help="share of right downloads")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--keep", action="store_true", help="keep the nodes' folders and logs")
    parser.add_argument("-q", "--quiet", action="store_true", help="only the summary")
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)
    options.seed = random.randrange(1 << 32) if options.seed is None else options.seed
    options.log = sys.stderr
    return options


async def run(options):
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    for ending in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(ending, me.cancel)
    # Short: a Unix socket's path has 107 bytes.
    home = tempfile.mkdtemp(prefix="kad-chaos-", dir="/tmp")
    link = None
    try:
        link = await Link.start(options.nodes + options.pythons, options, home)
        scenario = Scenario(options, link, home)
        await scenario.run()
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
    except asyncio.CancelledError:
        print("interrupted", file=sys.stderr)
        return 130
    print(json.dumps(document) if options.json else report.text(document))
    return 0 if document["passed"] else 1


sys.exit(main())
