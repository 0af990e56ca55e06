"""`manage.py demo`: one command prints an answer, serves a site and leaves no process after Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.helpers.site import ROOT, TIMEOUT, free_port, wait_until

pytestmark = pytest.mark.system


class Demo:
    """A running `manage.py demo` in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, output: Path | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.output = output or folder.with_suffix(".out")
        environment = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", *arguments, "--port", str(self.port)],
                cwd=ROOT,
                env=environment | {"VAR_DIR": str(folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
                # As at a terminal: a test run in a shell's background inherits that Ctrl-C is ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until_serving(self) -> str:
        wait_until(
            lambda: "Serving until Ctrl-C" in self.text or self.process.poll() is not None, "the answer", 3 * TIMEOUT
        )
        assert self.process.poll() is None, self.text
        return self.text

    def processes(self) -> dict[int, str]:
        """Return the command lines of the running processes of this demo by pid."""
        mark = f"VAR_DIR={self.folder}".encode()
        commands = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                # Redis overwrites its environment with its title, which contains its socket.
                if mark in (entry / "environ").read_bytes().split(b"\0") or f"{self.folder}/redis" in command:
                    commands[int(entry.name)] = command
            except OSError:
                continue  # it has just ended
        return commands

    def pid_of(self, name: str) -> int:
        """Return the pid of the process that the supervisor last started under a name."""
        started = re.findall(rf"{name} started \(pid=(\d+)\)", (self.folder / "log.txt").read_text(errors="replace"))
        return int(started[-1])

    def answers(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/", timeout=20).ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"), "--items", "40")
    try:
        demo.wait_until_serving()
        yield demo
    finally:
        demo.process.kill()
        demo.process.wait()


def test_it_prints_a_ranked_answer_and_where_everything_is(demo: Demo) -> None:
    text = demo.text
    assert re.search(r"^ +1 +0\.\d{3} +\S+ +\S", text, re.MULTILINE)
    assert re.search(r"milliseconds: receive .* clean .* queue .* embed .* search .* write .* total", text)
    for word in ("The admin:", "password", "An API token:", f"http://127.0.0.1:{demo.port}/"):
        assert word in text


def test_the_picture_shows_the_query_and_its_matches(demo: Demo) -> None:
    with Image.open(demo.folder / "answer.png") as picture:
        assert picture.width > 1000 and picture.height > 500
        assert len(picture.convert("RGB").resize((64, 64)).getcolors(64 * 64) or []) > 500


def test_it_keeps_serving_and_the_printed_token_works(demo: Demo) -> None:
    address = f"http://127.0.0.1:{demo.port}"
    assert requests.get(address, timeout=20).status_code == 200
    token = re.search(r"An API token: +(\S+)", demo.text)
    assert token is not None
    headers = {"Authorization": f"Token {token[1]}"}
    items = requests.get(f"{address}/api/v1/items/", headers=headers, timeout=20)
    assert items.status_code == 200 and items.json()["results"]


@pytest.mark.parametrize("name", ["gpu", "cpu", "net", "beat", "redis", "web"])
def test_a_process_that_is_killed_is_started_again(demo: Demo, name: str) -> None:
    pid = demo.pid_of(name)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: demo.pid_of(name) != pid and demo.pid_of(name) in demo.processes(), f"another {name}")


def test_a_second_demo_on_the_same_port_says_so_in_one_line(demo: Demo, tmp_path: Path) -> None:
    wait_until(demo.answers, "the web server that the test before has killed")
    result = subprocess.run(
        [sys.executable, "manage.py", "demo", "--port", str(demo.port)],
        cwd=ROOT,
        env=os.environ | {"VAR_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert str(demo.port) in result.stderr


def test_a_second_demo_in_the_same_folder_says_so_in_one_line(demo: Demo) -> None:
    second = Demo(demo.folder, output=demo.folder.with_suffix(".second"))
    assert second.process.wait(timeout=TIMEOUT) == 2
    assert second.text.count("\n") == 1
    assert str(demo.folder) in second.text
    assert demo.answers()


def test_ctrl_c_leaves_no_process_behind(demo: Demo) -> None:
    assert len(demo.processes()) > 5
    demo.process.send_signal(signal.SIGINT)
    demo.process.wait(timeout=TIMEOUT)
    wait_until(lambda: not demo.processes(), "the end of every process", 10)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", demo.port))
    assert demo.text.rstrip().endswith("Stopped.")


def test_ctrl_c_during_the_preparations_ends_without_a_traceback(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "site")
    wait_until(lambda: "Preparing" in demo.text, "the preparations")
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=TIMEOUT) == 130
    assert "Traceback" not in demo.text
    assert demo.processes() == {}


@pytest.mark.parametrize(
    "arguments",
    [["nowhere/at/all"], ["--photo", "no-such.jpg"], ["--photo", "tests"], ["--port", "99999"]],
)
def test_a_bad_argument_is_one_line_that_names_it_and_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "demo", *arguments],
        cwd=ROOT,
        env=os.environ | {"VAR_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert arguments[-1] in result.stderr
