"""What a run says in the end, for people and for programs."""

import math

from judge import percentile_ms

# Its failures are told with the downloads'.
REPEATED = "lookups"

ROWS = [
    ("downloads", "get-then-download"),
    ("lookups", "of these, and afterwards, the get"),
    ("afterwards", "the same, when calm is back"),
    ("gets", "get of what a kad-actor node set"),
    ("gets_of_python", "get of what a Python node set"),
    ("sets", "set"),
    ("uploads", "upload"),
    ("gets_by_python", "get by a Python node"),
]


def command(options):
    """What repeats the run, as far as real processes can be repeated."""
    least, most = options.delay_ms
    partitions = "".join(f" --partition {begin:g}-{end:g}" for begin, end in options.partition or [])
    return (
        f"scripts/chaos --seed {options.seed} --nodes {options.nodes} --pythons {options.pythons} "
        f"--seconds {options.seconds:g} --users {options.users} "
        f"--blow-every {options.blow_every:g} "
        f"--loss {options.loss} --duplicate {options.duplicate} --reorder {options.reorder} "
        f"--delay-ms {least:g} {most:g} --jitter-ms {options.jitter_ms:g}{partitions}"
    )


def document(scenario, figures):
    options = scenario.options
    tallies = {name: tally.document() for name, tally in scenario.tallies.items()}
    share = tallies["downloads"]["success"] or 0.0
    after = tallies["afterwards"]
    return {
        "seed": options.seed,
        "command": command(options),
        "nodes": options.nodes,
        "pythons": options.pythons,
        "seconds": options.seconds,
        "events": scenario.events,
        "link": {"rate": scenario.link.made["rate"], **figures},
        "corrupt": scenario.corrupt,
        "troubles": scenario.troubles,
        "download_ms_p50": percentile_ms(scenario.fetches, 0.5),
        "download_ms_p95": percentile_ms(scenario.fetches, 0.95),
        "join_ms_p50": percentile_ms(scenario.joins, 0.5),
        "join_ms_p95": percentile_ms(scenario.joins, 0.95),
        "hops_p50": whole(scenario.hops, 0.5),
        "hops_p95": whole(scenario.hops, 0.95),
        "dead_contacts": scenario.dead_contacts / max(1, scenario.contacts),
        **tallies,
        "required": options.require,
        "passed": share >= options.require
        and not scenario.corrupt
        and not scenario.troubles
        and after["right"] == after["judged"],
    }


def whole(numbers, share):
    milli = percentile_ms(numbers, share)
    return None if milli is None else round(milli / 1000)


def least(share):
    """Of a lower bound, which must not be rounded up."""
    # What binary fractions lose of a decimal one is no reason to lose a digit.
    return f"{math.floor(share * 1e4 + 1e-6) / 1e4:.2%}"


def proven(found):
    """What the run proves beside what it must reach: the share decides, not what it is at least."""
    downloads = found["downloads"]
    if not downloads["judged"]:
        return f"no download was judged; required: {found['required']:.2%}"
    return (
        f"right: {downloads['success']:.2%} of {downloads['judged']} downloads, at least "
        f"{least(downloads['success_lower95'])} at 95 % confidence; "
        f"required, of the share itself: {found['required']:.2%}"
    )


def text(found):
    """The summary."""
    events, link = found["events"], found["link"]
    lines = [
        f"{found['nodes']} kad-actor nodes and {found['pythons']} Python nodes for {found['seconds']:g} s: "
        f"{events['kill']} kills, {events['restart']} restarts ({events['move']} under another address), "
        f"{events['freeze']} freezes, "
        f"{events['partition']} partitions, "
        f"{events['kill python']} Python nodes killed",
        f"the link: {link['packets']} packets, {link['lost']} lost, {link['doubled']} doubled, "
        f"{link['reordered']} reordered, {link['kept_back']} kept back, {link['overflowed']} overflowed; "
        f"late by p50 {link['late_ms_p50']} ms, p99 {link['late_ms_p99']} ms; {link['rate'] or 'no tbf here'}",
        "",
        f"{'':34}{'tried':>7}{'judged':>8}{'right':>7}{'share':>9}{'lower95':>9}{'p50 ms':>9}{'p95 ms':>9}",
    ]
    for name, title in ROWS:
        row = found[name]
        share = "-" if row["success"] is None else f"{row['success']:.2%}"
        lines.append(
            f"{title:34}{row['tried']:7}{row['judged']:8}{row['right']:7}{share:>9}"
            f"{least(row['success_lower95']):>9}{row['ms_p50'] or 0:9.0f}{row['ms_p95'] or 0:9.0f}"
        )
    lines += [
        "",
        f"download alone p50 {found['download_ms_p50']} ms, p95 {found['download_ms_p95']} ms",
        f"from ready to the first peer p50 {found['join_ms_p50']} ms, p95 {found['join_ms_p95']} ms; hops p50 "
        f"{found['hops_p50']}, p95 {found['hops_p95']}; {found['dead_contacts']:.1%} of contacts dead",
        proven(found),
        f"not judged: {found['downloads']['unjudged']}",
        f"corrupt: {len(found['corrupt'])}",
        *found["corrupt"],
        *found["troubles"],
    ]
    for name, title in ROWS:
        if name == REPEATED:
            continue
        lines += [f"failed: {title}: {failure}" for failure in found[name]["failures"]]
    verdict = "passed" if found["passed"] else "FAILED"
    lines.append(f"{verdict}; seed {found['seed']}, again: {found['command']}")
    return "\n".join(lines)
