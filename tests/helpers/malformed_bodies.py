"""Hypothesis strategies for malformed request bodies, and their encodings as JSON, form and raw picture."""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st

from tests.helpers.factories import jpeg
from tests.helpers.pictures import encode_image, four_colours, png_that_claims

RawBody = tuple[bytes, str, str]
"""A body, its content type, and the query string of the URL."""

BOUNDARY = "x-boundary-x"
DEEP = {"deep list": b"[" * 3000 + b"]" * 3000, "deep object": b'{"a":' * 3000 + b"1" + b"}" * 3000}

anything = st.characters(exclude_categories=())  # lone surrogates and null characters among them
PICTURES = [encode_image(four_colours(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")] + [
    png_that_claims(60_000, 60_000)
]


@st.composite
def broken_pictures(draw: st.DrawFn) -> bytes:
    """A picture with changed bytes, cut off, or followed by other data."""
    picture = bytearray(draw(st.sampled_from(PICTURES)))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, len(picture) - 1), st.integers(0, 255)), max_size=4)):
        picture[place] = byte
    end = draw(st.integers(0, len(picture)))
    return bytes(picture[:end]) + draw(st.sampled_from([b"", b"\0" * 1000, b"<script>"]))


numbers = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**18, 10**400, -(10**30)]),
    st.floats(allow_nan=True, allow_infinity=True),
)
texts = st.one_of(
    st.text(anything, max_size=20),
    st.sampled_from(
        [
            *("", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "0", "-1", "1e999", "nan", "٣", "null", "[]", "{}", "@"),
            *("../../etc/passwd", "' OR 1=1 --", "%00", "{0}", "{names}", "%s%n", "a@b.c\r\nBcc: d@e.f", "\u202egpj"),
            *("A" * 5000, "\ufdfa" * 149, "é" * 200_000, "QUJ", "QUJD=", "data:image/png;base64,", "=" * 9, "////"),
            *(
                "00000000-0000-0000-0000-000000000000",
                "{12345678-1234-5678-1234-567812345678}",
                "http://[",
                "http://a:b",
            ),
            *("2" * 5000, "http://" + "a." * 900, "xn--0.example", "a" * 300 + "@example.org", *DEEP),
        ]
    ),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts, broken_pictures()),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(anything, max_size=9), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn, body: Any) -> Any:
    """Replace, remove, extend or wrap in a list one to three parts of the body, or the whole."""
    body = copy.deepcopy(body)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([("whole",), *(("whole", *place) for place in places(body))]))
        holder: Any = {"whole": body}
        for step in way:
            holder = holder[step]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "extra", "wrap"])):
            case "remove" if last != "whole":
                del holder[last]
            case "extra" if isinstance(holder[last], dict):
                holder[last][draw(texts)] = draw(values)
            case "wrap":
                holder[last] = [holder[last]]
            case _:
                holder[last] = draw(values)
        body = body if last != "whole" or way else holder["whole"]
    return body


def places(body: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every part of a body."""
    inside = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, part in inside:
        yield (*here, name)
        yield from places(part, (*here, name))


def as_json(body: Any) -> RawBody:
    text = json.dumps(body, default=lambda picture: base64.b64encode(picture).decode()).encode()
    for name, deep in DEEP.items():
        text = text.replace(json.dumps(name).encode(), deep)
    return text, "application/json", ""


def as_form(body: Any) -> RawBody:
    """Encode pictures as files, strings unchanged, other values as JSON; a body that is not an object has no name."""
    fields = body if isinstance(body, dict) else {"": body}
    several = [(name, one) for name, value in fields.items() for one in (value if isinstance(value, list) else [value])]
    parts = b"".join(_part(name, value) for name, value in several)
    return parts + f"--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}", ""


def as_picture(body: Any) -> RawBody:
    """Send the picture as the whole body, and the other fields in the query string."""
    fields = body if isinstance(body, dict) else {"k": body}
    parameters = {name: value if isinstance(value, str) else _json(value) for name, value in fields.items()}
    parameters.pop("photo", None)
    photo = fields.get("photo", jpeg())
    content = photo if isinstance(photo, bytes) else _json(photo)
    return content, "image/jpeg", urlencode(parameters, errors="surrogatepass")


def _part(name: str, value: Any) -> bytes:
    head = b'Content-Disposition: form-data; name="' + _bytes(name).replace(b'"', b"%22") + b'"'
    if isinstance(value, bytes):
        head += b'; filename="a.jpg"\r\nContent-Type: image/jpeg'
    content = value if isinstance(value, bytes) else _bytes(value) if isinstance(value, str) else _json(value)
    return f"--{BOUNDARY}\r\n".encode() + head + b"\r\n\r\n" + content + b"\r\n"


def _json(value: Any) -> bytes:
    return as_json(value)[0]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
