"""Running a program in an interpreter that has imported nothing yet."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def answer(program: str) -> str:
    """What the program prints, run from the top of the repository."""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, cwd=ROOT)
    return run.stdout.strip()
