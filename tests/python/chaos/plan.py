"""What happens to the network, and when: drawn from the seed before anything starts.

Always holds: the same seed and settings give the same plan. What real processes make of it differs
from run to run: their scheduling is nobody's to repeat.
"""

import random

# What befalls a node: SIGKILL, the same and its cable is out, the same and it comes back under
# another address, SIGSTOP.
KILL, POWER, MOVE, FREEZE = "is killed", "loses its power", "moves", "freezes"
# How long it stays away.
AWAY = (2.0, 12.0)
# At most this share of the nodes is away at once.
MAX_AWAY = 0.25
# Begin and end of partitions, as shares of the run; a short run has the first only.
PARTITIONS = [(0.3, 0.45), (0.7, 0.8)]
# When all kad-actor nodes lose their power at once, in a long run.
BLACKOUT = 0.6
# When Python nodes are killed for good.
PYTHON_KILLS = [0.25, 0.75]
# What is called long.
LONG_SECONDS = 180


def draw(options):
    """Events in their order: (second, what, arguments)."""
    dice = random.Random(f"{options.seed}-plan")
    seconds, nodes, pythons = options.seconds, options.nodes, options.pythons
    events = []
    long = seconds >= LONG_SECONDS
    returns = {}
    if long:
        for node in range(nodes):
            back = BLACKOUT * seconds + dice.uniform(*AWAY)
            events.append((BLACKOUT * seconds, "kill", (node, POWER)))
            events.append((back, "restart", (node, False)))
    # No later than can still be seen to be healed.
    at = 0.0
    while (at := at + dice.uniform(0.5, 1.5) * options.blow_every) < seconds - AWAY[0]:
        away = [node for node, back in returns.items() if back > at]
        here = [node for node in range(nodes) if node not in away]
        if len(away) + 1 > max(1, MAX_AWAY * nodes):
            continue
        node, blow = dice.choice(here), dice.choice([KILL, POWER, MOVE, FREEZE])
        returns[node] = at + dice.uniform(*AWAY)
        frozen = blow == FREEZE
        events.append((at, "freeze" if frozen else "kill", (node, blow)))
        events.append((returns[node], "thaw" if frozen else "restart", (node, blow == MOVE)))
    shares = PARTITIONS if long else PARTITIONS[:1]
    for begin, end in options.partition or [(b * seconds, e * seconds) for b, e in shares]:
        machines = list(range(nodes + pythons))
        away = set(dice.sample(machines, round(0.4 * len(machines))))
        sides = [int(machine in away) for machine in machines]
        events.append((begin, "partition", (sides,)))
        events.append((end, "heal", ()))
    kills = PYTHON_KILLS if long else PYTHON_KILLS[:1]
    for at, python in zip(kills, dice.sample(range(pythons), min(pythons, len(kills)))):
        events.append((at * seconds, "kill python", (python,)))
    return sorted(events, key=lambda event: event[0])
