"""What I make of the answers I get."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api.authentication import signed_in
from catalog.api.parsers import DeepSafeJSONParser
from catalog.api.permissions import PEOPLE
from catalog.api.schema import problems
from catalog.api.serializers.feedback import FeedbackRequestSerializer, FeedbackSerializer
from catalog.services.feedback.feedback import feedback_give
from catalog.services.queries.answers import recommendations_of


class RecommendationFeedback(APIView):
    """A thumb for an answer, or that its item was opened."""

    scopes = PEOPLE
    parser_classes: tuple[type[BaseParser], ...] = (DeepSafeJSONParser,)  # a form cannot say null

    @extend_schema(
        operation_id="feedback_give",
        tags=["queries"],
        description="Say what an answer of one of my queries is worth, by the `id` of the recommendation. Saying it "
        "twice changes nothing.",
        request=FeedbackRequestSerializer,
        responses={200: FeedbackSerializer, **problems(400, 401, 403, 404, 411, 413, 415, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        found = get_object_or_404(recommendations_of(owner=signed_in(request)), pk=pk)
        serializer = FeedbackRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        said = feedback_give(recommendation=found, **serializer.validated_data)
        return Response(FeedbackSerializer(said).data)
