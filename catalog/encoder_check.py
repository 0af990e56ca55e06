"""Asking `ml` whether an encoder folder is sound: it runs the network once, in a process of its own."""

import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings

from catalog.errors import Refused

SECONDS = 120
MOST_MEMORY = 8 << 30  # bytes of addresses: a network may ask for any amount, and the machine has other work
BAD_INPUT = 2  # what `ml` exits with after one sentence
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")  # no secret of the site


def card_of(folder: Path) -> dict[str, Any]:
    """The card of a folder whose every file was checked. Refused, with what is wrong, where it is not sound."""
    code, output, complaint = _asked(folder)
    if code == 0:
        card: dict[str, Any] = json.loads(output)
        return card
    if code == BAD_INPUT:
        place = f" {str(folder)!r}"  # where it lay for the check is nobody's business
        sentence = complaint.strip().removeprefix("python -m ml: ").replace(f" in{place}", "").replace(place, "")
        raise Refused("encoder_unusable", sentence)
    raise Refused("encoder_unusable", "The check of this encoder broke off: its network asks for too much, or crashes.")


def _asked(folder: Path) -> tuple[int, str, str]:
    """The exit code of the check, and what it said on either stream."""
    command = [sys.executable, "-m", "ml", "check-encoder", str(folder), "--threads", "1"]
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"PYTHONUTF8": "1"}
    with subprocess.Popen(  # noqa: S603 - our own program, and no shell
        command,
        cwd=settings.BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # less is allowed already, or no limit known
            resource.prlimit(process.pid, resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        try:
            output, complaint = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Refused("encoder_unusable", f"The check of this encoder took over {SECONDS} seconds.") from None
    return process.returncode, output, complaint
