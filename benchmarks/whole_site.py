"""Run a benchmark on a whole site: all its real processes, on this machine."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.site import Site

Measure = Callable[[Site, argparse.Namespace], dict[str, Any]]


def print_measured(measure: Measure, options: argparse.Namespace, **settings: str) -> None:
    """Create a temporary site, measure it, and print the result as one JSON object.

    The site has two web workers, the default of real sites, and these `settings`.
    """
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), WEB_WORKERS="2", **settings)
        try:
            print(json.dumps(measure(site, options), indent=2))
        finally:
            site.stop()
