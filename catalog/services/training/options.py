"""What can be set for a training run, as the training itself says: `python -m ml options`, in a process of its own."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from django.utils.translation import gettext as _

from catalog.errors import Refused
from catalog.ml_cli import BAD_INPUT, run_ml

SECONDS: Final = 60  # it takes a quarter of one
MAX_TEXT: Final = 200
LARGEST: Final = 1e15  # of a number that has no other limit
_SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


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
        return "--" + self.name.replace("_", "-")


@cache
def option_list(kind: str) -> list[Option]:
    """Every option of a kind of run, in the order of the command line."""
    told = _asked(kind, ())
    return [Option(**{**option, "choices": tuple(option["choices"] or ())}) for option in told["options"]]


def option_named(kind: str, name: str) -> Option | None:
    return next((option for option in option_list(kind) if option.name == name), None)


def checked_options(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, each of its option's type, in the order of the command line; texts such as `on` or `0.3` are read.

    Refused for a name that there is not (`unknown_option`), for a value that its option cannot have, and for values
    that do not go together (`bad_option`).
    """
    known = {option.name: option for option in option_list(kind)}
    for name in values:
        if name not in known:
            detail = _("There is no option {name!r} for this kind of run.").format(name=str(name)[:50])
            raise Refused("unknown_option", detail)
    checked = {name: _value(option, values[name]) for name, option in known.items() if name in values}
    _require_fit(kind, tuple(f"{name}={_text(value)}" for name, value in checked.items()))
    return checked


def all_options(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Every option with the value that a run with these settings has; the default one where they name none."""
    return {option.name: values.get(option.name, option.default) for option in option_list(kind)}


def option_arguments(kind: str, values: Mapping[str, Any]) -> list[str]:
    """The words of the command line for checked options."""
    words = []
    for option in option_list(kind):
        value = values.get(option.name, option.default)
        if value == option.default:
            continue
        if option.type == "bool":
            words.append(option.flag if value else f"--no-{option.flag[2:]}")
        else:
            words.append(f"{option.flag}={_text(value)}")
    return words


def _value(option: Option, given: Any) -> Any:
    value = _read(option, given.strip()) if isinstance(given, str) else given
    if option.type == "float" and type(value) is int:
        value = float(value) if abs(value) <= LARGEST else math.inf
    if type(value).__name__ != option.type:
        raise _bad(option, given)
    if option.choices and value not in option.choices:
        raise _bad(option, given)
    if isinstance(value, str) and (len(value) > MAX_TEXT or not value.isprintable()):
        raise _bad(option, given)
    if option.type in ("int", "float") and not _is_within(value, option):
        raise _bad(option, given)
    return value


def _is_within(value: float, option: Option) -> bool:
    low = -LARGEST if option.low is None else option.low
    high = LARGEST if option.high is None else option.high
    return low <= value <= high  # of a value that is no number neither is true


def _read(option: Option, text: str) -> Any:
    """What the text stands for; where it stands for nothing of the option's type, the text itself."""
    if option.type == "bool":
        return _SWITCH.get(text.lower(), text)
    if option.type == "str":
        return text
    try:
        return int(text) if option.type == "int" else float(text)
    except ValueError:
        return text


def _bad(option: Option, given: Any) -> Refused:
    shown = repr(given)[:60]
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


def _text(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


@lru_cache(maxsize=256)
def _require_fit(kind: str, words: tuple[str, ...]) -> None:
    """Have the training look at values that are in order one by one. Refused where they do not go together."""
    _asked(kind, words)


def _asked(kind: str, words: tuple[str, ...]) -> Any:
    answer = run_ml("options", kind, *(["--set", *words] if words else []), seconds=SECONDS)
    if answer.code == BAD_INPUT:
        raise Refused("bad_option", answer.complaint)
    if answer.code:
        raise RuntimeError(f"python -m ml options ended with {answer.code}: {answer.errors[-500:]}")
    return json.loads(answer.output)
