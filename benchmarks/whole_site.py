"""A whole site to measure: every real part, on this machine."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.site import Site

Measure = Callable[[Site, argparse.Namespace], dict[str, Any]]


def print_measured(measure: Measure, options: argparse.Namespace, **settings: str) -> None:
    """Print as one JSON object what `measure` finds out about a site that nobody else uses, and that goes with it.

    It has two web workers, as a site has and tests do not, and other `settings`.
    """
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), WEB_WORKERS="2", **settings)
        try:
            print(json.dumps(measure(site, options), indent=2))
        finally:
            site.stop()
