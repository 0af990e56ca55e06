"""A form field for each hyperparameter, made of what the training says of it."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from catalog.services.training.options import MAX_TEXT, Option

SPELLED = {
    "lr": "Learning rate",
    "head_lr": "Learning rate of the head",
    "lr_decay": "Learning rate, from stage to stage",
    "l1": "L1 penalty",
    "l2": "L2 penalty",
    "ema": "Moving average",
}


def option_field(option: Option, meant: Any) -> forms.Field:
    """Empty, the field means what the preset has: `meant`."""
    about: dict[str, Any] = {"label": _label(option.name), "required": False, "help_text": _sentence(option.help)}
    if option.type == "bool" or option.choices:
        return _choice_field(option, meant, about)
    attributes = {"placeholder": "none" if meant == "" else str(meant), "autocomplete": "off"}
    if option.type == "int":
        return forms.IntegerField(**about, **_limits(option), widget=UnfoldAdminIntegerFieldWidget(attributes))
    if option.type == "float":
        widget = UnfoldAdminDecimalFieldWidget({**attributes, "step": "any"})
        return forms.FloatField(**about, **_limits(option), widget=widget)
    return forms.CharField(**about, max_length=MAX_TEXT, widget=UnfoldAdminTextInputWidget(attributes))


def as_chosen(value: Any) -> Any:
    """A value as the field has it: a switch is on or off."""
    return ("on" if value else "off") if isinstance(value, bool) else value


def _choice_field(option: Option, meant: Any, about: dict[str, Any]) -> forms.Field:
    preset = ("", f"as the preset: {as_chosen(meant) or 'none'}")
    if option.type != "bool":
        choices = [preset, *((name, name) for name in option.choices)]
        return forms.ChoiceField(**about, choices=choices, widget=UnfoldAdminSelectWidget)
    about |= {"choices": [preset, ("on", "on"), ("off", "off")], "coerce": lambda chosen: chosen == "on"}
    return forms.TypedChoiceField(**about, empty_value=None, widget=UnfoldAdminSelectWidget)


def _limits(option: Option) -> dict[str, Any]:
    given = {"min_value": option.low, "max_value": option.high}
    return {name: limit for name, limit in given.items() if limit is not None}


def _label(name: str) -> str:
    return SPELLED.get(name, name.replace("_", " ").capitalize())


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
