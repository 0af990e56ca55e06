"""Signing a device in and out, and who it is signed in as."""

from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from drf_spectacular.utils import extend_schema
from knox.models import AuthToken
from knox.views import LogoutView
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.generics import RetrieveAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api.authentication import TokenAuthentication
from catalog.api.schema import problems
from catalog.api.serializers.people import MeSerializer, SignInSerializer, TokenSerializer
from catalog.api.throttles import SharedThrottle
from catalog.models import User


class SignIn(APIView):
    """A new token for a device, in exchange for a name and a password."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (SharedThrottle,)
    throttle_scope = "sign-in"

    @extend_schema(
        operation_id="sign_in",
        tags=["auth"],
        auth=[],
        request={"application/json": SignInSerializer, "multipart/form-data": SignInSerializer},
        responses={200: TokenSerializer, **problems(400, 401, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        serializer = SignInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = authenticate(request._request, **serializer.validated_data)
        if user is None:
            raise AuthenticationFailed("This name and password do not fit together.", code="wrong_credentials")
        row, token = AuthToken.objects.create(user=user)
        user_logged_in.send(sender=type(user), request=request._request, user=user)
        return Response(TokenSerializer({"token": token, "expires_at": row.expiry}).data)

    def get_authenticate_header(self, request: Request) -> str:
        # Nobody is authenticated before signing in, and yet a wrong password is 401, which must say how.
        return TokenAuthentication().authenticate_header(request)  # type: ignore[no-any-return]


class SignOut(LogoutView):  # type: ignore[misc]  # knox ships no types
    """Ends the token that the request carries; the person's other devices stay signed in."""

    authentication_classes = (TokenAuthentication,)

    @extend_schema(operation_id="sign_out", tags=["auth"], request=None, responses={204: None, **problems(401)})
    def post(self, request: Request, format: str | None = None) -> Response:
        ended: Response = super().post(request)
        return ended


class Me(RetrieveAPIView[User]):
    """Who the token belongs to."""

    serializer_class = MeSerializer

    @extend_schema(operation_id="me", tags=["auth"], responses={200: MeSerializer, **problems(401)})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_object(self) -> Any:
        return self.request.user
