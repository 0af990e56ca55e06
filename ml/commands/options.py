"""`options`: print the hyperparameters of a training run as JSON and validate values, for programs that start runs."""

import argparse
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any, get_type_hints

from ml.formats.booleans import BOOLEAN_WORDS
from ml.training.options import ClassifierOptions, MetricOptions, OptionsError, TrainingOptions, choices_of

HELP = "Print the hyperparameters of training runs as JSON; with a kind, also the values that these settings give."
KINDS: dict[str, type[TrainingOptions]] = {"metric": MetricOptions, "classifier": ClassifierOptions}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", choices=KINDS, help="the kind of run; default: the options of every kind")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="values that replace the defaults")


def run(args: argparse.Namespace) -> str:
    if args.kind is None:
        if args.set:
            raise OptionsError("--set needs a kind of run.", code="kind_missing")
        return json.dumps({kind: describe_options(options) for kind, options in KINDS.items()}, indent=2)
    kind = KINDS[args.kind]
    values = asdict(kind(**_parse_settings(kind, args.set)))
    return json.dumps({"options": describe_options(kind), "values": values})


def describe_options(kind: type[TrainingOptions]) -> list[dict[str, Any]]:
    """Return name, type, default, limits, choices and help text of each option, in the order of the command line.

    `type` is int, float, bool or str. `choices` is null where any value of the type is allowed, `low` and `high` are
    null where there is no limit.
    """
    return [_describe(entry, kind) for entry in fields(kind)]


def _parse_settings(kind: type[TrainingOptions], settings: Iterable[str]) -> dict[str, Any]:
    """Return the values of NAME=VALUE words, each of its option's type. Raises `OptionsError`."""
    hints = get_type_hints(kind)
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise OptionsError(f"{setting!r} is not name=value.", code="setting_malformed")
        if name not in hints:
            raise OptionsError(f"There is no option {name!r}.", code="unknown_option")
        values[name] = _parse_value(name, text.strip(), hints[name])
    return values


def _parse_value(name: str, text: str, hint: Any) -> Any:
    if hint is bool:
        if text.lower() not in BOOLEAN_WORDS:
            raise OptionsError(f"{name} is {text!r}; it must be on or off.")
        return BOOLEAN_WORDS[text.lower()]
    if hint not in (int, float):
        return text
    try:
        return hint(text)
    except ValueError as error:
        expected = "a whole number" if hint is int else "a number"
        raise OptionsError(f"{name} is {text!r}; it must be {expected}.") from error


def _describe(entry: Any, kind: type[TrainingOptions]) -> dict[str, Any]:
    hint = get_type_hints(kind)[entry.name]
    choices = choices_of(hint)
    return {
        "name": entry.name,
        "type": "str" if choices else hint.__name__,
        "default": entry.default,
        "low": _finite_or_none(entry.metadata["low"]),
        "high": _finite_or_none(entry.metadata["high"]),
        "choices": choices,
        "help": entry.metadata["help"],
    }


def _finite_or_none(limit: float) -> float | None:
    return limit if math.isfinite(limit) else None
