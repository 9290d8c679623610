"""A swarm of nodes of the `kademlia` package just as it comes: one value a key."""

from kademlia.network import Server

import swarm

if __name__ == "__main__":
    swarm.main(Server)
