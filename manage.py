#!/usr/bin/env python
"""Django's entry point: `python manage.py COMMAND`."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clothes_matcher.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line

        try:
            execute_from_command_line(sys.argv)
        except ImproperlyConfigured as error:
            sys.exit(f"The settings cannot be used: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # whoever pressed Ctrl-C knows why it ended


if __name__ == "__main__":
    main()
