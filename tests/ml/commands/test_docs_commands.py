"""Documents and cards agree with the command line."""

import json
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from ml.cli import COMMANDS, build_parser
from ml.reporting.curves import PICTURES
from ml.training.metric import LABEL_FIGURES
from ml.training.options import ClassifierOptions, IdentityLoss, LabelLoss, MetricOptions, MinerName, options_from

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
TRAINING = (ROOT / "docs" / "training.md").read_text()
CARDS = sorted((ROOT / "ml" / "encoders").glob("*/card.json"))

LAUNCHED = re.compile(r"(python|torchrun)( .*)? -m ml ")
FILLED_IN = {"LAYOUT": "folder", "N": "3"}
"""Placeholders with a fixed set of values; any text is valid for the others."""


def command_lines(text: str) -> list[str]:
    """The lines of code blocks that run `python -m ml`."""
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if LAUNCHED.match(line)]


def words_of(line: str) -> list[str]:
    """The arguments after `-m ml`, with optional parts, without their brackets."""
    words = shlex.split(line.split("-m ml ", 1)[1].replace("[", " ").replace("]", " "), comments=True)
    return [FILLED_IN.get(word, word) for word in words]


LINES = [(path.name, line) for path in DOCUMENTS for line in command_lines(path.read_text())]


def test_the_documents_contain_commands():
    assert len(LINES) >= 12
    assert {"README.md", "data.md", "evaluation.md", "encoders.md", "training.md"} <= {name for name, _ in LINES}


@pytest.mark.parametrize(("document", "line"), LINES, ids=[f"{name}-{line[:50]}" for name, line in LINES])
def test_each_command_of_a_document_is_valid(document, line):
    args = build_parser().parse_args(words_of(line))
    if args.command in ("train-classifier", "train-metric"):
        options_from(ClassifierOptions if args.command == "train-classifier" else MetricOptions, args)


@pytest.mark.parametrize("line", ["python -m ml train-metric --data m.csv", "torchrun -m ml embed --encodre x"])
def test_an_invalid_command_would_be_detected(line, capsys):
    assert command_lines(f"```\n{line}\n```\n") == [line]
    with pytest.raises(SystemExit):
        build_parser().parse_args(words_of(line))
    assert capsys.readouterr().err


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_command_named_in_a_text_exists(document):
    named = set(re.findall(r"python -m ml ([a-z][a-z-]+)", document.read_text()))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_the_command_of_a_shipped_card_is_valid(path):
    words = shlex.split(json.loads(path.read_text())["command"])
    assert words[:3] == ["python", "-m", "ml"]
    build_parser().parse_args(words[3:])


# --- docs/training.md


def test_each_loss_and_each_miner_is_explained():
    for name in (*get_args(LabelLoss), *get_args(IdentityLoss), *get_args(MinerName)):
        assert f"`{name}`" in TRAINING


def test_each_picture_is_explained():
    others = set(re.findall(r'"([a-z]+\.png)"', (ROOT / "ml" / "training" / "run_pictures.py").read_text()))
    assert len(others) == 5
    assert [name for name in (*PICTURES, *others) if f"`{name}`" not in TRAINING] == []


def test_each_metric_of_a_run_is_explained():
    names = {*LABEL_FIGURES, "garment_at_1", "garment_at_5", "spread", "val_loss", "val_accuracy", "phone_accuracy"}
    short = {f"recall_at_{k}": f"_{k}" for k in (5, 10)}
    assert [name for name in sorted(names) if f"`{short.get(name, name)}`" not in TRAINING] == []


def test_each_option_named_in_the_text_exists():
    named = set(re.findall(r"`(--[a-z0-9-]+)", TRAINING)) - {"--help"}
    assert len(named) > 15
    assert named <= flags_of("train-metric") | flags_of("train-classifier")


def flags_of(command: str) -> set[str]:
    commands = next(action for action in build_parser()._actions if action.dest == "command")
    return set(commands.choices[command]._option_string_actions)
