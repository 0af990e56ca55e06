"""Programs that run beside a worker: with patience, not outliving it, and never two at the same work."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from django.conf import settings

from catalog.ml_cli import SAYS
from worker.processes import launcher

_MARK = "CLOTHES_MATCHER_WORK"  # in the environment of a program and of all that it starts
_SECRET = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "EMAIL_", "AWS_", "S3_", "POSTGRES_", "PG")
_TAIL = 64 * 1024  # bytes from the end of a log that are looked at


class WorkHeld(Exception):
    """Another program is at the same work and does not go away; it may be one of another machine."""


class Beside:
    """A program of ours that a worker has started: what it says, and how it ended.

    Each line of its standard output that is a JSON object with an `event` is one; what it writes to standard error is
    added to the file `log`. Leaving the `with` block ends it, and all that it has started. `lock` names its work: a
    file that stays locked as long as that program lives. Raises `WorkHeld` where others keep it locked.
    """

    def __init__(self, command: Sequence[str], *, log: Path, lock: Path) -> None:
        self._events: deque[dict[str, Any]] = deque()
        self._log, self._lock = log, lock
        held = take_lock(lock)
        try:
            with log.open("ab") as errors:
                self._log_start = errors.tell()
                self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                    [
                        sys.executable,
                        "-I",
                        "-S",
                        launcher.__file__,
                        str(os.getpid()),
                        settings.TRAIN_PRIORITY,
                        *command,
                    ],
                    cwd=settings.BASE_DIR,
                    env=environment_of_a_program() | {_MARK: _mark_of(lock)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    pass_fds=(held.fileno(),),
                    start_new_session=True,
                )
        finally:
            held.close()  # the program has it now
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def __enter__(self) -> "Beside":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(patience=0)

    def events(self) -> list[dict[str, Any]]:
        """What it has said since this was last asked."""
        told = []
        while self._events:
            told.append(self._events.popleft())
        return told

    def wait(self, seconds: float) -> int | None:
        """The exit code, negative for a signal; None if it still runs after so many seconds."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(timeout=5)
        return code

    def stop(self, patience: float = 10.0) -> None:
        """End it: politely first, so that it can tidy up, and after `patience` seconds for good."""
        if self._process.poll() is None and patience:
            _signal_group(self._process.pid, signal.SIGINT)
            self.wait(patience)
        if self._process.poll() is None:
            _signal_group(self._process.pid, signal.SIGKILL)
        while kill_marked(_mark_of(self._lock)):  # what it started may be in groups of their own
            time.sleep(0.01)
        self._process.wait()
        self._reader.join(timeout=5)

    def last_words(self) -> str:
        """The end of what it has written to standard error."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - _TAIL))
            return file.read().decode(errors="replace").replace("\r", "\n").strip()

    def complaint(self) -> str:
        """The one line with which `ml` told what was wrong with its input; empty if it told nothing of the kind."""
        lines = [line for line in self.last_words().splitlines() if line.startswith(SAYS)]
        return lines[-1].removeprefix(SAYS) if lines else ""

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict) and "event" in event:
                    self._events.append(event)


def how_it_ended(code: int, last_words: str) -> str:
    """In one sentence: how a program ended that did not say itself what was wrong."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = " Perhaps the memory was short." if -code == signal.SIGKILL else ""
        return f"It was killed ({name}).{hint}"
    lines = [line for line in last_words.splitlines() if line.strip()]
    return f"It ended with exit code {code}" + (f": {lines[-1].strip()}" if lines else ".")


def environment_of_a_program() -> dict[str, str]:
    """This process' environment without the site's secrets, which a program that trains has no use for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)}
    return kept | {"PYTHONUNBUFFERED": "1"}


def take_lock(lock: Path, patience: float = 20.0) -> IO[str]:
    """The locked file, having ended whatever program an earlier worker has left at the same work.

    Raises `WorkHeld` after `patience` seconds.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = lock.open("a")
    deadline = time.monotonic() + patience
    while True:
        left = kill_marked(_mark_of(lock))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            left = 1
        if not left:
            return file
        if time.monotonic() > deadline:
            file.close()
            raise WorkHeld(f"Another process keeps {lock.name!r} in {lock.parent.name!r} locked.")
        time.sleep(0.1)


def kill_marked(mark: str) -> int:
    """Kill every process with this mark, whatever group or session it is in. Returns how many were found alive."""
    found = marked(mark)
    for pid in found:
        _signal(pid, signal.SIGKILL)
    return len(found)


def marked(mark: str) -> list[int]:
    """The ids of the living processes with this mark."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _has_mark(process, mark)]


def _mark_of(lock: Path) -> str:
    return str(lock.resolve())


def _has_mark(process: Path, mark: str) -> bool:
    try:  # empty for one that is dead but not yet buried
        return f"{_MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it is somebody else's, or has ended
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
