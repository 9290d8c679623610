"""The simulator, told of the same network, beside what really happened: the section "Simulator and
reality" of docs/figures.md, between its markers.

Always holds: the rest of that file stays as it is. Never: a figure that was not measured.
"""

import json
import math
import os
import subprocess
import sys

BEGIN, END = "<!-- chaos:begin -->", "<!-- chaos:end -->"
TITLE = "# Figures\n"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
FIGURES = os.path.join(ROOT, "docs", "figures.md")


def simulate(found, options):
    """What `kad-actor simulate` prints of the same network, and the command; or why it doesn't."""
    machines = found["nodes"] + found["pythons"]
    python = found["pythons"] / machines
    words = ["simulate", "--nodes", str(machines), "--python", f"{python:.2f}", "--seed", str(found["seed"])]
    # Its --reorder is the share that is the default here.
    words += ["--loss", str(options.loss), "--duplicate", str(options.duplicate), "--reorder"]
    kills = found["events"]["kill"]
    if kills:
        # Of sessions that end at random, half are shorter than ln 2 of their mean.
        median = found["nodes"] * found["seconds"] / kills * math.log(2)
        words += ["--session-median", f"{median:.0f}s", "--returning", "1"]
    command = [options.binary, *words, "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    shown = f"kad-actor {' '.join(words)}"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended without a word"]
        return None, shown, lines[-1]
    return json.loads(done.stdout), shown, None


def rows(found, simulated):
    """(what, simulator, reality)"""
    lookups, unknown = found["lookups"], "–"
    told = simulated or {}

    def number(value, form):
        return unknown if value is None else form.format(value)

    def success(judged, right, lower):
        if not judged:
            return unknown
        return f"{right / judged:.3%} (at least {lower:.3%})"

    sim_lookups, failures = told.get("lookups"), told.get("failures")
    sim_success = unknown
    if sim_lookups and failures is not None:
        sim_success = success(sim_lookups, sim_lookups - failures, told.get("success_lower95", 0.0))
    real_success = success(lookups["judged"], lookups["right"], lookups["success_lower95"])
    yield "lookups", number(sim_lookups, "{:,}"), f"{lookups['judged']:,}"
    yield "found (95 % lower bound)", sim_success, real_success
    for share in ("p50", "p95"):
        simulated_ms = number(told.get(f"latency_ms_{share}"), "{:.0f} ms")
        yield f"latency {share}", simulated_ms, number(lookups[f"ms_{share}"], "{:.0f} ms")
    for share in ("p50", "p95"):
        yield f"hops {share}", number(told.get(f"hops_{share}"), "{}"), number(found[f"hops_{share}"], "{}")
    yield "dead contacts", number(told.get("dead_contacts"), "{:.1%}"), f"{found['dead_contacts']:.1%}"
    yield "requests a lookup", number(told.get("rpcs_per_lookup"), "{:.1f}"), unknown
    downloads = found["downloads"]
    real = success(downloads["judged"], downloads["right"], downloads["success_lower95"])
    yield "get-then-download right", unknown, f"{real} of {downloads['judged']:,}"
    yield "corrupt files", unknown, str(len(found["corrupt"]))


def section(found, simulated, command, why_not):
    words = ["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True).stdout.strip() or "unknown"
    state = (simulated or {}).get("state_hash", "unknown")
    lines = [
        "## Simulator and reality",
        "",
        "The same scenario twice: real processes in network namespaces, on a link in user space, and the",
        "simulator with as many nodes, the same distances, loss, duplicates and reordering, and sessions of the",
        "same median. Beside Python peers simulated nodes speak the dialect of PyPI's package, in which a key",
        "has one value; the real ones speak that of the course. The partitions, frozen nodes, files and other",
        "users of the machine are in the reality only. Written by `scripts/chaos --compare`; of the simulator",
        "that commit prints the same again, of reality it repeats the plan.",
        "",
        f"- reality: `{found['command']}`: {found['nodes']} kad-actor and {found['pythons']} Python nodes, "
        f"{found['events']['kill']} kills and {found['events']['restart']} restarts, "
        f"{found['events']['partition']} partitions, in {found['seconds']:g} s",
        f"- simulator: `{command}`, commit {commit}, state {state}" + (f" (not in this build: {why_not})" if why_not else ""),
        "",
        "| | simulator | reality |",
        "|---|---|---|",
        *(f"| {what} | {simulated_} | {real} |" for what, simulated_, real in rows(found, simulated)),
    ]
    return "\n".join(lines)


def put(text, whole):
    """The file with the section in its place: between the markers, else at the end."""
    block = f"{BEGIN}\n{text}\n{END}"
    before, begin, rest = whole.partition(BEGIN)
    if begin:
        _, end, after = rest.partition(END)
        return before + block + (after if end else "\n")
    return (whole or TITLE).rstrip("\n") + f"\n\n{block}\n"


def beside(found, options):
    """Runs the simulator and writes the section."""
    simulated, command, why_not = simulate(found, options)
    if why_not:
        print(f"the simulator can't be asked: {why_not}", file=sys.stderr)
    found["simulator"] = simulated
    whole = ""
    if os.path.exists(FIGURES):
        with open(FIGURES) as file:
            whole = file.read()
    with open(FIGURES, "w") as file:
        file.write(put(section(found, simulated, command, why_not), whole))
    print(f"written: {os.path.relpath(FIGURES)}", file=sys.stderr)
