"""Who sends a request: a device with a token of its own."""

from typing import TYPE_CHECKING, Any

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication as KnoxAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from catalog.models import User
from catalog.services.accounts.devices import device_touch

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema


class TokenAuthentication(KnoxAuthentication):  # type: ignore[misc]  # knox ships no types
    def authenticate_credentials(self, token: bytes) -> tuple[User, Any]:
        # Anything else cannot be one of ours, and would not survive the way to the database (bad UTF-8, a zero byte).
        if not token.isalnum():
            raise AuthenticationFailed("Invalid token.")
        # One SQL query by the primary key, where knox would read all tokens of the person to tidy them up.
        rows = AuthToken.objects.select_related("user", "device").filter(pk=hash_token(token.decode()))
        row = next(iter(rows), None)
        if row is None or (row.expiry is not None and row.expiry <= timezone.now()):
            raise AuthenticationFailed("Invalid token.")
        found: tuple[User, Any] = self.validate_user(row)
        device_touch(token=row)
        return found


def signed_in(request: Request) -> User:
    """The account behind a request that the permission classes let through."""
    assert isinstance(request.user, User)  # noqa: S101 - IsAuthenticated is the default everywhere
    return request.user


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI schema describes it."""

    target_class = "catalog.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Authorization: Token <token>`, with a token from `POST /api/v1/auth/sign-in/`.",
        }
