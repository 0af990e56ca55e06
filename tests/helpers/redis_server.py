"""A redis-server that a test can start and kill."""

import subprocess
from pathlib import Path

import redis

from clothes_matcher.env import socket_path
from demo import supervisor
from tests.helpers.site import wait_until


class RedisServer:
    """A redis-server on a unix socket in `folder`; it runs after `start`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = socket_path(folder)
        self.client = redis.Redis.from_url(f"unix://{self.socket}?db=0")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["/bin/sh", "-c", supervisor.redis_command(self.socket, self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._responds, "Redis")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _responds(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False
