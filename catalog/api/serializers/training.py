"""Training runs, for staff."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.api.fields import StrictSerializer, TextField
from catalog.models import RunKind, RunSource, RunTracker, TrainingRun
from catalog.services.training.options import QUICK
from catalog.services.training.waiting import run_waiting_reason

OPTION = {"type": ["string", "number", "boolean"]}


@extend_schema_field(OPTION)
class OptionField(serializers.Field[Any, Any, Any, Any]):
    """A value of a hyperparameter; which values an option takes is known to the training alone."""

    default_error_messages = {"invalid": "Not a valid string."}  # noqa: RUF012 - REST framework's own way

    def to_internal_value(self, data: Any) -> str | float | bool:
        if not isinstance(data, str | int | float | bool):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"type": "object", "additionalProperties": OPTION})
class OptionsField(serializers.DictField):
    """Hyperparameters by name."""

    child = OptionField()


class TrainingRunRequestSerializer(StrictSerializer):
    """What is to be trained; only `kind` is needed."""

    kind = serializers.ChoiceField(RunKind.choices)
    # The name is also that of an attribute of every field; the metaclass keeps the two apart.
    source = serializers.ChoiceField(  # type: ignore[assignment]
        RunSource.choices, required=False, help_text="Where the photos come from."
    )
    manifest = TextField(
        max_length=500, required=False, allow_blank=True, help_text="A CSV below the site's folder for training data."
    )
    preset = TextField(
        max_length=20, required=False, allow_blank=True, help_text=f"`{QUICK}` if absent; empty: no preset."
    )
    options = OptionsField(
        required=False, help_text="Changes to the preset, by the names of `python -m ml options KIND`."
    )
    name = TextField(
        max_length=100,
        required=False,
        allow_blank=True,
        help_text="Also its encoder's; made by itself if absent.",
    )
    tracker = serializers.ChoiceField(RunTracker.choices, required=False)


class TrainingRunSummarySerializer(serializers.ModelSerializer[TrainingRun]):
    """A run without what grows while it trains, for lists."""

    url = serializers.HyperlinkedIdentityField(view_name="api:training-run")
    share = serializers.SerializerMethodField(help_text="How much of it is done, 0 to 1; null where nobody can tell.")
    encoder = serializers.SlugRelatedField[Any](
        slug_field="name", read_only=True, allow_null=True, help_text="What came of it, once it is done."
    )
    started_by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True, allow_null=True)

    class Meta:
        model = TrainingRun
        fields: tuple[str, ...] = (
            "id",
            "url",
            "name",
            "kind",
            "source",
            "manifest",
            "preset",
            "tracker",
            "state",
            "stage",
            "share",
            "reason",
            "encoder",
            "started_by",
            "cancel_requested",
            "created_at",
            "started_at",
            "finished_at",
        )
        read_only_fields = fields

    @extend_schema_field({"type": ["number", "null"]})
    def get_share(self, run: TrainingRun) -> float | None:
        share = run.progress.get("share")
        return float(share) if isinstance(share, int | float) else None


class TrainingRunSerializer(TrainingRunSummarySerializer):
    options = serializers.DictField(child=OptionField(), read_only=True, help_text="With the preset's values.")
    progress = serializers.DictField(read_only=True, help_text="The latest step: epoch, loss, seconds left and so on.")
    metrics = serializers.ListField(
        child=serializers.DictField(), read_only=True, help_text="The figures of each epoch that is over."
    )
    data = serializers.DictField(  # type: ignore[assignment]  # see `source` above
        read_only=True, help_text="What it learns from, counted."
    )
    waits_for = serializers.SerializerMethodField(help_text="Why it has not begun yet, in words; else empty.")

    class Meta(TrainingRunSummarySerializer.Meta):
        fields = (
            *TrainingRunSummarySerializer.Meta.fields,
            "options",
            "progress",
            "metrics",
            "data",
            "log_tail",
            "waits_for",
        )
        read_only_fields = fields

    def get_waits_for(self, run: TrainingRun) -> str:
        return run_waiting_reason(run=run)
