"""The benchmark of very large indexes runs."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_two_processes_open_what_was_built_and_find_what_is_right() -> None:
    command = [sys.executable, "-m", "benchmarks.scale", "--n", "20000"]
    report = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    assert [one["recall"] for one in report["each"]] == [1.0, 1.0]
    assert report["files_mb"] > 8
    assert all(one["mapped_mb"] > 0 and one["change_ms"] > 0 for one in report["each"])
