"""What a program that knows nothing but the schema finds in the API: nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.site import ROOT, Site

pytestmark = pytest.mark.system

ENDING = r"/sign-out|/me/$|/auth/password|/devices/"
"""What may end the token that all other requests need."""


def found(site: Site, *options: str) -> str:
    """What it says after trying every operation it is to try. Each token is a new person's."""
    token = site.new_user_token()
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{site.address}/api/v1/schema/"),
        *("--header", f"Authorization: Token {token}", "--seed", "1", "--max-examples", "5", "--no-color"),
        *("--continue-on-failure", *options),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr
    return result.stdout


def operations_tried(output: str) -> int:
    counted = re.search(r"Tested: (\d+)", output)
    assert counted, output
    return int(counted[1])


def test_it_finds_nothing_with_a_token_that_lasts(site: Site) -> None:
    assert operations_tried(found(site, "--exclude-path-regex", ENDING)) >= 18


@pytest.mark.parametrize("path", ["/sign-out/$", "/sign-out-everywhere/$", "/me/$", "/auth/password", "/devices/"])
def test_it_finds_nothing_in_what_ends_a_token(site: Site, path: str) -> None:
    assert operations_tried(found(site, "--include-path-regex", path)) >= 1
