"""The test suite itself: a dead test process ends the run, slow parts exist, only helpers are shared."""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import suite
from tests.helpers.command_server import run_command
from tests.helpers.site import wait_until

ROOT = Path(__file__).resolve().parents[1]

DIES = """
import os, signal, time
def test_dies():
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGSEGV)
"""
LONG = """
import pytest, time
@pytest.mark.parametrize("number", range(60))
def test_long(number):
    time.sleep(2)
"""


@pytest.mark.parametrize("dist", ["worksteal", "loadfile"])
def test_a_test_process_that_dies_ends_the_run_within_a_minute_and_its_test_is_named(dist: str, tmp_path: Path) -> None:
    (tmp_path / "test_dies.py").write_text(DIES)
    (tmp_path / "test_long.py").write_text(LONG)
    plugins = ("-p", "tests.helpers.worker_crash", "-p", "no:django", "-p", "no:cacheprovider")
    processes = ("-n", "2", "--dist", dist, "--max-worker-restart=0", "--rootdir", str(tmp_path))
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *processes, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert time.monotonic() - started < 60
    assert result.returncode != 0
    assert "test_dies.py::test_dies" in result.stdout
    assert "test_long" not in result.stdout.partition("short test summary")[2]


@pytest.mark.parametrize("part", suite.SLOW)
def test_every_slow_part_exists(part: str) -> None:
    assert (suite.TESTS / part).exists()


def python_files(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def imported_modules(file: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, also inside functions; `from a import b` yields `a` and `a.b`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_test_module(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).with_suffix(".py").exists() and name.split(".")[-1].startswith(
        ("test_", "conftest")
    )


def test_tests_and_benchmarks_share_code_through_helpers_only() -> None:
    """No module imports a test module or a conftest."""
    imports = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in python_files("tests", "benchmarks")
        for name in imported_modules(file)
        if is_test_module(name)
    ]
    assert imports == []


def test_only_tests_and_benchmarks_import_tests() -> None:
    imports = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in python_files("clothes_matcher", "demo", "catalog", "ml", "worker", "examples")
        for name in imported_modules(file)
        if name.split(".")[0] == "tests"
    ]
    assert imports == []


def test_the_command_server_of_a_site_needs_no_settings_in_its_environment(tmp_path: Path) -> None:
    """Benchmarks start sites without pytest, and so without the environment of tests/settings.py."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-m", "tests.helpers.command_server", str(tmp_path / "commands.sock")]
    with subprocess.Popen(command, cwd=ROOT, env=environment | {"VAR_DIR": str(tmp_path)}) as server:
        try:
            wait_until((tmp_path / "commands.sock").exists, "the command server")
            assert run_command(tmp_path / "commands.sock", ("check",), timeout=60)[0] == 0
        finally:
            server.terminate()
