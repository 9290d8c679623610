"""A swarm of nodes that keep several values a key: the list dialect, on the `kademlia` package.

A stored scalar joins the key's list, an equal value is dated anew, a stored list is merged
element by element, and find_value always answers a list.
"""

import time
from collections import Counter

from kademlia.crawling import ValueSpiderCrawl
from kademlia.network import Server
from kademlia.node import Node
from kademlia.storage import IStorage
from kademlia.utils import digest

import swarm

WEEK_SECONDS = 7 * 24 * 3600


class MultiValueStorage(IStorage):
    """Each key has its values, each value the time of its last store."""

    def __init__(self, ttl=WEEK_SECONDS):
        self.ttl = ttl
        self.stored_at = {}

    def __setitem__(self, key, value):
        dated = self.stored_at.setdefault(key, {})
        for element in value if isinstance(value, (list, tuple)) else [value]:
            # The type belongs to the value: to Python, 1 and True are equal.
            identity = (type(element).__name__, element)
            dated.pop(identity, None)
            dated[identity] = time.monotonic()

    def get(self, key, default=None):
        oldest = time.monotonic() - self.ttl
        dated = self.stored_at.get(key, {})
        for identity in [i for i, stored in dated.items() if stored < oldest]:
            del dated[identity]
        return [element for _, element in dated] or default

    def __getitem__(self, key):
        values = self.get(key)
        if values is None:
            raise KeyError(key)
        return values

    def __iter__(self):
        return iter([(key, v) for key in list(self.stored_at) if (v := self.get(key))])

    def iter_older_than(self, seconds_old):
        latest = time.monotonic() - seconds_old
        return [(k, v) for k, v in self if max(self.stored_at[k].values()) <= latest]


class MultiValueCrawl(ValueSpiderCrawl):
    """Stops at the first round that has values, and takes the answer most holders gave."""

    async def _handle_found_values(self, values):
        # Holders list the same values in different orders.
        answers = Counter(tuple(sorted(answer)) for answer in values)
        majority = list(answers.most_common(1)[0][0])
        lacking = self.nearest_without_value.popleft()
        if lacking:
            await self.protocol.call_store(lacking, self.node.id, majority)
        return majority


class MultiValueServer(Server):
    """A node whose get returns a list."""

    def __init__(self, **options):
        super().__init__(storage=MultiValueStorage(), **options)

    async def get(self, key):
        target = Node(digest(key))
        own = self.storage.get(target.id)
        if own is not None:
            return own
        nearest = self.protocol.router.find_neighbors(target)
        if not nearest:
            return None
        crawl = MultiValueCrawl(self.protocol, target, nearest, self.ksize, self.alpha)
        return await crawl.find()


if __name__ == "__main__":
    swarm.main(MultiValueServer)
