"""`python -m ml options`: the description of hyperparameters for programs that start runs."""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from ml.cli import main
from ml.commands.options import KINDS
from ml.training.options import ClassifierOptions, MetricOptions, add_options
from tests.helpers.error_line import error_line

ROOT = Path(__file__).resolve().parents[3]
OPTIONS_FILE = ROOT / "catalog" / "services" / "training" / "options.json"


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["options", *words]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("kind", "options"), [("metric", MetricOptions), ("classifier", ClassifierOptions)])
def test_every_option_is_described_and_has_its_default_value(kind, options, capsys):
    answer = printed(capsys, kind)
    assert [option["name"] for option in answer["options"]] == [entry.name for entry in fields(options)]
    assert answer["values"] == asdict(options())
    assert all(option["help"] and set(option) == set(answer["options"][0]) for option in answer["options"])


def test_without_a_kind_the_options_of_every_kind_are_described(capsys):
    answer = printed(capsys)
    assert answer == {kind: printed(capsys, kind)["options"] for kind in KINDS}


def test_the_file_of_the_web_process_is_what_the_command_prints(capsys):
    """If this fails: `make options`."""
    assert main(["options"]) == 0
    assert OPTIONS_FILE.read_text(encoding="utf-8") == capsys.readouterr().out


def test_types_limits_and_choices_are_those_of_the_classes(capsys):
    options = {option["name"]: option for option in printed(capsys, "metric")["options"]}
    assert options["epochs"] | {"help": ""} == {
        "name": "epochs", "type": "int", "default": 12, "low": 1, "high": 10_000, "choices": None, "help": ""
    }  # fmt: skip
    assert (options["lr"]["type"], options["lr"]["low"], options["lr"]["high"]) == ("float", 0, None)
    assert options["sharpen"]["type"] == "bool"
    assert "semihard" in options["miner"]["choices"]
    assert options["start_from"]["choices"] is None


def test_settings_change_the_values_and_are_of_the_right_type(capsys):
    answer = printed(capsys, "metric", "--set", "epochs=3", "lr=1e-2", "sharpen=off", "label-loss=arcface")
    changed = {name: value for name, value in answer["values"].items() if value != asdict(MetricOptions())[name]}
    assert changed == {"epochs": 3, "lr": 0.01, "sharpen": False, "label_loss": "arcface"}


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("epochs=0", "epochs is 0"),
        ("epochs=some", "epochs is 'some'"),
        ("lr=fast", "lr is 'fast'"),
        ("lr=nan", "lr is nan"),
        ("sharpen=maybe", "sharpen is 'maybe'"),
        ("miner=lazy", "miner is 'lazy'"),
        ("speed=9", "'speed'"),
        ("epochs", "'epochs'"),
        ("label_size=100", "label_size"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(setting, named, capsys):
    assert main(["options", "metric", "--set", setting]) == 2
    assert named in error_line(capsys)


def test_settings_without_a_kind_are_refused(capsys):
    assert main(["options", "--set", "epochs=3"]) == 2
    assert "--set" in error_line(capsys)


def test_an_option_of_the_other_kind_is_unknown(capsys):
    assert main(["options", "classifier", "--set", "miner=hard"]) == 2
    assert "'miner'" in error_line(capsys)


def test_the_names_are_those_of_the_command_line(capsys):
    parser = argparse.ArgumentParser()
    add_options(parser.add_argument_group(), MetricOptions)
    flags = {"--" + option["name"].replace("_", "-") for option in printed(capsys, "metric")["options"]}
    assert flags <= set(parser._option_string_actions)


def test_it_loads_no_network_library():
    program = (
        "import sys; from ml.cli import main; main(['options', 'metric']);"
        "print([name for name in ('torch', 'onnxruntime', 'onnx') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
