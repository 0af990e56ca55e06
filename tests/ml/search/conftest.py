"""A real PostgreSQL server for the tests of pgvector; started by the first of them."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ml.search.pgvector.index import PgVectorIndex
from tests.helpers import postgres as postgres_server
from tests.helpers.search_rows import ENCODER


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The server's address."""
    with postgres_server.postgres() as address:
        if not postgres_server.configured_postgres():
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")  # test rows need no durability
                connection.execute("SELECT pg_reload_conf()")
        yield address


@pytest.fixture(scope="session")
def owner(postgres: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        yield connection


@pytest.fixture(scope="session")
def addresses(postgres: str, owner: psycopg.Connection[Any]) -> Iterator[Callable[[], str]]:
    """Return a function that makes addresses of empty schemas, which are cheaper than databases."""
    schemas: list[str] = []

    def address() -> str:
        schemas.append(f"test_{uuid.uuid4().hex}")
        owner.execute(f"CREATE SCHEMA {schemas[-1]}")
        return make_conninfo(postgres, options=f"-c search_path={schemas[-1]},public -c synchronous_commit=off")

    yield address
    if postgres_server.configured_postgres():  # otherwise they are deleted with their server
        for schema in schemas:
            owner.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def address(addresses: Callable[[], str]) -> str:
    return addresses()


@pytest.fixture
def open_index(address: str) -> Iterator[Callable[..., PgVectorIndex]]:
    """Return a function that opens indexes in one database and closes them afterwards."""
    opened: list[PgVectorIndex] = []

    def open_one(encoder: str = ENCODER, dim: int = 4, database: str = address, **options: Any) -> PgVectorIndex:
        opened.append(PgVectorIndex(encoder, dim, database, **options))
        return opened[-1]

    yield open_one
    for index in opened:
        index.close()
