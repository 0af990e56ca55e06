"""A whole site in real processes: Redis, web server, workers and scheduler. A test may kill each of them."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import psycopg
import requests

from demo import supervisor
from tests.helpers.command_server import asked

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds; these machines are slow at times

# Counted as on any site, but no test that is in a hurry is refused.
COUNTED = ("QUERY", "UPLOAD", "READ", "WRITE", "ANONYMOUS", "SIGN_IN", "SIGN_UP", "RESET")
UNHURRIED = {f"{what}_RATE": "100000/min" for what in COUNTED}

MISSING = "from catalog.models import Encoder; print(Encoder.objects.live().missing_photos().count())"

STRANGERS = """
import uuid; from catalog.models import User; from knox.models import AuthToken
strangers = [User.objects.create(username=f"user-{uuid.uuid4().hex[:8]}") for _ in range(20)]
print(*[AuthToken.objects.create(stranger)[1] for stranger in strangers])
"""

T = TypeVar("T")


def until(look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """The first true value of `look`; fails the test when it does not come."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if value := look():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {patience:.0f} s in vain for: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """The processes of the Procfile and a Redis, in a folder of their own. Nothing runs until it is started."""

    static_files: ClassVar[Path | None] = None

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.socket = folder / "redis.sock"
        self.receiver_port = free_port()  # where a test may listen for what the site tells
        self.environment = supervisor.process_environment(
            VAR_DIR=str(folder),
            REDIS_URL=f"unix://{self.socket}?db=0",
            DATABASE_URL=_fresh_database(folder),
            PORT=str(self.port),
            # So that a photo's address can be one of the site's own.
            FETCH_PRIVATE_HOSTS=f"localhost:{self.port},localhost:{self.receiver_port}",
            SECRET_KEY="only for tests",
            **({"WEB_WORKERS": "1", "SWEEP_SECONDS": "1", "LEGACY_ROUTE": "on"} | UNHURRIED | settings),
        )
        self.commands = {"redis": supervisor.redis_command(self.socket, folder), **supervisor.procfile_commands(ROOT)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log_starts: dict[str, int] = {}
        self._spare_tokens: list[str] = []
        self._command_socket = folder / "commands.sock"
        self._commander: subprocess.Popen[bytes] | None = None

    def open(self, catalogue: Path | None = None) -> None:
        """Prepare and start everything, import a catalogue, and return when all of it can be found."""
        self.manage("migrate", "--verbosity", "0")
        self._collect_static_files()
        self.manage("register_encoder", "ml/encoders/efficientnet-lite0-metric100", "--live")
        self.start()
        self.wait_until_ready()
        if catalogue is not None:
            self.manage("import_catalog", str(catalogue))
            until(lambda: self.shell(MISSING) == "0", "the vectors of the catalogue")

    def _collect_static_files(self) -> None:
        """Once for all sites of a test run: packing them takes longer than all else here, and they are the same."""
        if Site.static_files is None:
            self.manage("collectstatic", "--no-input", "--verbosity", "0")
            Site.static_files = self.folder / "static"
        else:
            (self.folder / "static").symlink_to(Site.static_files)

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
        process.wait(timeout=PATIENCE)

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        if self._commander is not None:
            os.killpg(self._commander.pid, signal.SIGKILL)
            self._commander.wait(timeout=PATIENCE)

    def wait_until_ready(self) -> None:
        """The web server answers and the workers take work."""
        until(self._answers, "the web server")
        for name in ("gpu", "cpu", "net"):
            if name in self.processes:
                self.wait_for_worker(name)

    def wait_for_worker(self, name: str) -> None:
        until(lambda: " ready." in self.log(name), f"the {name} worker")

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.address}/healthz", timeout=5).ok
        return False

    def log(self, name: str) -> str:
        """What a process has written since it was last started."""
        return self._whole_log(name)[self._log_starts.get(name, 0) :]

    def _whole_log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def manage(self, *arguments: str) -> str:
        """Run a management command to its end; its output. Fails the test if it fails."""
        if self._commander is None:
            server = [sys.executable, "-m", "tests.helpers.command_server", str(self._command_socket)]
            self._commander = subprocess.Popen(server, cwd=ROOT, env=self.environment, start_new_session=True)
            until(self._command_socket.exists, "the server of commands")
        code, printed = asked(self._command_socket, arguments, patience=2 * PATIENCE)
        assert code == 0, printed
        return printed

    def shell(self, code: str) -> str:
        """What a piece of Python prints, run inside this site's Django."""
        return self.manage("shell", "--no-imports", "-c", code).strip()

    def token_of(self, username: str) -> str:
        """A fresh API token of a user, who is made if need be."""
        return self.shell(
            "from catalog.models import User; from knox.models import AuthToken;"
            f"print(AuthToken.objects.create(User.objects.get_or_create(username={username!r})[0])[1])"
        )

    def strangers_token(self) -> str:
        """The token of a user whom nobody else knows. Made in advance, since each start of Django takes a second."""
        if not self._spare_tokens:
            self._spare_tokens = self.shell(STRANGERS).split()
        return self._spare_tokens.pop()


class Phone:
    """A client of the API, as the mobile app is one."""

    def __init__(self, site: Site, token: str) -> None:
        self.site = site
        self.headers = {"Authorization": f"Token {token}"}

    def post(self, photo: bytes, *, wait: int = 0, **fields: Any) -> requests.Response:
        headers = self.headers | ({"Prefer": f"wait={wait}"} if wait else {})
        files = {"photo": ("photo.jpg", photo)}
        url = f"{self.site.address}/api/v1/queries/"
        return requests.post(url, headers=headers, files=files, data=fields, timeout=PATIENCE)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.site.address + path, headers=self.headers, timeout=PATIENCE)

    def query(self, query_id: str) -> dict[str, Any]:
        response = self.get(f"/api/v1/queries/{query_id}/")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def ended(self, query_id: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The query once it is done or failed."""

        def look() -> dict[str, Any] | None:
            answer = self.query(query_id)
            return answer if answer["state"] in ("done", "failed") else None

        return until(look, f"the end of query {query_id}", patience)


def _fresh_database(folder: Path) -> str:
    """SQLite in the folder; where the tests run on PostgreSQL, a new database of that server."""
    given = os.environ.get("DATABASE_URL", "")
    if not given.startswith("postgres"):
        return f"sqlite:///{folder / 'db.sqlite3'}"
    name = re.sub(r"\W", "_", f"site_{folder.name}_{os.getpid()}").lower()
    with psycopg.connect(given, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
        connection.execute(f'CREATE DATABASE "{name}"')
    start, at, place = given.rpartition("@")
    host, _, tail = place.partition("/")
    return f"{start}{at}{host}/{name}{''.join(tail.partition('?')[1:])}"
