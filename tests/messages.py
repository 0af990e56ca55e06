"""Translation file: collects the sentences of the code and the templates, and compiles their translations.

    python -m tests.messages        (or: make messages)

updates locale/pl/LC_MESSAGES/django.po from the code and compiles it. New sentences are added without a translation,
removed ones are deleted; the tests fail until each sentence is translated.
"""

import io
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "locale" / "pl" / "LC_MESSAGES"
PO, MO = FOLDER / "django.po", FOLDER / "django.mo"

DATED = datetime(2026, 11, 24, tzinfo=UTC)  # constant, so that the file changes only when its sentences do

# Arguments that are sentences, by function or class. The first five are gettext's, the others are translated later.
KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "AuthenticationFailed": (1,),
    "ErrorDetail": (1,),
    "ParseError": (1,),
    "PermissionDenied": (1,),
    "Problem": (3,),
    "Refused": (2,),
    "ValidationError": (1,),
    "_error": (2,),
}
IN_TEMPLATE = re.compile(r"""{% translate "([^"]+)" %}""")
# Folders whose sentences are for staff and operators: in English only.
UNTRANSLATED = ("admin", "importing", "management")


def sentences() -> Catalog:
    """Return the sentences of the code and the templates, with the files they occur in."""
    catalog = Catalog(locale="en")
    for package in ("catalog", "worker"):
        for file, _, message, comments, _ in extract_from_dir(
            ROOT / package, method_map=[("**.py", "python")], keywords=KEYWORDS
        ):
            text = message if isinstance(message, str) else message[0]
            if Path(file).parts[0] not in UNTRANSLATED and " " in text.strip():  # a sentence
                catalog.add(message, locations=[(f"{package}/{file}", None)], auto_comments=comments)
    for page in sorted((ROOT / "templates").rglob("*.html")):
        for text in IN_TEMPLATE.findall(page.read_text()):
            catalog.add(text, locations=[(str(page.relative_to(ROOT)), None)])
    return catalog


def translations() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="pl")


def compiled(catalog: Catalog) -> bytes:
    target = io.BytesIO()
    write_mo(target, catalog)
    return target.getvalue()


def main() -> None:
    catalog = translations()
    catalog.update(sentences(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.msgid_bugs_address = catalog.last_translator = catalog.language_team = ""
    catalog.creation_date = catalog.revision_date = DATED
    with PO.open("wb") as file:
        write_po(file, catalog, width=110, sort_output=True, omit_header=False, include_lineno=False)
    MO.write_bytes(compiled(catalog))
    missing = [message.id for message in catalog if message.id and not message.string]
    sys.stdout.write("".join(f"missing translation: {text}\n" for text in missing))


if __name__ == "__main__":
    main()
