"""A Redis of a test's own, to start and to kill."""

import subprocess
from pathlib import Path

import redis

from clothes_matcher.env import socket_path
from demo import supervisor
from tests.helpers.site import until


class OwnRedis:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = socket_path(folder)
        self.client = redis.Redis.from_url(f"unix://{self.socket}?db=0")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["/bin/sh", "-c", supervisor.redis_command(self.socket, self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers, "Redis")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False
