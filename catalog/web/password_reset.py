"""Password reset pages: request a link by mail, choose a new password."""

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views import View
from django.views.decorators.cache import never_cache

from catalog.errors import Refused
from catalog.http.error_pages import render_problem
from catalog.http.links import link_maker
from catalog.http.problems import Problem, problem_for
from catalog.http.throttles import count_anonymous
from catalog.services.accounts.passwords import password_reset, password_reset_request, password_reset_user


class EmailForm(forms.Form):
    """The email address of the account."""

    email = forms.EmailField(max_length=254, error_messages={"required": _("Enter your email address.")})


class PasswordForm(forms.Form):
    """The new password."""

    password = forms.CharField(max_length=1000, strip=False, error_messages={"required": _("Choose a password.")})


class PasswordForgotten(View):
    """Send a reset link to an email address. The response does not reveal whether there is an account."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return _page(request, "ask")

    def post(self, request: HttpRequest) -> HttpResponse:
        form = EmailForm(request.POST)
        if not form.is_valid():
            return _page(request, "ask", _first_error(form))
        if (wait := count_anonymous(request, scope="reset").retry_after) is not None:
            sentence = "Too many password mails were requested. Please try again later."
            return _page(request, "ask", Problem(429, "throttled", sentence, headers={"Retry-After": str(wait)}))
        password_reset_request(email=form.cleaned_data["email"], link=link_maker(request))
        return _page(request, "sent")


@method_decorator(never_cache, name="dispatch")
class PasswordReset(View):
    """Set a new password by the link of the mail. A GET changes nothing, since some mail programs open links."""

    def get(self, request: HttpRequest, code: str) -> HttpResponse:
        try:
            password_reset_user(**_parts(code))
        except Refused as refusal:
            return _invalid_link(request, refusal)
        return _page(request, "choose")

    def post(self, request: HttpRequest, code: str) -> HttpResponse:
        form = PasswordForm(request.POST)
        if not form.is_valid():
            return _page(request, "choose", _first_error(form))
        try:
            password_reset(password=form.cleaned_data["password"], **_parts(code))
        except Refused as refusal:
            return _retry(request, refusal) if refusal.code == "weak_password" else _invalid_link(request, refusal)
        return _page(request, "changed")


def _parts(code: str) -> dict[str, str]:
    uid, _, token = code.partition("-")
    return {"uid": uid, "token": token}


def _retry(request: HttpRequest, refusal: Refused) -> HttpResponse:
    return _page(request, "choose", Problem(refusal.status, refusal.code, refusal.detail))


def _invalid_link(request: HttpRequest, refusal: Refused) -> HttpResponse:
    problem = problem_for(refusal)
    assert problem is not None  # noqa: S101 - there is a problem for every refusal
    return render_problem(request, problem)


def _first_error(form: forms.Form) -> Problem:
    return Problem(400, "invalid_input", str(next(iter(form.errors.values()))[0]))


def _page(request: HttpRequest, step: str, problem: Problem | None = None) -> HttpResponse:
    """Render the page at a step: `ask` for a link, link `sent`, `choose` a password, password `changed`."""
    context = {"step": step, "problem": problem}
    page = render(request, "catalog/password.html", context, status=problem.status if problem else 200)
    for name, value in problem.headers.items() if problem else ():
        page[name] = value
    return page
