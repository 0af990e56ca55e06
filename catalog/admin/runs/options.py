"""Form fields for hyperparameters, built from the option descriptions of the training command."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from catalog.services.training.options import MAX_TEXT, Option

LABELS = {
    "lr": "Learning rate",
    "head_lr": "Learning rate of the head",
    "lr_decay": "Learning rate decay per stage",
    "l1": "L1 penalty",
    "l2": "L2 penalty",
    "ema": "Moving average",
}


def option_field(option: Option, preset_value: Any) -> forms.Field:
    """Build the form field of an option. Left empty, it stands for `preset_value`, which is shown as placeholder."""
    arguments: dict[str, Any] = {"label": _label(option.name), "required": False, "help_text": _sentence(option.help)}
    if option.type == "bool" or option.choices:
        return _choice_field(option, preset_value, arguments)
    attributes = {"placeholder": "none" if preset_value == "" else str(preset_value), "autocomplete": "off"}
    if option.type == "int":
        return forms.IntegerField(**arguments, **_limits(option), widget=UnfoldAdminIntegerFieldWidget(attributes))
    if option.type == "float":
        widget = UnfoldAdminDecimalFieldWidget({**attributes, "step": "any"})
        return forms.FloatField(**arguments, **_limits(option), widget=widget)
    return forms.CharField(**arguments, max_length=MAX_TEXT, widget=UnfoldAdminTextInputWidget(attributes))


def display_value(value: Any) -> Any:
    """Convert a value to what the form field shows: booleans become "on" or "off"."""
    return ("on" if value else "off") if isinstance(value, bool) else value


def _choice_field(option: Option, preset_value: Any, arguments: dict[str, Any]) -> forms.Field:
    default = ("", f"preset: {display_value(preset_value) or 'none'}")
    if option.type != "bool":
        choices = [default, *((name, name) for name in option.choices)]
        return forms.ChoiceField(**arguments, choices=choices, widget=UnfoldAdminSelectWidget)
    arguments |= {"choices": [default, ("on", "on"), ("off", "off")], "coerce": lambda choice: choice == "on"}
    return forms.TypedChoiceField(**arguments, empty_value=None, widget=UnfoldAdminSelectWidget)


def _limits(option: Option) -> dict[str, Any]:
    limits = {"min_value": option.low, "max_value": option.high}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _label(name: str) -> str:
    return LABELS.get(name, name.replace("_", " ").capitalize())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
