"""Preparation of the demo's site."""

from pathlib import Path

from pytest_django import Settings

from demo.site import collect_static_files


def test_a_truncated_static_file_of_an_interrupted_run_is_written_again(tmp_path: Path, settings: Settings) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    collect_static_files()
    file = settings.STATIC_ROOT / "catalog" / "site.css"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    collect_static_files()
    assert file.read_bytes() == whole
