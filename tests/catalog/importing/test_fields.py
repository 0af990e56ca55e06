"""Parsing of table cells: prices, currencies, stock, and cells that are refused."""

from decimal import Decimal

import pytest

from catalog.errors import Refused
from catalog.importing.fields import parse_item_fields, parse_price, parse_stock
from tests.helpers.errors import raises_code


@pytest.mark.parametrize(
    ("text", "price", "currency"),
    [
        ("12.50", "12.50", ""),
        ("12,5", "12.50", ""),
        ("1.299,00 €", "1299.00", "EUR"),
        ("1,299.00", "1299.00", ""),
        ("$12.50", "12.50", "USD"),
        ("£ 1,000", "1000.00", "GBP"),
        ("1 299,00 EUR", "1299.00", "EUR"),
        ("1\u00a0299 kr", "1299.00", ""),
        ("CHF 1'299.-", "1299.00", "CHF"),
        ("12,-", "12.00", ""),
        ("Rs. 1,999", "1999.00", "INR"),
        ("1.299", "1299.00", ""),
        ("1.299.000", "1299000.00", ""),
        ("1.299,005", "1299.00", ""),
        ("0.999", "1.00", ""),
        ("19.989999", "19.99", ""),
        (".99", "0.99", ""),
        ("0", "0.00", ""),
    ],
)
def test_a_price_is_parsed_in_common_notations(text: str, price: str, currency: str) -> None:
    assert parse_price(text) == (Decimal(price), currency)


def test_an_empty_price_is_none() -> None:
    assert parse_price("") == (None, "")


@pytest.mark.parametrize("text", ["cheap", "-5", "5-10", "1e5", "NaN", "...", "12 13 please ask", "9" * 11])
def test_an_invalid_price_is_refused(text: str) -> None:
    with raises_code(Refused, "price_invalid"):
        parse_price(text)


def test_columns_missing_from_the_table_are_missing_from_the_result() -> None:
    assert parse_item_fields({"brand": "Acme"}, {}) == {"brand": "Acme", "attributes": {}}


def test_the_currency_column_overrides_the_symbol_in_the_price() -> None:
    assert parse_item_fields({"price": "$5", "currency": "cad"}, {})["currency"] == "CAD"
    assert parse_item_fields({"price": "$5", "currency": ""}, {})["currency"] == "USD"
    assert parse_item_fields({"price": "5", "currency": "€"}, {})["currency"] == "EUR"
    assert parse_item_fields({"price": "5", "currency": ""}, {})["currency"] == ""


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"currency": "EURO"}, "currency_invalid"),
        ({"currency": "12"}, "currency_invalid"),
        ({"url": "javascript:alert(1)"}, "url_invalid"),
        ({"url": "ftp://shop.example/1"}, "url_invalid"),
        ({"url": "shop.example/1"}, "url_invalid"),
        ({"url": "https://shop.example/" + "a" * 1000}, "text_too_long"),
        ({"name": "n" * 301}, "text_too_long"),
        ({"colour": "c" * 51}, "text_too_long"),
        ({"brand": "a\0b"}, "text_binary"),
    ],
)
def test_an_invalid_cell_is_refused(cells: dict[str, str], code: str) -> None:
    with raises_code(Refused, code) as caught:
        parse_item_fields(cells, {})
    assert caught.value.detail.endswith(".")


def test_a_too_long_attribute_is_refused() -> None:
    with raises_code(Refused, "text_too_long", "fabric", 2001):
        parse_item_fields({}, {"fabric": "x" * 2001})


@pytest.mark.parametrize(
    ("text", "in_stock"),
    [
        ("yes", True),
        ("No", False),
        ("TRUE", True),
        ("false", False),
        ("1", True),
        ("0", False),
        ("in stock", True),
        ("In_Stock", True),
        ("out of stock", False),
        ("OUT-OF-STOCK", False),
        ("sold out", False),
        ("preorder", True),
        ("12", True),
        ("0.0", False),
        ("-3", False),
        ("", None),
        (" ", None),
    ],
)
def test_stock_is_parsed_from_words_and_numbers(text: str, in_stock: bool | None) -> None:
    assert parse_stock(text) is in_stock


@pytest.mark.parametrize("text", ["maybe", "5 pieces", "NaN", "inf", "1e", "\0"])
def test_an_invalid_stock_is_refused(text: str) -> None:
    with raises_code(Refused, "stock_invalid"):
        parse_stock(text)


def test_a_stock_word_overrides_a_number() -> None:
    assert parse_item_fields({"stock": "4", "in_stock": "no"}, {})["in_stock"] is False
    assert parse_item_fields({"stock": "0", "in_stock": ""}, {})["in_stock"] is False
    assert "in_stock" not in parse_item_fields({"stock": "", "in_stock": ""}, {})
