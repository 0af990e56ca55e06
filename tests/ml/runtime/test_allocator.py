"""The malloc setting is accepted by glibc and skipped elsewhere."""

import subprocess
import sys
from pathlib import Path

from ml.runtime.allocator import keep_freed_pages

ROOT = Path(__file__).resolve().parents[3]


def test_glibc_accepts_the_setting():
    """In a process of its own, because the setting lasts as long as the process."""
    program = "import sys; from ml.runtime.allocator import keep_freed_pages; sys.exit(not keep_freed_pages())"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_system_without_mallopt_keeps_its_defaults(monkeypatch):
    monkeypatch.setattr("ml.runtime.allocator.ctypes.CDLL", lambda _: object())
    assert not keep_freed_pages()
    monkeypatch.setattr("ml.runtime.allocator.sys.platform", "darwin")
    assert not keep_freed_pages()
