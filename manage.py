#!/usr/bin/env python
"""Django's entry point: `python manage.py COMMAND`."""

import os
import sys


def main() -> None:
    """Run a management command; `--version` prints the version of the site (`manage.py version` that of Django)."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clothes_matcher.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line

        try:
            if sys.argv[1:] == ["--version"]:
                from django.conf import settings

                sys.stdout.write(f"Clothes matcher {settings.VERSION}\n")
                return
            execute_from_command_line(sys.argv)
        except ImproperlyConfigured as error:
            sys.exit(f"The settings cannot be used: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # Ctrl-C: no traceback


if __name__ == "__main__":
    main()
