"""Asking `ml` something by its command line, since the catalogue never imports it: in a process without our secrets."""

import contextlib
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from django.conf import settings

BAD_INPUT: Final = 2  # what `ml` exits with after one sentence
SAYS: Final = "python -m ml: "  # how that sentence begins
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")


class MlTimeout(Exception):
    """It was ended before it had answered."""


@dataclass(frozen=True)
class Answer:
    """How it ended, negative for a signal, and what it said on either stream."""

    code: int
    output: str
    errors: str

    @property
    def complaint(self) -> str:
        """The sentence with which it refuses bad input: the last line of its errors."""
        return self.errors.strip().rpartition("\n")[2].removeprefix(SAYS)


def run_ml(*words: str, seconds: float, memory: int | None = None) -> Answer:
    """Run `python -m ml WORDS` to its end. `memory`: bytes of addresses it may have. Raises `MlTimeout`."""
    with subprocess.Popen(  # noqa: S603 - our own program, and no shell reads the words
        [sys.executable, "-m", "ml", *words],
        cwd=settings.BASE_DIR,
        env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        if memory is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # less is allowed already, or no limit known
                resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise MlTimeout from None
    return Answer(process.returncode, output, errors)
