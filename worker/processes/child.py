"""Supervised child processes: killed with the worker, one per lock file."""

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

import psutil
from django.conf import settings

from catalog.ml_cli import ERROR_PREFIX, training_environment
from ml.formats.file_lock import lock_file
from worker.processes import launcher

worker_stopping = threading.Event()
"""Set when this worker shuts down: a task that waits for a child process stops it and requeues its row."""

_MARK = "CLOTHES_MATCHER_WORK"  # environment variable of a child and of all its descendants: the path of its lock file
_STDERR_TAIL = 64 * 1024  # bytes


class WorkHeld(Exception):
    """The lock file stays locked by a process that cannot be killed from here, for example on another machine."""

    code = "work_held"


class ChildProcess:
    """A child process with a lock file, started when the object is made and killed when the `with` block is left.

    Each line of its standard output that is a JSON object with the key `event` is queued for `events`; its standard
    error is appended to `log`. The child holds the lock on `lock` for as long as it lives; processes that an earlier
    worker left behind under the same lock are killed first. Raises `WorkHeld` if another process keeps the lock.
    """

    def __init__(self, command: Sequence[str], *, log: Path, lock: Path) -> None:
        self._events: deque[dict[str, Any]] = deque()
        self._log, self._lock = log, lock
        with take_lock(lock) as handle, log.open("ab") as errors:
            self._log_start = errors.tell()
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                [
                    *(sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), settings.TRAIN_PRIORITY),
                    *command,
                ],
                cwd=settings.BASE_DIR,
                env=training_environment() | {"PYTHONUNBUFFERED": "1", _MARK: _mark_of(lock)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=(handle.fileno(),),
                start_new_session=True,
            )
        assert self._process.stdout is not None  # noqa: S101 - for the types: it is a pipe
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def __enter__(self) -> "ChildProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(patience=0)

    def events(self) -> list[dict[str, Any]]:
        """Return the events since the last call."""
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def wait(self, seconds: float) -> int | None:
        """Wait up to `seconds` for the end. Return the exit code, negative for a signal; None if it still runs."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(timeout=5)
        return code

    def stop(self, patience: float = 10.0) -> None:
        """End the child and its descendants: SIGINT, so that it can clean up, and SIGKILL after `patience` seconds."""
        if self._process.poll() is None and patience:
            _signal_group(self._process.pid, signal.SIGINT)
            self.wait(patience)
        if self._process.poll() is None:
            _signal_group(self._process.pid, signal.SIGKILL)
        while kill_marked(_mark_of(self._lock)):  # descendants may be in process groups of their own
            time.sleep(0.01)
        self._process.wait()
        self._reader.join(timeout=5)

    def stderr_tail(self) -> str:
        """Return the last 64 KiB of the child's standard error."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - _STDERR_TAIL))
            return file.read().decode(errors="replace").replace("\r", "\n").strip()

    def error_line(self) -> str:
        """Return the error line with which `ml` refused bad input; empty if there is none."""
        lines = [line for line in self.stderr_tail().splitlines() if line.startswith(ERROR_PREFIX)]
        return lines[-1].removeprefix(ERROR_PREFIX) if lines else ""

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict) and "event" in event:
                    self._events.append(event)


def exit_reason(code: int, stderr_tail: str) -> str:
    """Describe in one sentence how a process ended that reported no error itself."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = " Perhaps it ran out of memory." if -code == signal.SIGKILL else ""
        return f"It was killed ({name}).{hint}"
    lines = [line for line in stderr_tail.splitlines() if line.strip()]
    return f"It ended with exit code {code}" + (f": {lines[-1].strip()}" if lines else ".")


def take_lock(path: Path, patience: float = 20.0) -> IO[bytes]:
    """Lock a file and return its handle, after killing the processes that an earlier worker left behind under it.

    Raises `WorkHeld` after `patience` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    handle = None
    while True:
        killed = kill_marked(_mark_of(path))
        handle = handle or lock_file(path)
        if handle is not None and not killed:
            return handle
        if time.monotonic() > deadline:
            if handle is not None:
                handle.close()
            raise WorkHeld(
                f"Another process, perhaps on another machine, keeps {path.name!r} in {path.parent.name!r} locked. "
                "It is tried again later."
            )
        time.sleep(0.1)


def kill_marked(mark: str) -> int:
    """Kill every process with this mark, in any process group or session; return the number of killed processes."""
    pids = find_marked(mark)
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    return len(pids)


def find_marked(mark: str) -> list[int]:
    """Return the ids of the running processes with this mark, except other users' processes and zombies."""
    processes = psutil.process_iter(["environ"])
    return [process.pid for process in processes if (process.info["environ"] or {}).get(_MARK) == mark]


def _mark_of(lock: Path) -> str:
    return str(lock.resolve())


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
