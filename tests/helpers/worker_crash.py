"""pytest plugin: a test process that dies ends the whole run at once, and the report names the test it was running.

By itself pytest-xdist lets the other processes finish their share of the tests first, which can take minutes; and when
it replaces the dead process (without `--max-worker-restart=0`), `--dist loadfile` and `loadgroup` wait for ever.
"""

from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport, sched: Any) -> None:
    """Report the test as failed, then leave the loop of xdist, which ends the other processes."""
    sched.config.hook.pytest_runtest_logreport(report=report)
    raise pytest.Session.Interrupted(f"A test process died while it ran {crashitem}")
