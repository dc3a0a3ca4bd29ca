"""What tests start in place of an interpreter: it has ``fork_server.py`` start a process with its words, streams, folder and environment.

``python -S -I forked.py SOCKET WORDS``; a script from the standard input and what asks for flags of the interpreter get a real one.
"""

import json
import os
import socket
import sys

place, *words = sys.argv[1:]
if words[0] == "-u":  # torchrun asks for it
    words = words[1:]
if words[0] not in ("-c", "-m") and words[0].startswith("-"):
    os.execv(sys.executable, [sys.executable, *words])
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect(place)
    request = {"words": words, "cwd": os.getcwd(), "environment": dict(os.environ)}
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
    server.recv(64)  # its number
    server.send(b"wait")
    status = int(server.recv(64))
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
