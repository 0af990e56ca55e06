"""Token authentication: one knox token per device."""

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
    """Authenticate by one SQL query, and record when the device was last seen."""

    def authenticate_credentials(self, token: bytes) -> tuple[User, Any]:
        # Tokens are alphanumeric. Other bytes (invalid UTF-8, a null byte) would fail in the database.
        if not token.isalnum():
            raise AuthenticationFailed("Invalid token.")
        # One SQL query by the primary key; knox reads all tokens of the user to delete expired ones.
        rows = AuthToken.objects.select_related("user", "device").filter(pk=hash_token(token.decode()))
        row = next(iter(rows), None)
        if row is None or (row.expiry is not None and row.expiry <= timezone.now()):
            raise AuthenticationFailed("Invalid token.")
        credentials: tuple[User, Any] = self.validate_user(row)
        device_touch(token=row)
        return credentials


def current_user(request: Request) -> User:
    """Return the user of an authenticated request."""
    assert isinstance(request.user, User)  # noqa: S101 - IsAuthenticated is the default everywhere
    return request.user


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """OpenAPI description of the token header."""

    target_class = "catalog.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Authorization: Token <token>`, with a token from `POST /api/v1/auth/sign-in/`.",
        }
