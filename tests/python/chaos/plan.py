"""What happens to the network, and when: drawn from the seed before anything starts.

Always holds: the same seed and settings give the same plan. What real processes make of it differs
from run to run: their scheduling is nobody's to repeat.
"""

import random

# Seconds between two kills of kad-actor nodes, when there are 20 of them.
KILL_EVERY = 6.0
# How long a killed node stays away.
AWAY = (2.0, 12.0)
# At most this share of the nodes is away at once.
MAX_AWAY = 0.25
# Begin and end of partitions, as shares of the run; a short run has the first only.
PARTITIONS = [(0.3, 0.45), (0.7, 0.8)]
# When Python nodes are killed for good.
PYTHON_KILLS = [0.25, 0.75]
# What is called long.
LONG_SECONDS = 180


def draw(seed, seconds, nodes, pythons):
    """Events in their order: (second, what, arguments)."""
    dice = random.Random(f"{seed}-plan")
    events = []
    returns = {}
    # No later than can still be seen to be healed.
    at, pause = 0.0, KILL_EVERY * 20 / nodes
    while (at := at + dice.uniform(0.5, 1.5) * pause) < seconds - AWAY[0]:
        away = [node for node, back in returns.items() if back > at]
        here = [node for node in range(nodes) if node not in away]
        if len(away) + 1 > max(1, MAX_AWAY * nodes):
            continue
        node, power = dice.choice(here), dice.random() < 0.5
        returns[node] = at + dice.uniform(*AWAY)
        events.append((at, "kill", (node, power)))
        events.append((returns[node], "restart", (node,)))
    long = seconds >= LONG_SECONDS
    for begin, end in PARTITIONS if long else PARTITIONS[:1]:
        machines = list(range(nodes + pythons))
        away = set(dice.sample(machines, round(0.4 * len(machines))))
        sides = [int(machine in away) for machine in machines]
        events.append((begin * seconds, "partition", (sides,)))
        events.append((end * seconds, "heal", ()))
    kills = PYTHON_KILLS if long else PYTHON_KILLS[:1]
    for at, python in zip(kills, dice.sample(range(pythons), min(pythons, len(kills)))):
        events.append((at * seconds, "kill python", (python,)))
    return sorted(events, key=lambda event: event[0])
