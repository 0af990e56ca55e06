"""Endpoint of my webhook signing secret."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api.authentication import current_user
from catalog.api.permissions import PERSONAL_SCOPES
from catalog.api.schema import problems
from catalog.api.serializers.webhooks import WebhookSecretSerializer
from catalog.services.queries.webhooks import webhook_secret, webhook_secret_renew

NO_STORE = {"Cache-Control": "no-store"}  # no cache may store the secret


class WebhookSecretView(APIView):
    """The secret that signs my webhooks: read it, or replace it."""

    scopes = PERSONAL_SCOPES

    @extend_schema(
        operation_id="webhook_secret",
        tags=["account"],
        responses={200: WebhookSecretSerializer, **problems(401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        return _secret_response(webhook_secret(user=current_user(request)))

    @extend_schema(
        operation_id="webhook_secret_renew",
        tags=["account"],
        description="Create a new secret. All webhooks are signed with it from now on, including retries.",
        request=None,
        responses={200: WebhookSecretSerializer, **problems(401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        return _secret_response(webhook_secret_renew(user=current_user(request)))


def _secret_response(secret: str) -> Response:
    return Response(WebhookSecretSerializer({"secret": secret}).data, headers=NO_STORE)
