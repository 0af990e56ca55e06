"""The version stands in pyproject.toml alone; command lines, API and health page tell it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.test import Client

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize("command", [["manage.py", "--version"], ["-m", "ml", "--version"]])
def test_the_command_lines_tell_the_version(command: list[str]) -> None:
    run = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == VERSION


@pytest.mark.django_db
def test_the_health_page_tells_the_version(client: Client) -> None:
    assert client.get("/healthz").json()["version"] == VERSION


def test_the_api_description_tells_the_version(client: Client) -> None:
    schema = client.get("/api/v1/schema/", headers={"Accept": "application/json"})
    assert schema.json()["info"]["version"] == VERSION


def test_the_changelog_begins_with_the_version_or_with_unreleased_changes() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert VERSION in headings[:2]
