"""What a request about an encoder says, read with care."""

from django import forms
from django.http import HttpRequest

from catalog.errors import Refused
from catalog.models import Encoder

MAX_DIGITS = 18  # of a key; a longer number is none that a database knows


class ReasonForm(forms.Form):
    reason = forms.CharField(required=False, max_length=1000)


def reason_in(request: HttpRequest) -> str:
    """Why, in the words of whoever sent it; "" if nothing was said. Refused when it cannot be kept."""
    form = ReasonForm(request.POST)
    if not form.is_valid():
        raise Refused("reason", "The reason must be plain text of 1,000 characters at most.")
    return str(form.cleaned_data["reason"])


def other_named(key: str, encoder: Encoder) -> Encoder | None:
    """Another encoder of the same kind, by its key as it was sent; None if that names none."""
    if not key.isascii() or not key.isdecimal() or len(key) > MAX_DIGITS:
        return None
    return Encoder.objects.filter(pk=int(key), kind=encoder.kind).exclude(pk=encoder.pk).first()


def other_suggested(encoder: Encoder) -> Encoder | None:
    """Whom to compare an encoder with: the live one, and the live one with whoever it was compared with last."""
    live = Encoder.objects.live()
    if live is not None and live != encoder and live.kind == encoder.kind:
        return live
    last = encoder.evaluations.exclude(against=None).order_by("-created_at").first()
    return last.against if last else None


def page_to_return_to(request: HttpRequest) -> str:
    back = "compare" if request.POST.get("back") == "compare" else "change"
    return f"admin:catalog_encoder_{back}"
