"""A whole site as processes: Redis, web server, workers and scheduler. A test can kill each of them."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import requests

from demo import supervisor
from tests.helpers.command_server import run_command
from tests.helpers.run_files import make_once

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 60.0  # seconds; test machines can be slow

# Requests are counted as on any site, but the limits are too high for a test to reach.
THROTTLE_SCOPES = ("QUERY", "UPLOAD", "READ", "WRITE", "ANONYMOUS", "SIGN_IN", "SIGN_UP", "RESET")
HIGH_RATES = {f"{scope}_RATE": "100000/min" for scope in THROTTLE_SCOPES}

COUNT_MISSING_EMBEDDINGS = "from catalog.models import Encoder; print(Encoder.objects.live().missing_photos().count())"

CREATE_USERS = """
import uuid; from catalog.models import User; from knox.models import AuthToken
users = [User.objects.create(username=f"user-{uuid.uuid4().hex[:8]}") for _ in range(20)]
print(*[AuthToken.objects.create(user)[1] for user in users])
"""

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], what: str, timeout: float = TIMEOUT) -> T:
    """Return the first true value of `condition`; fail the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {timeout:.0f} s for {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """The processes of the Procfile and a Redis, with their own folder and database. None runs before `start`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.socket = folder / "redis.sock"
        self.receiver_port = free_port()  # where a test can receive webhooks
        self.environment = supervisor.process_environment(
            VAR_DIR=str(folder),
            REDIS_URL=f"unix://{self.socket}?db=0",
            DATABASE_URL=_fresh_database(folder),
            PORT=str(self.port),
            # A photo can be fetched from the site itself, and a webhook sent to the test.
            FETCH_PRIVATE_HOSTS=f"localhost:{self.port},localhost:{self.receiver_port}",
            SECRET_KEY="only for tests",
            **({"WEB_WORKERS": "1", "SWEEP_SECONDS": "1", "LEGACY_ROUTE": "on"} | HIGH_RATES | settings),
        )
        self.commands = {"redis": supervisor.redis_command(self.socket, folder), **supervisor.procfile_commands(ROOT)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log_starts: dict[str, int] = {}
        self._spare_tokens: list[str] = []
        self._command_socket = folder / "commands.sock"
        self._command_server: subprocess.Popen[bytes] | None = None

    def set_up(self, catalogue: Path | None = None) -> None:
        """Prepare and start everything, import `catalogue` and return when all its photos are embedded."""
        self.manage("migrate", "--verbosity", "0")
        self._collect_static_files()
        self.manage("register_encoder", "ml/encoders/efficientnet-lite0-metric100", "--live")
        self.start()
        self.wait_until_ready()
        if catalogue is not None:
            self.manage("import_catalog", str(catalogue))
            wait_until(lambda: self.shell(COUNT_MISSING_EMBEDDINGS) == "0", "the embedding of the catalogue")

    def _collect_static_files(self) -> None:
        """Link to static files that all sites of the test run share: compressing them takes 12 s."""
        static = self.folder / "static"

        def collect(target: Path) -> None:
            self.manage("collectstatic", "--no-input", "--verbosity", "0")
            shutil.copytree(static, target, dirs_exist_ok=True)
            shutil.rmtree(static)

        static.symlink_to(make_once("static", collect))

    def start(self, *names: str) -> None:
        """Start processes by their names in the Procfile, or all of them."""
        for name in names or tuple(self.commands):
            self._log_starts[name] = len(self._whole_log(name))
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    ["/bin/sh", "-c", self.commands[name]],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def kill(self, name: str, with_signal: int = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, with_signal)
        process.wait(timeout=TIMEOUT)

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        if self._command_server is not None:
            os.killpg(self._command_server.pid, signal.SIGKILL)
            self._command_server.wait(timeout=TIMEOUT)

    def wait_until_ready(self) -> None:
        """Return when the web server responds and the workers consume messages."""
        wait_until(self._answers, "the web server")
        for name in ("gpu", "cpu", "net"):
            if name in self.processes:
                self.wait_for_worker(name)

    def wait_for_worker(self, name: str) -> None:
        wait_until(lambda: " ready." in self.log(name), f"the {name} worker")

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.address}/healthz", timeout=5).ok
        return False

    def log(self, name: str) -> str:
        """Return what a process has written since it was last started."""
        return self._whole_log(name)[self._log_starts.get(name, 0) :]

    def _whole_log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def manage(self, *arguments: str) -> str:
        """Run a management command to its end and return its output; fail the test if it fails."""
        if self._command_server is None:
            server = [sys.executable, "-m", "tests.helpers.command_server", str(self._command_socket)]
            self._command_server = subprocess.Popen(server, cwd=ROOT, env=self.environment, start_new_session=True)
            wait_until(self._command_socket.exists, "the command server")
        exit_code, output = run_command(self._command_socket, arguments, timeout=2 * TIMEOUT)
        assert exit_code == 0, output
        return output

    def shell(self, code: str) -> str:
        """Run Python code inside this site's Django and return what it prints."""
        return self.manage("shell", "--no-imports", "-c", code).strip()

    def create_token(self, username: str) -> str:
        """Return a new API token of a user, who is created if there is none of the name."""
        return self.shell(
            "from catalog.models import User; from knox.models import AuthToken;"
            f"print(AuthToken.objects.create(User.objects.get_or_create(username={username!r})[0])[1])"
        )

    def new_user_token(self) -> str:
        """Return the API token of a new user. Twenty are created at a time: each command takes a second."""
        if not self._spare_tokens:
            self._spare_tokens = self.shell(CREATE_USERS).split()
        return self._spare_tokens.pop()


class Phone:
    """The mobile app as a client of the API: one user with one token."""

    def __init__(self, site: Site, token: str) -> None:
        self.site = site
        self.headers = {"Authorization": f"Token {token}"}

    def post(self, photo: bytes, *, wait: int = 0, **fields: Any) -> requests.Response:
        headers = self.headers | ({"Prefer": f"wait={wait}"} if wait else {})
        files = {"photo": ("photo.jpg", photo)}
        url = f"{self.site.address}/api/v1/queries/"
        return requests.post(url, headers=headers, files=files, data=fields, timeout=TIMEOUT)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.site.address + path, headers=self.headers, timeout=TIMEOUT)

    def query(self, query_id: str) -> dict[str, Any]:
        response = self.get(f"/api/v1/queries/{query_id}/")
        assert response.status_code == 200, response.text
        query: dict[str, Any] = response.json()
        return query

    def wait_for_end(self, query_id: str, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Return the query once it is done or failed."""

        def ended_query() -> dict[str, Any] | None:
            query = self.query(query_id)
            return query if query["state"] in ("done", "failed") else None

        return wait_until(ended_query, f"the end of query {query_id}", timeout)


def _fresh_database(folder: Path) -> str:
    """Return the URL of SQLite in the folder; if the tests run on PostgreSQL, of a new database of that server."""
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        return f"sqlite:///{folder / 'db.sqlite3'}"
    name = re.sub(r"\W", "_", f"site_{folder.name}_{os.getpid()}").lower()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
        connection.execute(f'CREATE DATABASE "{name}"')
    start, at, place = server.rpartition("@")
    host, _, tail = place.partition("/")
    return f"{start}{at}{host}/{name}{''.join(tail.partition('?')[1:])}"
