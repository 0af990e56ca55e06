"""Sentences for people, in the language of whoever asks.

The code raises and stores them in English. They are translated where they are shown, in `catalog.http.problems`, so
that a
log stays English and a failed query can be read in any language later. Only those with something in their middle are
translated where they are made, by `gettext(...).format(...)`. `make messages` collects them all, by what they are an
argument of, and those of the pages that speak several languages (tests/messages.py). Mails have a file per language.
"""

from django.utils.translation import get_language, gettext, gettext_noop, ngettext_lazy

# What a worker tells about a query, in general words: the exact ones may hold a number, so they are kept in English.
FAILURES = {
    "internal_error": gettext_noop("Something on our side failed on this photo each time. Please try another picture."),
    "photo_too_large": gettext_noop("The picture is too large. Please send a smaller one."),
    "photo_too_many_pixels": gettext_noop("The picture has too many pixels. Please send a smaller one."),
    "photo_too_small": gettext_noop("The picture is too small. Please send a larger one."),
    "photo_unreadable": gettext_noop("There is no picture at this address, but something else."),
    "photo_format_unsupported": gettext_noop("Pictures of this kind are not taken."),
    "crop_too_small": gettext_noop("The crop leaves too little of the photo."),
    "url_unreachable": gettext_noop("The picture could not be fetched from this address."),
    "url_timeout": gettext_noop("The picture did not arrive in time."),
    "webhook_failed": gettext_noop("The address could not be told that the query has ended."),
    "url_too_large": gettext_noop("The picture at this address is too large."),
}

# Sentences of REST framework that it has no Polish for. Django looks them up among ours as well.
FRAMEWORK = (
    gettext_noop("A valid biginteger is required."),
    gettext_noop("Datetime value out of range."),
    gettext_noop("Ensure this field has at least {min_length} elements."),
    gettext_noop("Ensure this field has no more than {max_length} elements."),
    ngettext_lazy("Expected available in {wait} second.", "Expected available in {wait} seconds.", "wait"),
    gettext_noop("Integer value too large to convert to float"),
    gettext_noop("Invalid input."),
    gettext_noop("Must be a valid UUID."),
    gettext_noop("Must be a valid boolean."),
    gettext_noop("Not a valid string."),
    gettext_noop("Surrogate characters are not allowed: U+{code_point:X}."),
    gettext_noop("This dictionary may not be empty."),
)


def translated(sentence: str) -> str:
    """The sentence as it is shown; one that is not known stays as it is."""
    return gettext(sentence) if sentence else ""  # to gettext nothing means: tell about the translation


def failure_sentence(code: str, detail: str) -> str:
    """Why a query failed, from the English words that a worker stored: those translated, else the code's own."""
    told = translated(detail)
    if told != detail or (get_language() or "en").startswith("en"):
        return told
    return translated(FAILURES.get(code, detail))
