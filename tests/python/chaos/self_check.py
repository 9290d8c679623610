"""Checks the judge, the plan and the writer of figures by themselves: a judge who lets everything
pass proves nothing."""

import sys
import time
from types import SimpleNamespace

from compare import BEGIN, END, put
from judge import Judge, Sides, Tally, lower95, percentile_ms
from plan import draw
from report import proven


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"self_check: {what}: got {got!r}, wanted {wanted!r}")


class Machine:
    def __init__(self, number, since, moved_until=0.0):
        self.number, self.since, self.moved_until = number, since, moved_until

    def lived_since(self, moment):
        return self.since is not None and self.since <= moment


def check_judge():
    now = time.monotonic()
    sides = Sides(3)
    judge = Judge(sides)
    since = time.monotonic()
    asker, owner, young = Machine(0, now), Machine(1, now), Machine(2, since + 1)
    why = lambda asker, owners: judge.why_not(asker, owners, since)
    expect("all lived", why(asker, {owner: now}), None)
    expect("the asker is young", why(young, {owner: now}) is None, False)
    expect("the asker is dead", why(Machine(0, None), {owner: now}) is None, False)
    expect("the owner is dead", why(asker, {Machine(1, None): now}), "no owner lived throughout")
    expect("one owner of two lived", why(asker, {young: now, owner: now}), None)
    expect("told too late", why(asker, {owner: since + 1}), "nobody had it yet")
    expect("it moved", why(asker, {Machine(1, now, since + 1): now}), "the owners had just moved")
    sides.now([0, 1, 1])
    expect("parted", why(asker, {owner: now}), "the owners were beyond a partition")
    expect("on the same side", why(young, {owner: now}) is None, False)
    expect("parted from another", why(Machine(2, now), {owner: now}), None)
    sides.now([0, 0, 0])
    expect("parted meanwhile", why(asker, {owner: now}), "the owners were beyond a partition")
    healed = time.monotonic()
    expect("healed before", judge.why_not(asker, {owner: now}, healed), None)


def check_figures():
    tally = Tally()
    for number in range(10):
        tally.count("not fair" if number < 2 else None, number != 5, number, lambda: "told")
    found = tally.document()
    figures = [found[name] for name in ("tried", "judged", "right", "failures")]
    expect("a tally", figures, [10, 8, 7, ["told"]])
    # By hand: 0.05 ** (1 / n) when all were right.
    expect("all of 998", lower95(998, 998), round(0.05 ** (1 / 998), 5))
    expect("none of none", lower95(0, 0), 0.0)
    # The tables of the binomial distribution: 7 or more of 8 have 5 % at 0.529.
    expect("7 of 8", round(lower95(7, 8), 3), 0.529)
    expect("a percentile", percentile_ms([0.001 * n for n in range(1, 101)], 0.95), 95.0)


def check_summary():
    downloads = {"judged": 700, "success": 699 / 700, "success_lower95": lower95(699, 700)}
    expect(
        "what is proven",
        proven({"downloads": downloads, "required": 0.995}),
        "right: 99.86% of 700 downloads, at least 99.32% at 95 % confidence; required, of the share itself: 99.50%",
    )
    nothing = {"judged": 0, "success": None, "success_lower95": 0.0}
    expect(
        "nothing is proven",
        proven({"downloads": nothing, "required": 0.995}),
        "no download was judged; required: 99.50%",
    )


def check_plan():
    options = SimpleNamespace(
        seed=1, seconds=300.0, nodes=20, pythons=5, partition=None, blow_every=6.0
    )
    events = draw(options)
    expect("the same seed, the same plan", draw(options), events)
    options.seed = 2
    expect("another seed, another plan", draw(options) == events, False)
    expect("in order", [e[0] for e in events], sorted(e[0] for e in events))


def check_writer():
    section = f"{BEGIN}\nnew\n{END}"
    expect("a new file", put("new", ""), f"# Figures\n\n{section}\n")
    expect("an end", put("new", "# F\n\ntext\n"), f"# F\n\ntext\n\n{section}\n")
    expect("a place", put("new", f"a\n{BEGIN}\nold\n{END}\nz\n"), f"a\n{section}\nz\n")


check_judge()
check_figures()
check_summary()
check_plan()
check_writer()
print("self_check: the judge of the chaos runs is just")
