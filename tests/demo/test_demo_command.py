"""The command `demo`: its arguments, and the processes it starts."""

import io
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from demo.management.commands.demo import Command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["plain", "with spaces, commas", "it's", 'sizes "L"', "größe; ls"])
def test_make_demo_passes_any_folder_name_unchanged(name: str) -> None:
    command = ["make", "--dry-run", "--assume-old=.venv/product", "demo", f"DATA={name}", f"PHOTO={name}.jpg"]
    # Under `make test` this is a make inside a make, which would print the folders it enters and leaves.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    words = shlex.split(lines[-1])
    assert words[4:7] == [name, "--photo", f"{name}.jpg"]


@pytest.mark.parametrize(
    ("url", "starts"), [("", True), ("redis://127.0.0.1:1/0", False), ("unix:///run/redis.sock?db=0", False)]
)
def test_a_redis_is_started_only_without_redis_url(monkeypatch: pytest.MonkeyPatch, url: str, starts: bool) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setattr("django.conf.settings.REDIS_URL", url or "unix:///tmp/x.sock?db=0")
    command = Command()
    command.options = {"host": "127.0.0.1", "port": 8000}
    supervisor = command._build_supervisor(io.StringIO())
    assert ("redis" in supervisor._processes) is starts
    assert {"web", "gpu", "cpu", "net", "beat"} <= set(supervisor._processes)
