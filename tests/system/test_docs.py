"""The commands in README and docs/ work as written, and their links lead to files."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.site import ROOT, Phone, Site

pytestmark = pytest.mark.system

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def shell_lines(document: str) -> list[str]:
    """Return the shell commands in the code blocks of a document."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.startswith(("curl", "echo"))]


EXPECTED_FIELDS = {"token", "recommendations", "results", "images", "thumbnails", "secret", "waits_for"}
STAFF_TOKEN = """
from catalog.models import User; from catalog.services.accounts.devices import device_sign_in
print(device_sign_in(user=User.objects.create_superuser("boss-docs"), scope="staff")[1])
"""


@pytest.fixture
def folder(tmp_path: Path, photo: bytes) -> Path:
    (tmp_path / "shirt.jpg").write_bytes(photo)
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("document", ["README.md", "docs/api.md", "docs/legacy.md"])
def test_each_curl_command_gets_a_documented_response(document: str, site: Site, phone: Phone, folder: Path) -> None:
    site.shell("from catalog.models import User; User.objects.create_user('demo-docs', password='as long as this')")
    token = phone.headers["Authorization"].removeprefix("Token ")
    staff = site.shell(STAFF_TOKEN)
    lines = shell_lines(document)
    assert len(lines) >= (6 if document == "docs/api.md" else 1)
    for line in lines:
        line = line.replace("http://127.0.0.1:8000", site.address)
        line = line.replace('"demo", "password": "…"', '"demo-docs", "password": "as long as this"')
        environment = {"SITE": site.address, "TOKEN": token, "STAFF_TOKEN": staff, "PATH": "/usr/bin:/bin"}
        result = subprocess.run(
            ["/bin/sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        if line.startswith("curl"):
            answer = json.loads(result.stdout)
            assert EXPECTED_FIELDS & set(answer), (line, answer)
    site.shell(
        "from catalog.models import TrainingRun as R; [r.request_cancel() for r in R.objects.filter(name='autumn')]"
    )
    site.shell("from catalog.models import User; User.objects.filter(username__in=('demo-docs', 'boss-docs')).delete()")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_has_a_target(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_map_of_the_readme_names_every_folder() -> None:
    block = (ROOT / "README.md").read_text().split("## The map")[1].split("```")[1]
    named = {line.split()[0].rstrip("/") for line in block.strip().splitlines()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = {path.split("/")[0] for path in tracked if "/" in path and not path.startswith(".")}
    assert named == folders | {"manage.py"}
