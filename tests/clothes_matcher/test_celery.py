"""Database connections of a worker, in a process of its own."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

CODE = """
import django
django.setup()
from django.db import connection
from clothes_matcher.celery import app

fixup = app._fixups[0].worker_fixup
connection.ensure_connection()
open_connection = connection.connection
fixup.close_database()
assert connection.connection is open_connection
connection.close_at = 0  # older than CONN_MAX_AGE
fixup.close_database()
assert connection.connection is None
"""


def test_a_database_connection_outlives_a_task_until_its_maximum_age(tmp_path: Path) -> None:
    """In a process of its own, since the tests' databases in memory are never closed."""
    sqlite3.connect(tmp_path / "db.sqlite3").close()
    environment = os.environ | {"VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "clothes_matcher.settings"}
    environment.pop("DATABASE_URL", None)
    subprocess.run([sys.executable, "-c", CODE], env=environment, check=True)
