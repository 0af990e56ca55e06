"""Endpoints of training runs, for staff: start, list, read, cancel, resume."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from catalog.api.authentication import current_user
from catalog.api.pagination import NewestFirst
from catalog.api.parsers import DeepSafeJSONParser
from catalog.api.permissions import STAFF_ONLY, HasModelPermission, HasScope
from catalog.api.schema import problems, response_header
from catalog.api.serializers.training import (
    TrainingRunRequestSerializer,
    TrainingRunSerializer,
    TrainingRunSummarySerializer,
)
from catalog.models import TrainingRun
from catalog.services.training.runs import run_cancel, run_create, run_resume

SEE, START, CHANGE = "catalog.view_trainingrun", "catalog.add_trainingrun", "catalog.change_trainingrun"


class TrainingRunList(ListAPIView[TrainingRun]):
    """Training runs, newest first; start a run."""

    scopes = STAFF_ONLY
    permission_classes = (HasScope, HasModelPermission)
    needs = {"GET": SEE, "HEAD": SEE, "POST": START}  # noqa: RUF012 - never changed
    serializer_class = TrainingRunSummarySerializer
    pagination_class = NewestFirst
    parser_classes: tuple[type[BaseParser], ...] = (DeepSafeJSONParser,)

    def get_queryset(self) -> Any:
        return TrainingRun.objects.select_related("encoder", "started_by").defer("metrics", "log_tail", "data")

    @extend_schema(
        operation_id="training_run_list",
        tags=["training"],
        responses={200: TrainingRunSummarySerializer(many=True), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="training_run_start",
        tags=["training"],
        description="Hyperparameters, photos, disk space and memory are checked before the run is queued.",
        parameters=[response_header("Location", "URL of the run.", 201)],
        request=TrainingRunRequestSerializer,
        responses={201: TrainingRunSerializer, **problems(400, 401, 403, 409, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = TrainingRunRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        run = run_create(started_by=current_user(request), **serializer.validated_data)
        return Response(
            TrainingRunSerializer(run, context=self.get_serializer_context()).data,
            status=status.HTTP_201_CREATED,
            headers={"Location": reverse("api:training-run", args=[run.pk], request=request)},
        )


class OneRun(GenericAPIView[TrainingRun]):
    """Base class of the endpoints of one run."""

    scopes = STAFF_ONLY
    permission_classes = (HasScope, HasModelPermission)
    needs = {"GET": SEE, "HEAD": SEE, "POST": CHANGE}  # noqa: RUF012 - never changed
    serializer_class = TrainingRunSerializer

    def get_object(self) -> TrainingRun:
        run = TrainingRun.objects.select_related("encoder", "started_by").filter(pk=self.kwargs["pk"]).first()
        if run is None:
            raise Http404
        return run

    def respond(self, run: TrainingRun) -> Response:
        """Return a response with the run."""
        return Response(self.get_serializer(run).data)


class TrainingRunDetail(OneRun):
    """One training run with the metrics of its epochs and the end of its log."""

    scopes = STAFF_ONLY

    @extend_schema(
        operation_id="training_run",
        tags=["training"],
        responses={200: TrainingRunSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        return self.respond(self.get_object())


class TrainingRunCancel(OneRun):
    """Cancel a run: at once while it waits, within seconds while it trains. It can be resumed."""

    scopes = STAFF_ONLY

    @extend_schema(
        operation_id="training_run_cancel",
        tags=["training"],
        request=None,
        responses={200: TrainingRunSerializer, **problems(401, 403, 404, 409, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        run = self.get_object()
        run_cancel(run=run)
        return self.respond(run)


class TrainingRunResume(OneRun):
    """Resume a failed or cancelled run after its last complete epoch."""

    scopes = STAFF_ONLY

    @extend_schema(
        operation_id="training_run_resume",
        tags=["training"],
        request=None,
        responses={200: TrainingRunSerializer, **problems(401, 403, 404, 409, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        run = self.get_object()
        run_resume(run=run)
        return self.respond(run)
