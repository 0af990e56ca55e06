"""Settings: bad values of environment variables stop the start; docs/settings.md lists every variable."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from clothes_matcher.env import (
    env_bool,
    env_database,
    env_int,
    env_list,
    env_origins,
    env_rate,
    env_secret,
    socket_path,
)

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("value", "meaning"), [("on", True), ("TRUE", True), ("1", True), ("off", False), ("no", False)]
)
def test_a_switch_is_read_in_the_usual_spellings(monkeypatch: pytest.MonkeyPatch, value: str, meaning: bool) -> None:
    monkeypatch.setenv("SWITCH", value)
    assert env_bool("SWITCH", not meaning) is meaning


def test_a_switch_that_is_neither_on_nor_off_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCH", "maybe")
    with pytest.raises(ImproperlyConfigured, match=r"SWITCH.*maybe"):
        env_bool("SWITCH", True)


@pytest.mark.parametrize("value", ["ten", "1.5", "-1"])
def test_an_invalid_number_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("NUMBER", value)
    with pytest.raises(ImproperlyConfigured, match="NUMBER"):
        env_int("NUMBER", 3)


@pytest.mark.parametrize("value", ["abc", "20", "0/min", "20/fortnight", "-1/min"])
def test_an_invalid_rate_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RATE", value)
    with pytest.raises(ImproperlyConfigured, match="RATE"):
        env_rate("RATE", "20/min")


@pytest.mark.parametrize("value", ["*", "shop.example", "https://shop.example/", "https://a@b", "https://*.example"])
def test_an_invalid_origin_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ORIGINS", f"https://fine.example:8443,{value}")
    with pytest.raises(ImproperlyConfigured, match="ORIGINS"):
        env_origins("ORIGINS")


@pytest.mark.parametrize("value", ["nonsense", "mongodb://user:geheim@host/name", "postgres://user:geheim@host:port/n"])
def test_an_invalid_database_url_stops_the_start_without_showing_its_password(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("DATABASE", value)
    with pytest.raises(ImproperlyConfigured, match="DATABASE") as failure:
        env_database("DATABASE", "sqlite:///db")
    assert "geheim" not in str(failure.value)


def test_an_empty_value_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBER", "")
    monkeypatch.setenv("SWITCH", " ")
    assert env_int("NUMBER", 3) == 3
    assert env_bool("SWITCH", True) is True


def test_a_list_is_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIST", " a.example, b.example,")
    assert env_list("LIST") == ["a.example", "b.example"]


def test_the_secret_is_generated_once_and_readable_by_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    file = tmp_path / "var" / "secret-key"
    first = env_secret("SECRET_KEY", file)
    assert len(first) >= 50
    assert env_secret("SECRET_KEY", file) == first
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secret-key"]


def test_a_socket_whose_path_would_be_too_long_is_in_another_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)
    assert socket_path(Path("/srv/site/var")) == Path("/srv/site/var/redis.sock")
    assert len(str(socket_path(deep))) < 100
    assert socket_path(deep) != socket_path(deep / "er")


def test_every_variable_of_the_settings_is_documented() -> None:
    sources = ["settings.py", "gunicorn.py", "env.py"]
    code = "".join((ROOT / "clothes_matcher" / name).read_text() for name in sources)
    reader = r"(?:environ\.get\(|env_(?:bool|choice|database|int|list|origins|rate|secret)\()"
    names = set(re.findall(reader + r"\s*[\"']([A-Z_0-9]+)", code)) | {"DATABASE_URL"}
    documented = set(re.findall(r"^\| `([A-Z_0-9]+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    assert names == documented


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MAX_UPLOAD_MB", "plenty", "MAX_UPLOAD_MB must be a whole number, not 'plenty'."),
        (
            "VAR_DIR",
            "/dev/null/var",
            "/dev/null/var/secret-key cannot be created or read: Not a directory. "
            "Make the folder writable, or set SECRET_KEY.",
        ),
    ],
)
def test_a_bad_setting_ends_a_command_with_one_line(name: str, value: str, reason: str) -> None:
    environment = {key: text for key, text in os.environ.items() if key != "SECRET_KEY"} | {name: value}
    result = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert result.stderr == f"The settings cannot be used: {reason}\n"
