"""manage.py search_backend: show which search backend answers, and switch to another one."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.models import Backend
from ml.formats.errors import InputError
from worker.index.migrate import backend_drop, backend_report, backend_use


class Command(BaseCommand):
    help = "Show which search backend answers; switch to another (use NAME); remove an unused one (drop NAME)."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", title="what to do", help="without an action: show what exists")
        use = actions.add_parser("use", help="build its index, measure the recall, and switch to it")
        use.add_argument("name", help=", ".join(Backend.values))
        use.add_argument("--force", action="store_true", help="switch even if the recall is too low")
        drop = actions.add_parser("drop", help="remove its indexes")
        drop.add_argument("name", help=", ".join(Backend.values))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["action"] == "use":
                name = _backend(options["name"])
                backend_use(backend=name, force=options["force"], write=self.stdout.write)
                self.stdout.write(f"{name} answers from now on.")
            elif options["action"] == "drop":
                backend_drop(backend=_backend(options["name"]), write=self.stdout.write)
            else:
                self.stdout.write("\n".join(backend_report()))
        except InputError as error:
            raise CommandError(str(error), returncode=2) from None


def _backend(name: str) -> Backend:
    if name not in Backend.values:
        raise CommandError(
            f"There is no search backend {name!r}. Choose one of {', '.join(Backend.values)}.", returncode=2
        )
    return Backend(name)
