"""What a person's webhooks are signed with."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api.authentication import signed_in
from catalog.api.permissions import PEOPLE
from catalog.api.schema import problems
from catalog.api.serializers.webhooks import WebhookSecretSerializer
from catalog.services.queries.webhooks import webhook_secret, webhook_secret_renew

NOT_KEPT = {"Cache-Control": "no-store"}  # no copy of a secret on the way, nor on the device


class WebhookSecretView(APIView):
    """The secret of my webhooks: to read, and to change for another."""

    scopes = PEOPLE

    @extend_schema(
        operation_id="webhook_secret",
        tags=["account"],
        responses={200: WebhookSecretSerializer, **problems(401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        return _answer(webhook_secret(user=signed_in(request)))

    @extend_schema(
        operation_id="webhook_secret_renew",
        tags=["account"],
        description="Another secret. Webhooks are signed with it from now on, also those that are tried again.",
        request=None,
        responses={200: WebhookSecretSerializer, **problems(401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        return _answer(webhook_secret_renew(user=signed_in(request)))


def _answer(secret: str) -> Response:
    return Response(WebhookSecretSerializer({"secret": secret}).data, headers=NOT_KEPT)
