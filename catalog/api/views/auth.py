"""Making an account, signing a device in and out, and passwords."""

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

from catalog.api.authentication import TokenAuthentication, signed_in
from catalog.api.permissions import EVERYBODY, PEOPLE, HasScope, SignUpIsOpen
from catalog.api.schema import problems
from catalog.api.serializers.people import (
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


def forms(serializer: type[Any]) -> dict[str, type[Any]]:
    """A body that may come as JSON or as a form."""
    return {"application/json": serializer, "multipart/form-data": serializer}


def token_answer(request: Request, user: User, *, device: str = "", scope: str = Scope.USER) -> dict[str, Any]:
    row, secret = device_sign_in(user=user, name=device, scope=scope)
    user_logged_in.send(sender=type(user), request=request._request, user=user)
    answer: dict[str, Any] = TokenSerializer({"token": secret, "expires_at": row.expiry, "scope": scope}).data
    return answer


class SignUp(APIView):
    """A new account, and a token for the device that made it. Only where the site lets anybody in."""

    authentication_classes = ()
    permission_classes = (SignUpIsOpen,)
    throttle_scope = "sign-up"

    @extend_schema(
        operation_id="sign_up",
        tags=["auth"],
        auth=[],
        request=forms(SignUpSerializer),
        responses={201: TokenSerializer, **problems(400, 403, 409, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = SignUpSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        device = serializer.validated_data.pop("device", "")
        user = user_create(**serializer.validated_data)
        return Response(token_answer(request, user, device=device), status=status.HTTP_201_CREATED)


class SignIn(APIView):
    """A new token for a device, in exchange for a name and a password."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_scope = "sign-in"

    @extend_schema(
        operation_id="sign_in",
        tags=["auth"],
        auth=[],
        request=forms(SignInSerializer),
        responses={200: TokenSerializer, **problems(400, 401, 403, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = SignInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        # Ten wrong passwords are answered by the middleware: 429, whatever is answered here.
        user = authenticate(request._request, username=given.pop("username"), password=given.pop("password"))
        if not isinstance(user, User):
            raise AuthenticationFailed("This name and password do not fit together.", code="wrong_credentials")
        return Response(token_answer(request, user, **given))

    def get_authenticate_header(self, request: Request) -> str:
        # Nobody is authenticated before signing in, and yet a wrong password is 401, which must say how.
        return TokenAuthentication().authenticate_header(request)  # type: ignore[no-any-return]


class SignOut(LogoutView):  # type: ignore[misc]  # knox ships no types
    """Ends the token that the request carries; the person's other devices stay signed in."""

    authentication_classes = (TokenAuthentication,)
    permission_classes = (HasScope,)
    scopes = EVERYBODY

    @extend_schema(operation_id="sign_out", tags=["auth"], request=None, responses={204: None, **problems(401, 429)})
    def post(self, request: Request, format: str | None = None) -> Response:
        ended: Response = super().post(request)
        return ended


class SignOutEverywhere(APIView):
    """Ends all tokens of the person and all sessions in browsers, the one that asks included."""

    scopes = PEOPLE

    @extend_schema(
        operation_id="sign_out_everywhere",
        tags=["auth"],
        request=None,
        responses={204: None, **problems(401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        user = signed_in(request)
        devices_sign_out(user=user)
        sessions_sign_out(user=user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class Password(APIView):
    """A new password, in exchange for the old one. All other devices and browsers are signed out."""

    scopes = PEOPLE
    throttle_scope = "sign-in"

    @extend_schema(
        operation_id="password_change",
        tags=["auth"],
        request=forms(PasswordChangeSerializer),
        responses={204: None, **problems(400, 401, 403, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = PasswordChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = signed_in(request)
        password_change(user=user, request=request._request, device=request.auth, **serializer.validated_data)
        update_session_auth_hash(request._request, user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordReset(APIView):
    """A mail with a link and a code for a new password, if there is an account with this address.

    The answer is the same if there is none.
    """

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_scope = "reset"

    @extend_schema(
        operation_id="password_reset",
        tags=["auth"],
        auth=[],
        request=forms(PasswordResetSerializer),
        responses={202: None, **problems(400, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = PasswordResetSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        password_reset_request(link=link_maker(request._request), **serializer.validated_data)
        return Response(status=status.HTTP_202_ACCEPTED)


class PasswordResetConfirm(APIView):
    """A new password, in exchange for the code of the mail. All devices and browsers are signed out."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_scope = "sign-in"

    @extend_schema(
        operation_id="password_reset_confirm",
        tags=["auth"],
        auth=[],
        request=forms(PasswordResetConfirmSerializer),
        responses={204: None, **problems(400, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = PasswordResetConfirmSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        password_reset(**serializer.validated_data)
        return Response(status=status.HTTP_204_NO_CONTENT)
