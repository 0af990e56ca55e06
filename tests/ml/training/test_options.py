import argparse
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.cli import main
from ml.training.options import (
    PAIR_LOSSES,
    ClassifierOptions,
    LabelLoss,
    MetricOptions,
    OptionsError,
    add_options,
    changed_options,
    options_from,
)
from tests.helpers.errors import raises_code

KINDS = (ClassifierOptions, MetricOptions)
ROOT = Path(__file__).resolve().parents[3]


def parsed(kind, words):
    parser = argparse.ArgumentParser()
    add_options(parser.add_argument_group("options"), kind)
    return options_from(kind, parser.parse_args(words))


def command_words(changes) -> list[str]:
    """The command-line words for these values."""
    words = []
    for name, value in changes.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            words += [flag, str(value)]
    return words


def values_of(kind) -> st.SearchStrategy:
    """Any value in the range of each field; combinations may be impossible."""
    return st.fixed_dictionaries({}, optional={entry.name: any_value(kind, entry) for entry in fields(kind)})


def any_value(kind, entry) -> st.SearchStrategy:
    hint = get_type_hints(kind)[entry.name]
    low, high = max(entry.metadata["low"], -1000), min(entry.metadata["high"], 1000)
    if entry.name == "side":
        return st.sampled_from((32, 64, 224, 1024))
    if entry.name == "train_splits":
        return st.sampled_from(("train", "val", "train,test", " train , val "))
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(int(low), int(high))
    if hint is float:
        return st.floats(low, high)
    if hint is str:
        return st.text("abc/_.é ", max_size=8)
    return st.sampled_from(literals(hint))


def literals(hint) -> list[str]:
    return [inner for value in get_args(hint) for inner in (literals(value) if get_args(value) else [value])]


# --- from the command line and back


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_command_line_gives_the_defaults(kind):
    assert parsed(kind, []) == kind()
    assert changed_options(kind()) == {}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_changed_options_on_the_command_line_give_the_same_options(kind, data):
    changes = data.draw(values_of(kind))
    try:
        options = kind(**changes)
    except OptionsError:
        return  # values that exclude each other; each is tried below
    assert changed_options(options).items() <= asdict(options).items()
    assert replace(kind(), **changed_options(options)) == options
    assert parsed(kind, command_words(changed_options(options))) == options


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_has_a_flag_a_help_text_and_its_default(kind):
    parser = argparse.ArgumentParser(prog="x")
    add_options(parser.add_argument_group("options"), kind)
    actions = {action.dest: action for action in parser._actions if action.dest != "help"}
    assert actions.keys() == {entry.name for entry in fields(kind)}
    for entry in fields(kind):
        action = actions[entry.name]
        assert action.option_strings[0] == "--" + entry.name.replace("_", "-")
        assert entry.metadata["help"] in action.help
        assert action.default == entry.default
        if not isinstance(entry.default, bool) and entry.default != "":
            assert f"(default: {entry.default})" in action.help
    parser.format_help()  # a lone % in a sentence would raise here


def test_the_choices_are_those_of_the_types():
    parser = argparse.ArgumentParser()
    add_options(parser.add_argument_group("options"), MetricOptions)
    choices = {action.dest: action.choices for action in parser._actions if action.choices}
    assert choices["label_loss"] == get_args(LabelLoss)
    assert choices["backbone"] == tuple(
        [f"efficientnet-lite{size}" for size in range(3)] + [f"resnet{depth}" for depth in (18, 34, 50)]
    )
    assert choices["optimizer"] == ("adamw", "adam")


def test_booleans_have_a_flag_for_either_value():
    assert parsed(MetricOptions, ["--no-sharpen", "--compile"]) == MetricOptions(sharpen=False, compile=True)


def test_importing_the_options_imports_no_torch():
    code = "import sys, ml.training.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# --- values that no run can be made with


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("epochs", True),
        ("epochs", "12"),
        ("batch_size", 1),
        ("lr", -1e-9),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("lr_decay", 0.0),
        ("warmup", 1.01),
        ("ema", 1.0),
        ("drop", -0.1),
        ("side", 33),
        ("side", 0),
        ("side", 2048),
        ("backbone", "resnet101"),
        ("backbone", ""),
        ("augment", None),
        ("pretrained", 1),
        ("pretrained", "yes"),
        ("start_from", None),
        ("train_splits", ""),
        ("train_splits", "train,dev"),
        ("train_splits", "train,val,test"),
        ("head_epochs", 12),
        ("threads", 0),
        ("seed", -1),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_impossible_value_is_refused_with_its_name(kind, name, value):
    with pytest.raises(OptionsError) as caught:
        kind(**{name: value})
    assert caught.value.code == ("options_conflict" if name == "head_epochs" else "invalid_option")
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"label_size": 100}, "options_conflict", ["label_size", "embedding_size"]),
        ({"embedding_size": 16}, "options_conflict", ["label_size", "embedding_size"]),
        ({"label_loss": "none", "identity_loss": "none"}, "options_conflict", ["label_loss", "identity_loss"]),
        ({"memory": 4096, "label_loss": "softmax"}, "options_conflict", ["triplet", "multi-similarity", "supcon"]),
        ({"memory": 4096, "label_loss": "none"}, "options_conflict", ["memory"]),
        ({"memory": 127, "label_loss": "triplet"}, "options_conflict", ["memory", "batch_size"]),
        ({"label_share": 1.0}, "invalid_option", ["label_share"]),
        ({"temperature": 0.0}, "invalid_option", ["temperature"]),
        ({"margin": 2.5}, "invalid_option", ["margin"]),
        ({"miner": "harder"}, "invalid_option", ["none, all, hard, semihard, easy, multi-similarity"]),
    ],
)
def test_impossible_metric_options_are_refused_with_a_code(changes, code, named):
    with raises_code(OptionsError, code, *named):
        MetricOptions(**changes)


def test_a_memory_of_one_batch_is_the_smallest():
    for loss in PAIR_LOSSES:
        assert MetricOptions(memory=128, batch_size=64, label_loss=loss).memory == 128


def test_a_message_names_the_value_and_the_range():
    with raises_code(OptionsError, "invalid_option", "smoothing", 1.0, 0.99):
        ClassifierOptions(smoothing=1.0)
    with raises_code(OptionsError, "invalid_option", "lr", -1, "0 or more"):
        ClassifierOptions(lr=-1)


def test_a_whole_number_is_a_number_too():
    assert MetricOptions(lr=1, margin=0).lr == 1


@pytest.mark.parametrize(
    ("splits", "train", "held_out"),
    [
        ("train", ("train",), ("val", "test")),
        ("train,test", ("train", "test"), ("val",)),
        (" test , ", ("test",), ("train", "val")),
    ],
)
def test_the_other_splits_validate(splits, train, held_out):
    options = ClassifierOptions(train_splits=splits)
    assert (options.splits, options.held_out) == (train, held_out)


# --- the commands: one line, exit code 2


@pytest.mark.parametrize("command", ["train-classifier", "train-metric"])
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--epochs", "none"], "--epochs"),
        (["--epochs", "2.5"], "--epochs"),
        (["--backbone", "resnet101"], "--backbone"),
        (["--learning-rate", "1"], "--learning-rate"),
        (["--lr", "nan"], "lr"),
        (["--lr", "-1"], "lr"),
        (["--side", "100"], "side is 100"),
        (["--epochs", "2", "--head-epochs", "2"], "head_epochs"),
        (["--train-splits", "train,val,test"], "train_splits"),
        (["--optimizer", "sgd"], "--optimizer"),
    ],
)
def test_bad_options_end_a_command_with_one_line_and_no_files(command, words, named, tmp_path, capsys):
    places = ["--data", str(tmp_path / "manifest.csv"), "--out", str(tmp_path / "out")]
    try:
        code = main([command, *places, *words])
    except SystemExit as stopped:  # argparse exits by itself
        code = stopped.code
    assert code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert named in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_metric_flag_is_unknown_to_the_classifier(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train-classifier", "--data", "x.csv", "--out", str(tmp_path / "out"), "--margin", "0.1"])
    assert stopped.value.code == 2
    assert "--margin" in capsys.readouterr().err
