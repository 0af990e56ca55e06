"""The form that starts a training run. A hyperparameter that is left empty is what the preset says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django import forms
from django.conf import settings
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from catalog.admin.runs.options import as_chosen, option_field
from catalog.admin.runs.wording import counts_of
from catalog.errors import Refused
from catalog.models import Encoder, RunKind, RunSource, RunTracker, TrainingRun, User
from catalog.services.datasets.manifests import manifest_names
from catalog.services.training.options import PRESETS, Option, checked_options, option_list
from catalog.services.training.preflight import preflight
from catalog.services.training.runs import run_create

PREFIX = "option_"
COMMON = ("epochs", "batch_size", "lr", "freeze_stages", "views", "backbone", "side", "start_from")
COMMON_OF = {
    RunKind.METRIC: ("label_loss", "miner", "margin", "identity_loss", "embedding_size"),
    RunKind.CLASSIFIER: ("head", "mixup", "smoothing", "drop"),
}
FIELD_OF = {"name_taken": "name", "bad_name": "name", "unknown_preset": "preset"}


class RunForm(forms.Form):
    """`kind` and `preset` decide which hyperparameters there are, and what each is where its field stays empty."""

    kind = forms.ChoiceField(choices=RunKind.choices, widget=UnfoldAdminSelectWidget)
    preset = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget,
        help_text="Quick: something useful, on a CPU. Full: for a GPU, or a night.",
    )
    source = forms.ChoiceField(
        label="Photos from", choices=RunSource.choices, initial=RunSource.CATALOGUE, widget=UnfoldAdminSelectWidget
    )
    manifest = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    name = forms.CharField(
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="Its encoder will be called so. Empty: made from the kind and the date.",
    )
    tracker = forms.ChoiceField(
        choices=RunTracker.choices,
        initial=RunTracker.NONE,
        widget=UnfoldAdminSelectWidget,
        help_text="Receives the figures and pictures as well, where it is installed.",
    )
    listed_of = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, kind: str, preset: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        presets = PRESETS[kind]
        self.kind_shown = kind
        self.preset_shown = preset if preset in presets else next(iter(presets))
        self.options = [_with_names(option) for option in option_list(kind)]
        _offer(self.fields["preset"], [(name, name.capitalize()) for name in presets])
        manifests = manifest_names()
        _offer(self.fields["manifest"], [("", "none"), *((name, name) for name in manifests)])
        self.fields["manifest"].help_text = f"A CSV below {settings.TRAINING_DATA_DIR}." + (
            "" if manifests else " There is none yet."
        )
        self.initial = {**self.initial, "kind": kind, "preset": self.preset_shown, "listed_of": kind}
        for option in self.options:
            meant = presets[self.preset_shown].get(option.name, option.default)
            self.fields[PREFIX + option.name] = option_field(option, meant)

    @property
    def about(self) -> list[forms.BoundField]:
        return [self[name] for name in ("kind", "preset", "source", "manifest", "name", "tracker")]

    @property
    def common(self) -> list[forms.BoundField]:
        names = (*COMMON, *COMMON_OF[RunKind(self.kind_shown)])
        return [self[PREFIX + name] for name in names if PREFIX + name in self.fields]

    @property
    def others(self) -> list[forms.BoundField]:
        common = {field.name for field in self.common}
        return [self[name] for name in self.fields if name.startswith(PREFIX) and name not in common]

    @property
    def others_open(self) -> bool:
        """Whether something in the collapsed part is set, or wrong."""
        return any(field.errors or field.value() not in ("", None) for field in self.others)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("listed_of") and data.get("kind") != data["listed_of"]:
            self.add_error("kind", "The hyperparameters below were those of the other kind. Please look at them again.")
        elif data.get("source") != RunSource.CATALOGUE and "manifest" in data and not data["manifest"]:
            self.add_error("manifest", "Choose the manifest that the photos come from.")
        elif not self.errors:
            try:
                checked_options(data["kind"], self.all_options())
            except Refused as refused:
                self.refuse(refused)
        return data

    def changed_options(self) -> dict[str, Any]:
        """What was typed: the preset has the rest."""
        typed = {
            name.removeprefix(PREFIX): value for name, value in self.cleaned_data.items() if name.startswith(PREFIX)
        }
        return {name: value for name, value in typed.items() if value not in ("", None)}

    def all_options(self) -> dict[str, Any]:
        """The preset's values, and what was typed instead."""
        return {**PRESETS[self.kind_shown][self.preset_shown], **self.changed_options()}

    def refuse(self, refused: Refused) -> None:
        """Tell a refusal at the field that it speaks of, or above all of them."""
        named = PREFIX + refused.detail.partition(" ")[0]
        field = "manifest" if refused.code.startswith("manifest_") else FIELD_OF.get(refused.code)
        field = named if named in self.fields else field
        self.add_error(field, refused.detail)


def form_for(values: Mapping[str, Any], **kwargs: Any) -> RunForm:
    """The form with the hyperparameters of the kind that `values` name; the first kind where they name none."""
    kind = values.get("kind")
    known = kind if kind in RunKind.values else RunKind.METRIC
    return RunForm(kind=str(known), preset=str(values.get("preset") or ""), **kwargs)


def check_run(form: RunForm) -> dict[str, Any]:
    """What the pre-flight says of a valid form, for its page; what it refuses stands at the form's fields."""
    data = form.cleaned_data
    asked = {name: data[name] for name in ("kind", "source", "manifest")}
    try:
        found = preflight(**asked, options=form.all_options())
    except Refused as refused:
        form.refuse(refused)
        return {}
    return {"found": found, "found_counts": counts_of(found.counts)}


def start_run(form: RunForm, *, by: User, clone: TrainingRun | None) -> TrainingRun | None:
    """Start what a valid form says; None if it was refused, which then stands at the form's fields."""
    data = form.cleaned_data
    asked = {name: data[name] for name in ("kind", "source", "manifest", "preset", "name", "tracker")}
    try:
        return run_create(**asked, options=form.changed_options(), started_by=by, cloned_from=clone)
    except Refused as refused:
        form.refuse(refused)
    return None


def as_typed(run: TrainingRun) -> dict[str, Any]:
    """What the form would have to hold to make the same run again, under another name."""
    preset = PRESETS[run.kind].get(run.preset, {})
    changed = {name: value for name, value in run.options.items() if preset.get(name) != value}
    typed = {PREFIX + name: as_chosen(value) for name, value in changed.items()}
    columns = {name: getattr(run, name) for name in ("kind", "preset", "source", "manifest", "tracker")}
    return columns | typed


def _with_names(option: Option) -> Option:
    """The encoder to start from is chosen among those that there are."""
    if option.name != "start_from":
        return option
    names = Encoder.objects.order_by("name").values_list("name", flat=True)
    return replace(option, choices=tuple(names), help="an encoder whose trunk to start from")


def _offer(field: forms.Field, choices: Sequence[tuple[str, str]]) -> None:
    field.choices = choices  # type: ignore[attr-defined]  # of a ChoiceField
