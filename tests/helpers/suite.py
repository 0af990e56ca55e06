"""Which parts of the test suite are slow."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).resolve().parents[1]

# Files and folders whose tests take most of the time: whole training runs, benchmarks, sites of their own, a browser.
# `make check` leaves them out, and other runs start with them.
SLOW: Final = (
    "benchmarks",
    "ml/commands",
    "ml/images/test_torchvision_compat.py",
    "ml/training",
    "system/test_admin_releases.py",
    "system/test_admin_training.py",
    "system/test_browser.py",
    "system/test_demo.py",
    "system/test_schemathesis.py",
    "system/test_training_run.py",
    "test_suite.py",
    "worker/queries/test_serving_path.py",
    "worker/training/test_run.py",
)


def mark_slow(items: Iterable[pytest.Item]) -> None:
    """Add the marker `slow` to the tests of the slow parts."""
    for item in items:
        if is_slow(item.path):
            item.add_marker("slow")


def is_slow(file: Path) -> bool:
    path = file.relative_to(TESTS) if file.is_relative_to(TESTS) else file
    return any(path.is_relative_to(part) for part in SLOW)
