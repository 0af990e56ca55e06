"""Runs management commands for a site's tests, each in a process forked from one in which Django is set up already.

    python -m tests.helpers.command_server SOCKET

To start Python and Django anew takes two seconds for each command, and tests give many. Whoever connects sends a line
of JSON, the arguments of manage.py, and is answered with JSON: the exit code, and what was printed, complaints last.
"""

import json
import os
import socket
import socketserver
import sys
import tempfile
import traceback
from pathlib import Path

from django import setup
from django.core.management import execute_from_command_line


class Handler(socketserver.StreamRequestHandler):
    """One command, in a process of its own."""

    def handle(self) -> None:
        arguments = json.loads(self.rfile.readline())
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
            os.dup2(output.fileno(), sys.stdout.fileno())
            os.dup2(complaints.fileno(), sys.stderr.fileno())
            code = run(arguments)
            sys.stdout.flush()
            output.seek(0)
            complaints.seek(0)
            self.wfile.write(json.dumps([code, (output.read() + complaints.read()).decode()]).encode())


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Forks for each command, as many as are given at once."""


def run(arguments: list[str]) -> int:
    """The exit code that the command would have ended with."""
    try:
        execute_from_command_line(["manage.py", *arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def asked(address: Path, arguments: tuple[str, ...], patience: float) -> tuple[int, str]:
    """What a server answers to a command: its exit code, and what it printed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(patience)
        connection.connect(str(address))
        connection.sendall(json.dumps(arguments).encode() + b"\n")
        code, printed = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
    return code, printed


def main() -> None:
    setup()
    part = Path(sys.argv[1] + ".part")
    with Server(str(part), Handler) as server:
        part.rename(sys.argv[1])  # who sees it can connect
        server.serve_forever(poll_interval=5.0)


if __name__ == "__main__":
    main()
