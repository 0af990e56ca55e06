"""Which parts of the test suite are slow."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).resolve().parents[1]

# Files and folders whose tests take most of the time: training runs, benchmarks, PostgreSQL, browsers, fuzzing.
# `make check` leaves them out, and other runs start with them.
SLOW: Final = (
    "benchmarks",
    "catalog/api/test_fuzzed_bodies.py",
    "catalog/api/test_schema.py",
    "catalog/http/test_rate_limits.py",
    "catalog/importing/test_recovery.py",
    "catalog/test_rights.py",
    "demo",
    "ml/encoder/test_backbones.py",
    "ml/commands",
    "ml/images/test_torchvision_compat.py",
    "ml/reporting",
    "ml/runtime",
    "ml/search/memory/test_ivf.py",
    "ml/search/pgvector",
    "ml/training",
    "system/test_admin_releases.py",
    "system/test_admin_training.py",
    "system/test_browser.py",
    "system/test_demo.py",
    "system/test_schemathesis.py",
    "system/test_training_run.py",
    "test_structure.py",
    "test_suite.py",
    "worker/queries/test_serving_path.py",
    "worker/training",
)


def mark_slow(items: Iterable[pytest.Item]) -> None:
    """Add the marker `slow` to the tests of the slow parts."""
    for item in items:
        if is_slow(item.path):
            item.add_marker("slow")


def is_slow(file: Path) -> bool:
    path = file.relative_to(TESTS) if file.is_relative_to(TESTS) else file
    return any(path.is_relative_to(part) for part in SLOW)
