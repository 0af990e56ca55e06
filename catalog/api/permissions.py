"""What a token is good for. Every view names the scopes it answers to; a view that names none is for people."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request

from catalog.models import Scope
from catalog.services.accounts.devices import token_scope

if TYPE_CHECKING:
    from rest_framework.views import APIView

PEOPLE = (Scope.USER, Scope.STAFF)  # everything of an account: a program has no business there
EVERYBODY = (Scope.USER, Scope.STAFF, Scope.SERVICE)  # asking, and reading the catalogue
STAFF_ONLY = (Scope.STAFF,)


class HasScope(IsAuthenticated):
    """The default everywhere: someone is signed in, with a token or session that is good for the view's `scopes`.

    A browser's session counts as a person's; staff act through a token of their own scope.
    """

    code = "scope_missing"
    message = "This token is not meant for that."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not super().has_permission(request, view):
            return False  # nobody is signed in, which REST framework answers with 401
        return token_scope(token=request.auth) in getattr(view, "scopes", PEOPLE)


class MayHandle(BasePermission):
    """For what staff look after: the view's `needs` names the permission that each method takes."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        needed = getattr(view, "needs", {}).get(request.method)
        return needed is None or bool(request.user and request.user.has_perm(needed))


class SignUpIsOpen(BasePermission):
    code = "sign_up_closed"
    message = "Accounts are made by the staff here."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return bool(settings.SIGN_UP) or request.method != "POST"  # another method is none of it, open or not
