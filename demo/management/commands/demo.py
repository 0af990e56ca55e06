"""manage.py demo: run the whole site on this machine, fill it, and query it with one photo."""

import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import requests
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, connections

from catalog.models import User
from demo import showcase, supervisor
from demo.site import (
    collect_static_files,
    demo_account,
    fill_catalogue,
    wait_for_embeddings,
    wait_until_ready,
)

_REQUIRED_DISK_MB = 300
_SWITCHES = ("LEGACY_ROUTE", "SIGN_UP")  # off by default; on in the demo unless the environment says off


class Command(BaseCommand):
    help = (
        "Start every process of the site, fill it with a sample (or your own) catalogue, and query it with one photo."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", nargs="?", type=Path, help="your catalogue: a folder of pictures or a CSV file")
        parser.add_argument("--photo", type=Path, help="the photo to query with")
        parser.add_argument("--items", type=int, default=600, help="number of items in the sample catalogue")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--once", action="store_true", help="stop after the answer instead of serving until Ctrl-C")
        parser.add_argument(
            "--reload",
            action="store_true",
            help="restart web server and workers when a module changes (needs watchfiles)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # show each line at once, also in a pipe or a file
        self.options = options
        self.address = f"http://{options['host']}:{options['port']}"
        self.failure = ""
        try:
            self._check_machine()
            self._prepare()
        except (supervisor.StackError, OSError) as error:
            raise CommandError(str(error), returncode=2) from None
        with supervisor.open_log(settings.VAR_DIR / "log.txt") as log:
            processes = self._build_supervisor(log)
            threading.Thread(target=self._demonstrate, args=(processes,), daemon=True).start()
            processes.loop()
        if self.failure:
            raise CommandError(self.failure, returncode=1)
        self.stdout.write("\nStopped.")

    def _check_machine(self) -> None:
        source, photo = self.options["source"], self.options["photo"]
        for path in (source, photo):
            if path is not None and not path.exists():
                raise supervisor.StackError(f"{path} does not exist. Check the path.")
        if photo is not None and not photo.is_file():
            raise supervisor.StackError(f"{photo} is not a file; --photo expects a picture file.")
        settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
        self.lock = supervisor.lock_folder(settings.VAR_DIR)
        supervisor.require_free_disk(settings.VAR_DIR, _REQUIRED_DISK_MB)
        supervisor.require_free_port(self.options["host"], self.options["port"])
        if url := os.environ.get("REDIS_URL"):
            supervisor.require_redis(url)

    def _prepare(self) -> None:
        self.stdout.write("Preparing the database and the static files ...")
        call_command("migrate", verbosity=0)
        collect_static_files()
        connections.close_all()  # the processes are forked from this one

    def _build_supervisor(self, log: Any) -> supervisor.Supervisor:
        processes = supervisor.Supervisor(log)
        port = {"HOST": self.options["host"], "PORT": str(self.options["port"]), "VAR_DIR": str(settings.VAR_DIR)}
        switches = {name: os.environ.get(name) or "on" for name in _SWITCHES}
        environment = supervisor.process_environment(**port, **switches)
        if not os.environ.get("REDIS_URL"):  # otherwise an existing Redis is used
            command = supervisor.redis_command(supervisor.socket_from_url(settings.REDIS_URL), settings.VAR_DIR)
            processes.add_process("redis", command, env=environment)
        for name, command in supervisor.procfile_commands(settings.BASE_DIR).items():
            if self.options.get("reload"):
                command = supervisor.reload_command(command, settings.BASE_DIR)
            processes.add_process(name, command, env=environment, cwd=str(settings.BASE_DIR))
        return processes

    def _demonstrate(self, processes: supervisor.Supervisor) -> None:
        """Fill the site and query it. Runs in a thread, while the main thread supervises the processes."""
        try:
            self._fill_and_query()
            if not self.options["once"]:
                return
        except (CommandError, showcase.ShowcaseError, requests.RequestException, OSError) as error:
            if not processes.stopping:  # otherwise Ctrl-C has stopped the site
                self.failure = f"{error} (See the log of the processes: {settings.VAR_DIR / 'log.txt'}.)"
        except BaseException:
            if processes.stopping:
                return
            self.failure = f"The demo failed with a bug; see {settings.VAR_DIR / 'log.txt'}."
            processes.terminate()
            raise
        finally:
            connection.close()
        processes.terminate()

    def _fill_and_query(self) -> None:
        self.stdout.write("Starting Redis, the web server, the workers and the scheduler ...")
        wait_until_ready(self.address)
        photo = fill_catalogue(self.options["source"], self.options["items"])
        wait_for_embeddings()
        account = demo_account()
        client = showcase.Client(self.address, account.token)
        query_photo = self.options["photo"] or photo
        self.stdout.write(f"Sending {query_photo} to {self.address}/api/v1/queries/ ...\n")
        answer = client.ask(query_photo.read_bytes())
        self.stdout.write(showcase.answer_table(answer))
        picture = settings.VAR_DIR / "answer.png"
        showcase.save_picture(showcase.answer_picture(client, answer), picture)
        self.stdout.write(f"""
The answer as a picture:  {picture}
The upload page:          {self.address}/
The admin:                {self.address}/admin/   {User.USERNAME_FIELD} {account.username}, password {account.password}
The API:                  {self.address}/api/v1/docs/
An API token:             {account.token}

Try:  curl -H "Authorization: Token {account.token}" -H "Prefer: wait=10" \\
           -F photo=@{query_photo} {self.address}/api/v1/queries/
Serving until Ctrl-C. The processes write to {settings.VAR_DIR / "log.txt"}.""")
