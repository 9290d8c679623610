"""What a script of the Python system does: one command on the node's Unix socket.

    script.py SOCKET get KEY        prints the values as JSON, or the text of a miss
    script.py SOCKET set KEY VALUE  doesn't wait
"""

import json
import pickle
import socket
import sys


def main(path, *words):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.send(" ".join(words).encode())
        if words[0] == "get":
            print(json.dumps(pickle.loads(client.recv(1024))))


main(*sys.argv[1:])
