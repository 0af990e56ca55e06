"""`options`: what can be set for a run, and whether values go together, as JSON for a program that starts runs."""

import argparse
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any, get_type_hints

from ml.training.options import ClassifierOptions, MetricOptions, OptionsError, TrainingOptions, choices_of

HELP = "Print every option of a kind of run as JSON, with the values that a run with these settings would have."
KINDS: dict[str, type[TrainingOptions]] = {"metric": MetricOptions, "classifier": ClassifierOptions}
SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, help="of which kind of run")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="values other than the default ones")


def run(args: argparse.Namespace) -> str:
    kind = KINDS[args.kind]
    values = asdict(kind(**_values(kind, args.set)))
    return json.dumps({"options": [_described(entry, kind) for entry in fields(kind)], "values": values})


def _values(kind: type[TrainingOptions], settings: Iterable[str]) -> dict[str, Any]:
    """The values that were typed, each of its option's type. Raises `OptionsError`."""
    hints = get_type_hints(kind)
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise OptionsError(f"{setting!r} is not name=value.")
        if name not in hints:
            raise OptionsError(f"There is no option {name!r}.")
        values[name] = _read(name, text.strip(), hints[name])
    return values


def _read(name: str, text: str, hint: Any) -> Any:
    if hint is bool:
        if text.lower() not in SWITCH:
            raise OptionsError(f"{name} is {text!r}; it must be on or off.")
        return SWITCH[text.lower()]
    if hint not in (int, float):
        return text
    try:
        return hint(text)
    except ValueError as error:
        whole = "a whole number" if hint is int else "a number"
        raise OptionsError(f"{name} is {text!r}; it must be {whole}.") from error


def _described(entry: Any, kind: type[TrainingOptions]) -> dict[str, Any]:
    """`type` is int, float, bool or str; `choices` is null where any value goes, a limit where there is none."""
    hint = get_type_hints(kind)[entry.name]
    choices = choices_of(hint)
    return {
        "name": entry.name,
        "type": "str" if choices else hint.__name__,
        "default": entry.default,
        "low": _finite(entry.metadata["low"]),
        "high": _finite(entry.metadata["high"]),
        "choices": choices,
        "help": entry.metadata["help"],
    }


def _finite(limit: float) -> float | None:
    return limit if math.isfinite(limit) else None
