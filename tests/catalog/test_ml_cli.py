"""Running the real command line of `ml`."""

import json
from pathlib import Path

import pytest

from catalog.errors import Refused
from catalog.ml_cli import BAD_INPUT, MlTimeout, run_ml
from catalog.services.datasets import manifests
from tests.helpers.errors import raises_code
from tests.helpers.site_secrets import SECRETS


def test_the_result_holds_the_output() -> None:
    result = run_ml("options", "metric", seconds=60)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["values"]["epochs"] == 12


def test_bad_input_gives_one_line_without_the_name_of_the_program() -> None:
    result = run_ml("options", "metric", "--set", "epochs=0", seconds=60)
    assert (result.exit_code, result.stdout) == (BAD_INPUT, "")
    assert result.error_line.startswith("epochs is 0")


def test_the_command_sees_no_secret_of_the_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import json, os, sys; sys.stderr.write(json.dumps(dict(os.environ)))")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in (*SECRETS, "WANDB_API_KEY", "HOME"):
        monkeypatch.setenv(name, "secret")
    environment = json.loads(run_ml("options", "metric", seconds=60).stderr)
    assert environment["PYTHONPATH"] == str(tmp_path)
    assert "secret" not in environment.values()
    assert {*SECRETS, "WANDB_API_KEY", "HOME"} & environment.keys() == set()


def test_a_command_is_killed_at_its_time_limit() -> None:
    with pytest.raises(MlTimeout):
        run_ml("options", "metric", seconds=0.001)


def test_a_manifest_whose_check_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(manifests, "CHECK_SECONDS", 0.001)
    with raises_code(Refused, "manifest_unfit"):
        manifests.manifest_check(tmp_path / "any.csv")
