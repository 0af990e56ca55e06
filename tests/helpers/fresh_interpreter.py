"""Run a program in a fresh Python interpreter, to check which modules it imports."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_program(program: str) -> str:
    """Run a program in the root of the repository; return its output."""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, cwd=ROOT)
    return process.stdout.strip()
