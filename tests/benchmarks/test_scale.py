"""The benchmark of very large indexes runs and reaches full recall."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_two_processes_open_the_built_index_and_find_the_true_neighbours() -> None:
    command = [sys.executable, "-m", "benchmarks.scale", "--n", "20000"]
    report = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    assert [process["recall"] for process in report["each"]] == [1.0, 1.0]
    assert report["files_mb"] > 8
    assert all(process["mapped_mb"] > 0 and process["change_ms"] > 0 for process in report["each"])
