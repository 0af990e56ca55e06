"""Hyperparameters of training runs: their description, presets, validation and command-line arguments.

`options.json` is written by `make options` from the code of `ml.training`, which the web process must not import.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

from django.utils.translation import gettext as _

from catalog.errors import Refused
from catalog.ml_cli import BAD_INPUT, run_ml
from ml.formats.booleans import BOOLEAN_WORDS

OPTIONS_FILE: Final = Path(__file__).with_name("options.json")
CHECK_SECONDS: Final = 60  # timeout; the check of a combination takes 0.25 s
MAX_TEXT: Final = 200
LARGEST: Final = 1e15  # limit of a number whose option sets none


# Presets: a value that a preset does not name is the default one.
QUICK: Final = "quick"  # a useful encoder on a CPU within an hour
FULL: Final = "full"  # the recipe of the shipped encoders: a GPU, or a night on a CPU

_SHARED_QUICK: Final = {"epochs": 8, "freeze_stages": 10, "views": 4, "side": 160, "weight_decay": 0.05, "workers": 2}
_SHARED_FULL: Final = {"freeze_stages": 6, "views": 12, "weight_decay": 0.05, "workers": 2}

PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "metric": {
        QUICK: {**_SHARED_QUICK, "drop": 0.2, "scale": 12.0},
        FULL: {**_SHARED_FULL, "epochs": 16, "drop": 0.2, "scale": 12.0},
    },
    "classifier": {
        QUICK: {**_SHARED_QUICK, "drop": 0.2},
        FULL: {
            **_SHARED_FULL,
            "backbone": "efficientnet-lite2",
            "side": 256,
            "epochs": 18,
            "drop": 0.3,
            "mixup": 0.4,
        },
    },
}


@dataclass(frozen=True)
class Option:
    """One hyperparameter. `type` is int, float, bool or str; `choices` is empty where any such value may be given."""

    name: str
    type: str
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    help: str

    @property
    def flag(self) -> str:
        """The flag of the command line, such as `--batch-size`."""
        return "--" + self.name.replace("_", "-")


@cache
def option_list(kind: str) -> list[Option]:
    """Return every option of a kind of run, in the order of the command line."""
    entries = json.loads(OPTIONS_FILE.read_text(encoding="utf-8"))[kind]
    return [Option(**{**entry, "choices": tuple(entry["choices"] or ())}) for entry in entries]


def option_named(kind: str, name: str) -> Option | None:
    """The option of this name; None for an unknown name."""
    return next((option for option in option_list(kind) if option.name == name), None)


def checked_options(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` converted to the types of their options, in the order of the command line.

    Texts such as `on` or `0.3` are parsed. Raises `Refused` for an unknown name (`unknown_option`), for a value that
    its option does not allow, and for values that exclude each other (`bad_option`).
    """
    options = {option.name: option for option in option_list(kind)}
    for name in values:
        if name not in options:
            detail = _("There is no option {name!r} for this kind of run.").format(name=str(name)[:50])
            raise Refused("unknown_option", detail)
    checked = {name: _convert(option, values[name]) for name, option in options.items() if name in values}
    _require_fit(kind, tuple(f"{name}={_format(value)}" for name, value in checked.items()))
    return checked


def all_options(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every option in a run with these settings: the default where `values` has none."""
    return {option.name: values.get(option.name, option.default) for option in option_list(kind)}


def option_arguments(kind: str, values: Mapping[str, Any]) -> list[str]:
    """Return the command-line arguments for checked options that differ from their defaults."""
    arguments = []
    for option in option_list(kind):
        value = values.get(option.name, option.default)
        if value == option.default:
            continue
        if option.type == "bool":
            arguments.append(option.flag if value else f"--no-{option.flag[2:]}")
        else:
            arguments.append(f"{option.flag}={_format(value)}")
    return arguments


def _convert(option: Option, raw: Any) -> Any:
    value = _parse(option, raw.strip()) if isinstance(raw, str) else raw
    if option.type == "float" and type(value) is int:
        value = float(value) if abs(value) <= LARGEST else math.inf
    if type(value).__name__ != option.type:
        raise _bad_option(option, raw)
    if option.choices and value not in option.choices:
        raise _bad_option(option, raw)
    if isinstance(value, str) and (len(value) > MAX_TEXT or not value.isprintable()):
        raise _bad_option(option, raw)
    if option.type in ("int", "float") and not _is_within(value, option):
        raise _bad_option(option, raw)
    return value


def _is_within(value: float, option: Option) -> bool:
    low = -LARGEST if option.low is None else option.low
    high = LARGEST if option.high is None else option.high
    return low <= value <= high  # False for NaN


def _parse(option: Option, text: str) -> Any:
    """Parse the text as the option's type; return the text unchanged when that fails."""
    if option.type == "bool":
        return BOOLEAN_WORDS.get(text.lower(), text)
    if option.type == "str":
        return text
    try:
        return int(text) if option.type == "int" else float(text)
    except ValueError:
        return text


def _bad_option(option: Option, raw: Any) -> Refused:
    shown = repr(raw)[:60]
    if option.choices:
        detail = _("{name} is {value}; known are {choices}.")
        detail = detail.format(name=option.name, value=shown, choices=", ".join(option.choices))
    elif option.type == "bool":
        detail = _("{name} is {value}; it must be on or off.").format(name=option.name, value=shown)
    elif option.type == "str":
        detail = _("{name} must be a text of at most {longest} characters in one line.")
        detail = detail.format(name=option.name, longest=MAX_TEXT)
    else:
        number = _("a whole number") if option.type == "int" else _("a number")
        least = _("{name} is {value}; it must be {number}, {low:g} or more.")
        between = _("{name} is {value}; it must be {number} from {low:g} to {high:g}.")
        limits = {"low": option.low, "high": option.high}
        detail = (least if option.high is None else between).format(
            name=option.name, value=shown, number=number, **limits
        )
    return Refused("bad_option", detail)


def _format(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


@lru_cache(maxsize=256)
def _require_fit(kind: str, words: tuple[str, ...]) -> None:
    """Check with `ml` a combination of values that are each valid. Raises `Refused` (`bad_option`)."""
    if not words:
        return
    result = run_ml("options", kind, "--set", *words, seconds=CHECK_SECONDS)
    if result.exit_code == BAD_INPUT:
        raise Refused("bad_option", result.error_line)
    if result.exit_code:
        raise RuntimeError(f"python -m ml options ended with {result.exit_code}: {result.stderr[-500:]}")
