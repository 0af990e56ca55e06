"""From the cells of a table to the columns of an item: checked here, so that the database never has to complain."""

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

_SIGNS = {"€": "EUR", "$": "USD", "US$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "zł": "PLN", "₺": "TRY"}
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


def item_columns(cells: Mapping[str, str], attributes: Mapping[str, str]) -> dict[str, Any]:
    """The item's columns from the cells of the same names; what the table does not have is not in the answer.

    Refused, with the column in the sentence, for what does not fit.
    """
    columns: dict[str, Any] = {name: checked_text(name, cells[name]) for name in TEXTS if name in cells}
    if "price" in cells:
        columns["price"], sign = parse_price(cells["price"])
        if sign:
            columns["currency"] = sign
    if cells.get("currency") or ("currency" in cells and "currency" not in columns):
        columns["currency"] = _currency(cells["currency"])
    if "url" in cells:
        columns["url"] = _url(cells["url"])
    # A word in one column says it plainly; a number in the other is only counted where it does not.
    stock = [told for name in ("stock", "in_stock") if (told := parse_stock(cells.get(name, ""))) is not None]
    if stock:
        columns["in_stock"] = stock[-1]
    columns["attributes"] = {checked_title(name): _attribute(name, value) for name, value in attributes.items()}
    return columns


def checked_text(column: str, value: str) -> str:
    """`value`, if the item's column can hold it."""
    return _fitting(column, value, _LIMITS[column])


def checked_title(title: str) -> str:
    return _fitting("title of a column", title, 100)


def _attribute(name: str, value: str) -> str:
    return _fitting(name, value, MAX_ATTRIBUTE)


def _fitting(column: str, value: str, limit: int) -> str:
    if len(value) > limit:
        raise Refused("text_too_long", f"The {column} has {len(value)} characters; {limit} fit.")
    if "\0" in value:
        raise Refused("text_binary", f"The {column} holds binary data.")
    return value


def parse_price(text: str) -> tuple[Decimal | None, str]:
    """A price as people write it, and the currency if it is written beside: "1.299,00 €" -> (1299.00, "EUR").

    Of two kinds of separators the last is the decimal one. A single one before exactly three digits separates
    thousands ("1.299"), since no shop prices in tenths of a cent. An empty text is no price.
    """
    if not text:
        return None, ""
    match = _PRICE.fullmatch(re.sub(r"^rs\.?\s*", "₹", text, flags=re.IGNORECASE))
    sign = (match["before"] + match["after"]).strip(" -\u2013\u00a0\u202f") if match else ""
    if match is None or "-" in match["before"]:
        raise Refused("price_invalid", f"{text[:40]!r} is not a price.")
    try:
        price = Decimal(_plain_number(match["number"])).quantize(Decimal("0.01"))
    except InvalidOperation:
        raise Refused("price_invalid", f"{text[:40]!r} is not a price.") from None
    if price >= Decimal(10) ** 10:
        raise Refused("price_invalid", f"{text[:40]!r} is more than a price can be.")
    return price, _SIGNS.get(sign) or (sign.upper() if re.fullmatch("[A-Za-z]{3}", sign) else "")


def parse_stock(text: str) -> bool | None:
    """Whether an item can be bought: a word ("yes", "out of stock") or a number of pieces. None for an empty text."""
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


def _plain_number(text: str) -> str:
    """1.299,00 and 1,299.00 and 1'299 in the one way that Decimal reads."""
    text = re.sub(r"['\u2019\s]", "", text)
    decimal, other = (",", ".") if text.rfind(",") > text.rfind(".") else (".", ",")
    whole, separator, cents = text.rpartition(decimal)
    alone = separator and other not in whole
    if decimal in whole or (alone and len(cents) == 3 and whole.strip("0")):
        whole, separator, cents = whole + cents, "", ""
    return whole.replace(",", "").replace(".", "") + separator.replace(",", ".") + cents


def _currency(text: str) -> str:
    code = _SIGNS.get(text) or text.upper()
    if code and not re.fullmatch("[A-Z]{3}", code):
        raise Refused("currency_invalid", f"{text[:40]!r} is not a currency: three letters are needed, such as EUR.")
    return code


def _url(text: str) -> str:
    try:
        if checked_text("url", text):
            _is_url(text)
    except ValidationError:
        raise Refused("url_invalid", f"{text[:80]!r} is not a web address that begins with https://.") from None
    return text
