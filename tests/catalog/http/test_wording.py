"""Every sentence is translated into Polish with the same placeholders, and the compiled file is current."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.messages import KEYWORDS, MO, ROOT, UNTRANSLATED, compiled, sentences, translations

PLACEHOLDER = re.compile(r"\{[^}]*\}|%\([^)]*\)[a-z]|%[a-z]")


def texts(catalog: Any) -> dict[Any, Any]:
    return {message.id: message.string for message in catalog if message.id}


def test_sentences_are_collected_from_the_code() -> None:
    collected = texts(sentences())
    assert len(collected) > 60
    assert "The picture is damaged or incomplete. Please send it again." in collected


def test_the_translation_file_has_exactly_the_sentences_of_the_code() -> None:
    assert set(texts(translations())) == set(texts(sentences()))


def test_every_sentence_is_translated_with_the_same_placeholders() -> None:
    for english, polish in texts(translations()).items():
        for one in (polish,) if isinstance(polish, str) else polish:
            of = english if isinstance(english, str) else english[1]
            assert one.strip(), english
            assert one != of, english
            assert sorted(PLACEHOLDER.findall(one)) == sorted(PLACEHOLDER.findall(of)), english


def test_the_compiled_translations_are_up_to_date() -> None:
    assert MO.read_bytes() == compiled(translations()), "run: make messages"


# --- sentences that the collection would miss: f-strings

SENTENCES = {name: places[0] for name, places in KEYWORDS.items() if places and name[0].isupper()}
# Files whose sentences are not translated: a worker's, shown by their code in other languages
# (catalog.http.problems.FAILURE_SENTENCES), and those of English pages and for staff.
UNTRANSLATED_FILES = {
    "catalog/outbound/fetch.py",
    "catalog/outbound/post.py",
    "catalog/services/encoders/archives.py",
    "catalog/services/encoders/register.py",
    "catalog/services/encoders/evaluations.py",
    "catalog/services/encoders/release.py",
    "catalog/web/throttles.py",
    "worker/training/evaluate.py",
    "worker/queries/replay.py",
    "worker/training/run.py",
}


def code_files() -> list[Path]:
    files = [file for package in ("catalog", "worker") for file in (ROOT / package).rglob("*.py")]
    return [file for file in files if not {*UNTRANSLATED, "migrations"} & set(file.parts)]


def f_string_sentences(tree: ast.AST) -> list[str]:
    """Return the sentences that are f-strings, which have no translation."""
    f_strings = []
    for call in ast.walk(tree):
        name = getattr(getattr(call, "func", None), "id", getattr(getattr(call, "func", None), "attr", ""))
        if isinstance(call, ast.Call) and name in SENTENCES and len(call.args) >= SENTENCES[name]:
            sentence = call.args[SENTENCES[name] - 1]
            if isinstance(sentence, ast.JoinedStr):
                f_strings.append(ast.unparse(sentence))
    return f_strings


@pytest.mark.parametrize("file", code_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_no_translated_sentence_is_an_f_string(file: Path) -> None:
    if str(file.relative_to(ROOT)) not in UNTRANSLATED_FILES:
        assert f_string_sentences(ast.parse(file.read_text())) == []


def test_the_f_string_check_finds_one() -> None:
    assert f_string_sentences(ast.parse("raise Refused('code', f'{limit} is too much')")) == ["f'{limit} is too much'"]
