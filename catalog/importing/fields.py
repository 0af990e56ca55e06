"""Parse table cells into the fields of an item: price, currency, stock, URL, text of limited length.

Every value is validated here, so the database never rejects one. The words for stock are a separate list, because
product feeds use more words ("in stock", "sold out") than the booleans of `clothes_matcher.env`.
"""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator

from catalog.errors import Refused
from catalog.models import CatalogItem

TEXTS = ("name", "category", "brand", "gender", "colour", "collection")
COLUMNS = (*TEXTS, "price", "currency", "url", "in_stock", "stock")
MAX_ATTRIBUTE = 2000

_LIMITS = {field.name: field.max_length for field in CatalogItem._meta.fields if field.max_length}

_CURRENCY_SYMBOLS = {"€": "EUR", "$": "USD", "US$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "zł": "PLN", "₺": "TRY"}
_PRICE = re.compile(r"(?P<before>[^\d.,]{0,5}?)\s*(?P<number>[\d.,][\d.,'\u2019\s]*)(?P<after>[^\d.,]{0,5})")
_IN_STOCK = (
    "yes",
    "y",
    "true",
    "t",
    "in stock",
    "instock",
    "available",
    "limited availability",
    "preorder",
    "backorder",
)
_OUT_OF_STOCK = ("no", "n", "false", "f", "out of stock", "outofstock", "sold out", "soldout", "unavailable", "none")
_STOCK_WORDS = dict.fromkeys(_IN_STOCK, True) | dict.fromkeys(_OUT_OF_STOCK, False)
_is_url = URLValidator(schemes=["http", "https"])


def parse_item_fields(cells: Mapping[str, str], attributes: Mapping[str, str]) -> dict[str, Any]:
    """Map cells to the fields of `CatalogItem`. Columns that the table does not have are not in the result.

    `cells` is keyed by field name, `attributes` by header. Raises `Refused`, which names the column.
    """
    columns: dict[str, Any] = {name: validate_text(name, cells[name]) for name in TEXTS if name in cells}
    if "price" in cells:
        columns["price"], currency = parse_price(cells["price"])
        if currency:
            columns["currency"] = currency
    if cells.get("currency") or ("currency" in cells and "currency" not in columns):
        columns["currency"] = _parse_currency(cells["currency"])
    if "url" in cells:
        columns["url"] = _parse_url(cells["url"])
    # `in_stock` (a word) overrides `stock` (a number of pieces).
    stock = [flag for name in ("stock", "in_stock") if (flag := parse_stock(cells.get(name, ""))) is not None]
    if stock:
        columns["in_stock"] = stock[-1]
    columns["attributes"] = {
        validate_header(name): _validate(name, value, MAX_ATTRIBUTE) for name, value in attributes.items()
    }
    return columns


def validate_text(column: str, value: str) -> str:
    """Return `value` if it fits the item's database column, else raise `Refused`."""
    return _validate(column, value, _LIMITS[column])


def validate_header(header: str) -> str:
    """Return `header` if it can be the name of an attribute, else raise `Refused`."""
    return _validate("title of a column", header, 100)


def _validate(column: str, value: str, limit: int) -> str:
    if len(value) > limit:
        raise Refused("text_too_long", f"The {column} has {len(value)} characters; {limit} fit.")
    if "\0" in value:
        raise Refused("text_binary", f"The {column} holds binary data.")
    return value


def parse_price(text: str) -> tuple[Decimal | None, str]:
    """Parse a price and its currency ("" if not given): "1.299,00 €" -> (1299.00, "EUR"). An empty text -> (None, "").

    With two kinds of separators the last one is the decimal separator. A single separator before exactly three digits
    is a thousands separator ("1.299"), because no shop uses three decimals.
    """
    if not text:
        return None, ""
    match = _PRICE.fullmatch(re.sub(r"^rs\.?\s*", "₹", text, flags=re.IGNORECASE))
    symbol = (match["before"] + match["after"]).strip(" -\u2013\u00a0\u202f") if match else ""
    if match is None or "-" in match["before"]:
        raise Refused("price_invalid", f"{text[:40]!r} is not a price.")
    try:
        price = Decimal(_normalize_number(match["number"])).quantize(Decimal("0.01"))
    except InvalidOperation:
        raise Refused("price_invalid", f"{text[:40]!r} is not a price.") from None
    if price >= Decimal(10) ** 10:
        raise Refused("price_invalid", f"{text[:40]!r} is more than a price can be.")
    return price, _CURRENCY_SYMBOLS.get(symbol) or (symbol.upper() if re.fullmatch("[A-Za-z]{3}", symbol) else "")


def parse_stock(text: str) -> bool | None:
    """Parse the availability from a word ("yes", "out of stock") or a number of pieces. None for an empty text."""
    word = " ".join(re.sub(r"[_-]", " ", text).split()).casefold()
    if not word:
        return None
    if word in _STOCK_WORDS:
        return _STOCK_WORDS[word]
    try:
        pieces = Decimal(text.replace(",", "."))
    except InvalidOperation:
        pieces = Decimal("NaN")
    if not pieces.is_finite():
        raise Refused("stock_invalid", f"{text[:40]!r} is neither a number of pieces nor a word such as yes or no.")
    return pieces > 0


def _normalize_number(text: str) -> str:
    """Convert 1.299,00 and 1,299.00 and 1'299 to the notation of `Decimal`."""
    text = re.sub(r"['\u2019\s]", "", text)
    decimal, other = (",", ".") if text.rfind(",") > text.rfind(".") else (".", ",")
    whole, separator, cents = text.rpartition(decimal)
    is_only_kind = separator and other not in whole
    if decimal in whole or (is_only_kind and len(cents) == 3 and whole.strip("0")):
        whole, separator, cents = whole + cents, "", ""
    return whole.replace(",", "").replace(".", "") + separator.replace(",", ".") + cents


def _parse_currency(text: str) -> str:
    code = _CURRENCY_SYMBOLS.get(text) or text.upper()
    if code and not re.fullmatch("[A-Z]{3}", code):
        raise Refused("currency_invalid", f"{text[:40]!r} is not a currency: three letters are needed, such as EUR.")
    return code


def _parse_url(text: str) -> str:
    try:
        if validate_text("url", text):
            _is_url(text)
    except ValidationError:
        raise Refused("url_invalid", f"{text[:80]!r} is not a web address that begins with https://.") from None
    return text
