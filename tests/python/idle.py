"""Opens 10,000 connections to the given address and holds them until a line comes in. Prints how many there are."""

import resource
import socket
import sys

WANTED = 10_000

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
host, port = sys.argv[1].split(":")
held = []
for _ in range(WANTED):
    try:
        held.append(socket.create_connection((host, int(port)), timeout=10))
    except OSError:
        break
print(len(held), flush=True)
sys.stdin.readline()
