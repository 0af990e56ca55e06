"""Server that runs management commands of a site, each in a process forked after Django's set-up.

    python -m tests.helpers.command_server SOCKET

Starting Python and Django takes two seconds for each command, and tests run many. A client sends one line of JSON, the
arguments of manage.py, and receives JSON: the exit code and the output, stderr after stdout.
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
    """Runs one command in a process of its own."""

    def handle(self) -> None:
        arguments = json.loads(self.rfile.readline())
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            os.dup2(stdout.fileno(), sys.stdout.fileno())
            os.dup2(stderr.fileno(), sys.stderr.fileno())
            exit_code = execute(arguments)
            sys.stdout.flush()
            stdout.seek(0)
            stderr.seek(0)
            self.wfile.write(json.dumps([exit_code, (stdout.read() + stderr.read()).decode()]).encode())


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Forks for each command; commands can run at the same time."""


def execute(arguments: list[str]) -> int:
    """Run a command in this process and return its exit code."""
    try:
        execute_from_command_line(["manage.py", *arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def run_command(server: Path, arguments: tuple[str, ...], timeout: float) -> tuple[int, str]:
    """Send a command to the server at a socket file; return its exit code and output."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(server))
        connection.sendall(json.dumps(arguments).encode() + b"\n")
        exit_code, output = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
    return exit_code, output


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clothes_matcher.settings")  # benchmarks run without tests.settings
    setup()
    part = Path(sys.argv[1] + ".part")
    with Server(str(part), Handler) as server:
        part.rename(sys.argv[1])  # the file appears when the server accepts connections
        server.serve_forever(poll_interval=5.0)


if __name__ == "__main__":
    main()
