"""What counts. A get, or a get-then-download, is judged when all through it the asker lived, and so
did somebody who has what is asked for (and was told so before), with no partition between the two.
Then it must be right. All others may fail: they are counted apart, with the reason. A file of wrong
bytes under its final name is corrupt, whoever lived.

Always holds: no moment of mercy is given to a node that has just started, or to a network that has
just healed; one that comes back under another address has ten seconds to tell it.
"""

import math
import time
from collections import Counter

# Why an operation of a node that was killed or frozen meanwhile is not judged.
GONE = "the asker did not live throughout"
# Failures told in full; further ones are only counted.
MAX_TOLD = 40


class Sides:
    """Who could reach whom, and when."""

    def __init__(self, count):
        self.count = count
        self.history = [(time.monotonic(), [0] * count)]

    def now(self, sides):
        self.history.append((time.monotonic(), sides))

    @property
    def parted(self):
        return len(set(self.history[-1][1])) > 1

    def joined_since(self, a, b, moment):
        """Whether nothing has stood between two machines since then."""
        for since, sides in reversed(self.history):
            if sides[a.number] != sides[b.number]:
                return False
            if since <= moment:
                break
        return True

    def last_change(self):
        return time.monotonic() - self.history[-1][0]


class Tally:
    """How often something was tried, and what came of it."""

    def __init__(self):
        self.tried = self.judged = self.right = 0
        self.unjudged = Counter()
        self.failures = []
        self.seconds = []

    def count(self, why_not, right, seconds, failure):
        """`why_not` says why this can't be judged; `failure` describes it when it went wrong."""
        self.tried += 1
        if right:
            self.seconds.append(seconds)
        if why_not:
            self.unjudged[why_not] += 1
            return
        self.judged += 1
        if right:
            self.right += 1
        elif len(self.failures) < MAX_TOLD:
            self.failures.append(failure())

    def document(self):
        return {
            "tried": self.tried,
            "judged": self.judged,
            "right": self.right,
            "success": self.right / self.judged if self.judged else None,
            "success_lower95": lower95(self.right, self.judged),
            "unjudged": dict(self.unjudged),
            "ms_p50": percentile_ms(self.seconds, 0.5),
            "ms_p95": percentile_ms(self.seconds, 0.95),
            "failures": self.failures,
        }


class Judge:
    """Knows who has what."""

    def __init__(self, sides):
        self.sides = sides

    def why_not(self, asker, owners, since):
        """Why an operation that began then can't be judged; None when it must be right."""
        if not asker.lived_since(since):
            return GONE
        told = [owner for owner, moment in owners.items() if moment <= since]
        if not told:
            return "nobody had it yet"
        living = [owner for owner in told if owner.lived_since(since)]
        if not living:
            return "no owner lived throughout"
        settled = [owner for owner in living if owner.moved_until <= since]
        if not settled:
            return "the owners had just moved"
        if not self.reachable(asker, owners, since):
            return "the owners were beyond a partition"
        return None

    def reachable(self, asker, owners, since):
        return [
            owner
            for owner, told in owners.items()
            if max(told, owner.moved_until) <= since
            and owner.lived_since(since)
            and self.sides.joined_since(asker, owner, since)
        ]


def percentile_ms(seconds, share):
    if not seconds:
        return None
    ordered = sorted(seconds)
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000, 1)


def lower95(right, judged):
    """The exact one-sided 95 % lower bound of a share (Clopper and Pearson, 1934)."""
    if not judged or not right:
        return 0.0

    def at_least(share):
        """The probability of so many right ones or more, were this the share."""
        whole = math.lgamma(judged + 1)
        total = 0.0
        for k in range(right, judged + 1):
            ways = whole - math.lgamma(k + 1) - math.lgamma(judged - k + 1)
            misses = (judged - k) * math.log1p(-share) if k < judged else 0.0
            total += math.exp(ways + k * math.log(share) + misses)
        return total

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if at_least(middle) < 0.05:
            low = middle
        else:
            high = middle
    return round(low, 5)
