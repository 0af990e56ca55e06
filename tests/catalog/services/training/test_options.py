"""Hyperparameters, as staff type them and clients send them."""

from typing import Any

import pytest

from catalog.errors import Refused
from catalog.services.training.options import PRESETS, all_options, checked_options, option_arguments, option_list
from ml.training.options import ClassifierOptions, MetricOptions

CLASSES: dict[str, Any] = {"metric": MetricOptions, "classifier": ClassifierOptions}


def refused(values: dict[str, Any], kind: str = "metric") -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        checked_options(kind, values)
    return caught.value.code, caught.value.detail


def test_texts_are_read_and_come_back_in_the_order_of_the_command_line() -> None:
    asked = {"lr": " 1e-3 ", "sharpen": "off", "epochs": "3", "backbone": "resnet18"}
    checked = checked_options("metric", asked)
    assert list(checked.items()) == [("backbone", "resnet18"), ("epochs", 3), ("lr", 0.001), ("sharpen", False)]


def test_a_whole_number_is_good_where_any_number_is() -> None:
    assert checked_options("metric", {"weight_decay": 1}) == {"weight_decay": 1.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("epochs", 1.5), ("epochs", True), ("epochs", "many"), ("epochs", None), ("epochs", [1]),
        ("epochs", "9" * 400), ("lr", "nan"), ("lr", 10**400), ("lr", -1), ("lr", "1e999"),
        ("sharpen", "maybe"), ("sharpen", 1), ("miner", "lazy"), ("start_from", "a\nb"), ("start_from", "a" * 300),
        ("start_from", "\ud800"), ("label_column", "\0"),
    ],
)  # fmt: skip
def test_a_value_that_the_option_cannot_have_is_refused_by_name(name: str, value: Any) -> None:
    code, detail = refused({name: value})
    assert code == "bad_option"
    assert detail.startswith(name)
    assert len(detail) < 300


@pytest.mark.parametrize("name", ["speed", "", "--lr", "a\0b", "\ud800", "x" * 5000])
def test_an_option_that_there_is_not_is_refused(name: str) -> None:
    code, detail = refused({name: 1})
    assert code == "unknown_option"
    assert len(detail) < 400


def test_an_option_of_the_other_kind_is_refused() -> None:
    assert refused({"miner": "hard"}, "classifier")[0] == "unknown_option"


def test_values_that_do_not_go_together_are_refused_in_the_words_of_the_training() -> None:
    code, detail = refused({"label_size": 100})
    assert (code, detail) == (
        "bad_option",
        "label_size must be less than embedding_size: the rest tells items of a label apart.",
    )


@pytest.mark.parametrize("kind", PRESETS)
def test_each_preset_is_a_set_of_options_that_the_training_takes(kind: str) -> None:
    assert set(PRESETS[kind]) == {"quick", "full"}
    for values in PRESETS[kind].values():
        assert checked_options(kind, values) == values
        assert CLASSES[kind](**values)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_options_are_those_of_the_training(kind: str) -> None:
    assert all_options(kind, {}) == vars(CLASSES[kind]())
    assert all(option.help for option in option_list(kind))


def test_the_words_for_the_command_line_name_what_differs_from_the_default() -> None:
    values = {"epochs": 12, "lr": 0.5, "sharpen": False, "compile": True, "start_from": "-x y"}
    assert option_arguments("metric", values) == ["--start-from=-x y", "--lr=0.5", "--compile", "--no-sharpen"]
