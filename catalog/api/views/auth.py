"""Endpoints for sign-up, sign-in, sign-out and passwords."""

from typing import Any

from django.contrib.auth import authenticate, update_session_auth_hash
from django.contrib.auth.signals import user_logged_in
from drf_spectacular.utils import extend_schema
from knox.views import LogoutView
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api.authentication import TokenAuthentication, current_user
from catalog.api.permissions import ANY_SCOPE, PERSONAL_SCOPES, HasScope, SignUpIsOpen
from catalog.api.schema import problems
from catalog.api.serializers.accounts import (
    PasswordChangeSerializer,
    PasswordResetConfirmSerializer,
    PasswordResetSerializer,
    SignInSerializer,
    SignUpSerializer,
    TokenSerializer,
)
from catalog.http.links import link_maker
from catalog.models import Scope, User
from catalog.services.accounts.devices import device_sign_in, devices_sign_out, sessions_sign_out
from catalog.services.accounts.passwords import password_reset, password_reset_request
from catalog.services.accounts.users import password_change, user_create


def json_or_form(serializer: type[Any]) -> dict[str, type[Any]]:
    """Return the OpenAPI request of a body that is JSON or a multipart form."""
    return {"application/json": serializer, "multipart/form-data": serializer}


def create_token(request: Request, user: User, *, device: str = "", scope: str = Scope.USER) -> dict[str, Any]:
    """Sign a device in; return the body of the response with its new token."""
    row, secret = device_sign_in(user=user, name=device, scope=scope)
    user_logged_in.send(sender=type(user), request=request._request, user=user)
    body: dict[str, Any] = TokenSerializer({"token": secret, "expires_at": row.expiry, "scope": scope}).data
    return body


class SignUp(APIView):
    """Create an account and a token for this device. Only where the site allows sign-up."""

    authentication_classes = ()
    permission_classes = (SignUpIsOpen,)
    throttle_scope = "sign-up"

    @extend_schema(
        operation_id="sign_up",
        tags=["auth"],
        auth=[],
        request=json_or_form(SignUpSerializer),
        responses={201: TokenSerializer, **problems(400, 403, 409, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = SignUpSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        device = serializer.validated_data.pop("device", "")
        user = user_create(**serializer.validated_data)
        return Response(create_token(request, user, device=device), status=status.HTTP_201_CREATED)


class SignIn(APIView):
    """Create a token for this device from a username and password."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_scope = "sign-in"

    @extend_schema(
        operation_id="sign_in",
        tags=["auth"],
        auth=[],
        request=json_or_form(SignInSerializer),
        responses={200: TokenSerializer, **problems(400, 401, 403, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = SignInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        # After ten wrong passwords django-axes' middleware replaces this response with 429.
        user = authenticate(request._request, username=data.pop("username"), password=data.pop("password"))
        if not isinstance(user, User):
            raise AuthenticationFailed("Wrong username or password.", code="wrong_credentials")
        return Response(create_token(request, user, **data))

    def get_authenticate_header(self, request: Request) -> str:
        # 401 needs a WWW-Authenticate header, but this view has no authentication class to provide it.
        return TokenAuthentication().authenticate_header(request)  # type: ignore[no-any-return]


class SignOut(LogoutView):  # type: ignore[misc]  # knox ships no types
    """Delete the token of this request; my other devices stay signed in."""

    authentication_classes = (TokenAuthentication,)
    permission_classes = (HasScope,)
    scopes = ANY_SCOPE

    @extend_schema(operation_id="sign_out", tags=["auth"], request=None, responses={204: None, **problems(401, 429)})
    def post(self, request: Request, format: str | None = None) -> Response:
        response: Response = super().post(request)
        return response


class SignOutEverywhere(APIView):
    """Delete all my tokens and browser sessions, including this one."""

    scopes = PERSONAL_SCOPES

    @extend_schema(
        operation_id="sign_out_everywhere",
        tags=["auth"],
        request=None,
        responses={204: None, **problems(401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        user = current_user(request)
        devices_sign_out(user=user)
        sessions_sign_out(user=user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class Password(APIView):
    """Change my password. All my other devices and browsers are signed out."""

    scopes = PERSONAL_SCOPES
    throttle_scope = "sign-in"

    @extend_schema(
        operation_id="password_change",
        tags=["auth"],
        request=json_or_form(PasswordChangeSerializer),
        responses={204: None, **problems(400, 401, 403, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = PasswordChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = current_user(request)
        password_change(user=user, request=request._request, device=request.auth, **serializer.validated_data)
        update_session_auth_hash(request._request, user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordReset(APIView):
    """Send a mail with a link and a code for a new password, if there is an account with this email address.

    The response is the same if there is none.
    """

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_scope = "reset"

    @extend_schema(
        operation_id="password_reset",
        tags=["auth"],
        auth=[],
        request=json_or_form(PasswordResetSerializer),
        responses={202: None, **problems(400, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = PasswordResetSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        password_reset_request(link=link_maker(request._request), **serializer.validated_data)
        return Response(status=status.HTTP_202_ACCEPTED)


class PasswordResetConfirm(APIView):
    """Set a new password with the code of the mail. All devices and browsers are signed out."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_scope = "sign-in"

    @extend_schema(
        operation_id="password_reset_confirm",
        tags=["auth"],
        auth=[],
        request=json_or_form(PasswordResetConfirmSerializer),
        responses={204: None, **problems(400, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = PasswordResetConfirmSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        password_reset(**serializer.validated_data)
        return Response(status=status.HTTP_204_NO_CONTENT)
