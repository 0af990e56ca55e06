"""What comes of asking `ml` by its command line, with the real one."""

import json
from pathlib import Path

import pytest

from catalog.errors import Refused
from catalog.ml_cli import BAD_INPUT, MlTimeout, run_ml
from catalog.services.datasets import manifests
from tests.helpers.site_secrets import SECRETS


def test_its_answer_is_its_output() -> None:
    answer = run_ml("options", "metric", seconds=60)
    assert answer.code == 0
    assert json.loads(answer.output)["values"]["epochs"] == 12


def test_bad_input_is_one_sentence_without_the_name_of_the_program() -> None:
    answer = run_ml("options", "metric", "--set", "epochs=0", seconds=60)
    assert (answer.code, answer.output) == (BAD_INPUT, "")
    assert answer.error_line.startswith("epochs is 0")


def test_it_sees_no_secret_of_the_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import json, os, sys; sys.stderr.write(json.dumps(dict(os.environ)))")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in (*SECRETS, "WANDB_API_KEY", "HOME"):
        monkeypatch.setenv(name, "secret")
    environment = json.loads(run_ml("options", "metric", seconds=60).errors)
    assert environment["PYTHONPATH"] == str(tmp_path)
    assert "secret" not in environment.values()
    assert {*SECRETS, "WANDB_API_KEY", "HOME"} & environment.keys() == set()


def test_one_that_takes_too_long_is_ended() -> None:
    with pytest.raises(MlTimeout):
        run_ml("options", "metric", seconds=0.001)


def test_a_manifest_that_takes_too_long_to_check_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(manifests, "CHECK_SECONDS", 0.001)
    with pytest.raises(Refused, match="took too long"):
        manifests.manifest_check(tmp_path / "any.csv")
