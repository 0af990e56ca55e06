"""The form that starts a training run. Hyperparameters that are left empty take the value of the preset."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django import forms
from django.conf import settings
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from catalog.admin.base import add_refusal
from catalog.admin.runs.options import display_value, option_field
from catalog.admin.runs.wording import count_rows
from catalog.errors import Refused
from catalog.models import Encoder, RunKind, RunSource, RunTracker, TrainingRun, User
from catalog.services.datasets.manifests import manifest_names
from catalog.services.training.options import PRESETS, Option, checked_options, option_list
from catalog.services.training.preflight import preflight
from catalog.services.training.runs import run_create

PREFIX = "option_"  # of the form fields of hyperparameters
COMMON = ("epochs", "batch_size", "lr", "freeze_stages", "views", "backbone", "side", "start_from")
COMMON_BY_KIND = {
    RunKind.METRIC: ("label_loss", "miner", "margin", "identity_loss", "embedding_size"),
    RunKind.CLASSIFIER: ("head", "mixup", "smoothing", "drop"),
}
FIELD_BY_CODE = {"name_taken": "name", "bad_name": "name", "unknown_preset": "preset"}


class RunForm(forms.Form):
    """Form with a field per hyperparameter of `kind`; `preset` supplies the values of empty fields."""

    kind = forms.ChoiceField(choices=RunKind.choices, widget=UnfoldAdminSelectWidget)
    preset = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget,
        help_text="Quick: a useful encoder on a CPU. Full: for a GPU, or a night on a CPU.",
    )
    source = forms.ChoiceField(
        label="Photos from", choices=RunSource.choices, initial=RunSource.CATALOGUE, widget=UnfoldAdminSelectWidget
    )
    manifest = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    name = forms.CharField(
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="Also the name of the encoder. Leave empty for a name from the kind and the date.",
    )
    tracker = forms.ChoiceField(
        choices=RunTracker.choices,
        initial=RunTracker.NONE,
        widget=UnfoldAdminSelectWidget,
        help_text="Also receives the metrics and pictures, if it is installed.",
    )
    options_kind = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, kind: str, preset: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        presets = PRESETS[kind]
        self.kind_shown = kind
        self.preset_shown = preset if preset in presets else next(iter(presets))
        self.options = [_with_encoder_choices(option) for option in option_list(kind)]
        _set_choices(self.fields["preset"], [(name, name.capitalize()) for name in presets])
        manifests = manifest_names()
        _set_choices(self.fields["manifest"], [("", "none"), *((name, name) for name in manifests)])
        self.fields["manifest"].help_text = f"A CSV file below {settings.TRAINING_DATA_DIR}." + (
            "" if manifests else " There is none yet."
        )
        self.initial = {**self.initial, "kind": kind, "preset": self.preset_shown, "options_kind": kind}
        for option in self.options:
            preset_value = presets[self.preset_shown].get(option.name, option.default)
            self.fields[PREFIX + option.name] = option_field(option, preset_value)

    @property
    def general(self) -> list[forms.BoundField]:
        """The fields above the hyperparameters."""
        return [self[name] for name in ("kind", "preset", "source", "manifest", "name", "tracker")]

    @property
    def common(self) -> list[forms.BoundField]:
        """The hyperparameters that are changed most often, for the kind of run."""
        names = (*COMMON, *COMMON_BY_KIND[RunKind(self.kind_shown)])
        return [self[PREFIX + name] for name in names if PREFIX + name in self.fields]

    @property
    def others(self) -> list[forms.BoundField]:
        """The remaining hyperparameters, in a collapsed section."""
        common = {field.name for field in self.common}
        return [self[name] for name in self.fields if name.startswith(PREFIX) and name not in common]

    @property
    def others_open(self) -> bool:
        """Whether a field of the collapsed section has a value or an error."""
        return any(field.errors or field.value() not in ("", None) for field in self.others)

    def clean(self) -> dict[str, Any]:
        """Check that the fields fit together, and the hyperparameters by `checked_options`."""
        data = super().clean() or {}
        if data.get("options_kind") and data.get("kind") != data["options_kind"]:
            self.add_error(
                "kind", "These hyperparameters were filled in for the other kind of run. Please check them again."
            )
        elif data.get("source") != RunSource.CATALOGUE and "manifest" in data and not data["manifest"]:
            self.add_error("manifest", "Choose the manifest that the photos come from.")
        elif not self.errors:
            try:
                checked_options(data["kind"], self.all_options())
            except Refused as refused:
                self.add_refusal(refused)
        return data

    def changed_options(self) -> dict[str, Any]:
        """The hyperparameters that were entered, without those left to the preset."""
        entered = {
            name.removeprefix(PREFIX): value for name, value in self.cleaned_data.items() if name.startswith(PREFIX)
        }
        return {name: value for name, value in entered.items() if value not in ("", None)}

    def all_options(self) -> dict[str, Any]:
        """The values of the preset, overridden by the entered hyperparameters."""
        return {**PRESETS[self.kind_shown][self.preset_shown], **self.changed_options()}

    def add_refusal(self, refused: Refused) -> None:
        """Show a refusal at the field that it names, else above the form."""
        option_field_name = PREFIX + refused.detail.partition(" ")[0]
        field = "manifest" if refused.code.startswith("manifest_") else FIELD_BY_CODE.get(refused.code)
        field = option_field_name if option_field_name in self.fields else field
        add_refusal(self, field, refused)


def make_run_form(values: Mapping[str, Any], **kwargs: Any) -> RunForm:
    """Build the form with the hyperparameters of `values["kind"]`; of the first kind if that is missing or unknown."""
    kind = values.get("kind")
    valid_kind = kind if kind in RunKind.values else RunKind.METRIC
    return RunForm(kind=str(valid_kind), preset=str(values.get("preset") or ""), **kwargs)


def check_run(form: RunForm) -> dict[str, Any]:
    """Run the preflight checks of a valid form. Returns template context; {} after a refusal, shown in the form."""
    data = form.cleaned_data
    fields = {name: data[name] for name in ("kind", "source", "manifest")}
    try:
        report = preflight(**fields, options=form.all_options())
    except Refused as refused:
        form.add_refusal(refused)
        return {}
    return {"preflight": report, "preflight_counts": count_rows(report.counts)}


def start_run(form: RunForm, *, by: User, clone: TrainingRun | None) -> TrainingRun | None:
    """Create the run of a valid form; None after a refusal, shown in the form."""
    data = form.cleaned_data
    fields = {name: data[name] for name in ("kind", "source", "manifest", "preset", "name", "tracker")}
    try:
        return run_create(**fields, options=form.changed_options(), started_by=by, cloned_from=clone)
    except Refused as refused:
        form.add_refusal(refused)
    return None


def form_values(run: TrainingRun) -> dict[str, Any]:
    """The form values that would start the same run again, without its name."""
    preset = PRESETS[run.kind].get(run.preset, {})
    changed = {name: value for name, value in run.options.items() if preset.get(name) != value}
    options = {PREFIX + name: display_value(value) for name, value in changed.items()}
    columns = {name: getattr(run, name) for name in ("kind", "preset", "source", "manifest", "tracker")}
    return columns | options


def _with_encoder_choices(option: Option) -> Option:
    """Let `start_from` be chosen from the registered encoders; return every other option unchanged."""
    if option.name != "start_from":
        return option
    names = Encoder.objects.order_by("name").values_list("name", flat=True)
    return replace(option, choices=tuple(names), help="an encoder whose backbone to start from")


def _set_choices(field: forms.Field, choices: Sequence[tuple[str, str]]) -> None:
    field.choices = choices  # type: ignore[attr-defined]  # of a ChoiceField
