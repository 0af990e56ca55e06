"""schemathesis, which generates requests from the OpenAPI schema, finds no fault in the API."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.site import ROOT, Site

pytestmark = pytest.mark.system

ENDS_TOKEN = r"/sign-out|/me/$|/auth/password|/devices/"
"""Operations that can revoke the token which all other requests need."""


def run_schemathesis(site: Site, *options: str) -> str:
    """Test the operations that `options` select as a new user; return the output, fail on any finding."""
    token = site.new_user_token()
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{site.address}/api/v1/schema/"),
        *("--header", f"Authorization: Token {token}", "--seed", "1", "--max-examples", "5", "--no-color"),
        *("--continue-on-failure", *options),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr
    return result.stdout


def count_tested_operations(output: str) -> int:
    match = re.search(r"Tested: (\d+)", output)
    assert match, output
    return int(match[1])


def test_operations_that_keep_the_token_have_no_fault(site: Site) -> None:
    assert count_tested_operations(run_schemathesis(site, "--exclude-path-regex", ENDS_TOKEN)) >= 18


@pytest.mark.parametrize("path", ["/sign-out/$", "/sign-out-everywhere/$", "/me/$", "/auth/password", "/devices/"])
def test_operations_that_revoke_the_token_have_no_fault(site: Site, path: str) -> None:
    assert count_tested_operations(run_schemathesis(site, "--include-path-regex", path)) >= 1
