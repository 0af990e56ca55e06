"""Permissions: token scopes, staff permissions, and open sign-up.

A view lists the scopes that may use it in `scopes`; the default is `PERSONAL_SCOPES`.
"""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request

from catalog.models import Scope
from catalog.services.accounts.devices import token_scope

if TYPE_CHECKING:
    from rest_framework.views import APIView

PERSONAL_SCOPES = (Scope.USER, Scope.STAFF)  # account data: not for the tokens of programs
ANY_SCOPE = (Scope.USER, Scope.STAFF, Scope.SERVICE)  # queries, and reading the catalogue
STAFF_ONLY = (Scope.STAFF,)


class HasScope(IsAuthenticated):
    """The default: the request is authenticated by a token or session whose scope is in the view's `scopes`.

    A browser's session has the scope `user`; staff endpoints need a token of the scope `staff`.
    """

    code = "scope_missing"
    message = "The scope of this token does not allow this."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not super().has_permission(request, view):
            return False  # REST framework responds with 401
        return token_scope(token=request.auth) in getattr(view, "scopes", PERSONAL_SCOPES)


class HasModelPermission(BasePermission):
    """For staff endpoints: the view's `needs` maps each HTTP method to a Django permission."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        needed = getattr(view, "needs", {}).get(request.method)
        return needed is None or bool(request.user and request.user.has_perm(needed))


class SignUpIsOpen(BasePermission):
    """Refuse to create accounts unless the setting SIGN_UP is on."""

    code = "sign_up_closed"
    message = "Sign-up is closed. Please ask the staff for an account."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return bool(settings.SIGN_UP) or request.method != "POST"  # other methods get 405 either way
