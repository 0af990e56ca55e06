"""Endpoint for feedback on a recommendation."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api.authentication import current_user
from catalog.api.parsers import DeepSafeJSONParser
from catalog.api.permissions import PERSONAL_SCOPES
from catalog.api.schema import problems
from catalog.api.serializers.feedback import FeedbackRequestSerializer, FeedbackSerializer
from catalog.services.feedback.feedback import feedback_give
from catalog.services.queries.read import recommendations_of


class RecommendationFeedback(APIView):
    """Give feedback on a recommendation: a verdict, an opened item, training consent."""

    scopes = PERSONAL_SCOPES
    parser_classes: tuple[type[BaseParser], ...] = (DeepSafeJSONParser,)  # a form cannot express null

    @extend_schema(
        operation_id="feedback_give",
        tags=["queries"],
        description="Give feedback on a recommendation of one of my queries, by the recommendation's `id`. Idempotent.",
        request=FeedbackRequestSerializer,
        responses={200: FeedbackSerializer, **problems(400, 401, 403, 404, 411, 413, 415, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        recommendation = get_object_or_404(recommendations_of(owner=current_user(request)), pk=pk)
        serializer = FeedbackRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        feedback = feedback_give(recommendation=recommendation, **serializer.validated_data)
        return Response(FeedbackSerializer(feedback).data)
