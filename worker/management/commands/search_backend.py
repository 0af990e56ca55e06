"""manage.py search_backend: what answers the queries, and moving from one kind of index to another."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.models import Backend
from ml.formats.errors import InputError
from worker.index.migrate import backend_drop, backend_report, backend_use


class Command(BaseCommand):
    help = "Show which index answers; let another one answer (use NAME); remove one that does not (drop NAME)."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", title="what to do", help="nothing: show what there is")
        use = actions.add_parser("use", help="build it, compare it with what answers now, and let it answer")
        use.add_argument("name", help=", ".join(Backend.values))
        use.add_argument("--force", action="store_true", help="even where it finds too little of what is found now")
        drop = actions.add_parser("drop", help="remove what was built of it")
        drop.add_argument("name", help=", ".join(Backend.values))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["action"] == "use":
                name = _backend(options["name"])
                backend_use(backend=name, force=options["force"], tell=self.stdout.write)
                self.stdout.write(f"{name} answers from now on.")
            elif options["action"] == "drop":
                backend_drop(backend=_backend(options["name"]), tell=self.stdout.write)
            else:
                self.stdout.write("\n".join(backend_report()))
        except InputError as error:
            raise CommandError(str(error), returncode=2) from None


def _backend(name: str) -> Backend:
    if name not in Backend.values:
        raise CommandError(f"There is no index called {name!r}, only {', '.join(Backend.values)}.", returncode=2)
    return Backend(name)
