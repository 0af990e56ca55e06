from decimal import Decimal

import pytest

from catalog.errors import Refused
from catalog.importing.fields import item_columns, parse_price, parse_stock


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
def test_a_price_is_read_as_a_person_would(text: str, price: str, currency: str) -> None:
    assert parse_price(text) == (Decimal(price), currency)


def test_no_price_is_no_error() -> None:
    assert parse_price("") == (None, "")


@pytest.mark.parametrize("text", ["cheap", "-5", "5-10", "1e5", "NaN", "...", "12 13 please ask", "9" * 11])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_price(text)

    assert caught.value.code == "price_invalid"


def test_columns_that_the_table_lacks_are_not_in_the_answer() -> None:
    assert item_columns({"brand": "Acme"}, {}) == {"brand": "Acme", "attributes": {}}


def test_the_currency_is_taken_from_its_column_before_the_sign_of_the_price() -> None:
    assert item_columns({"price": "$5", "currency": "cad"}, {})["currency"] == "CAD"
    assert item_columns({"price": "$5", "currency": ""}, {})["currency"] == "USD"
    assert item_columns({"price": "5", "currency": "€"}, {})["currency"] == "EUR"
    assert item_columns({"price": "5", "currency": ""}, {})["currency"] == ""


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
def test_a_cell_that_does_not_fit_is_refused_with_its_reason(cells: dict[str, str], code: str) -> None:
    with pytest.raises(Refused) as caught:
        item_columns(cells, {})

    assert caught.value.code == code
    assert caught.value.detail.endswith(".")


def test_an_attribute_without_end_is_refused() -> None:
    with pytest.raises(Refused, match="fabric has 2001"):
        item_columns({}, {"fabric": "x" * 2001})


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
def test_a_stock_is_read_as_a_person_would(text: str, in_stock: bool | None) -> None:
    assert parse_stock(text) is in_stock


@pytest.mark.parametrize("text", ["maybe", "5 pieces", "NaN", "inf", "1e", "\0"])
def test_what_says_nothing_about_the_stock_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_stock(text)
    assert caught.value.code == "stock_invalid"


def test_a_word_about_the_stock_counts_before_a_number() -> None:
    assert item_columns({"stock": "4", "in_stock": "no"}, {})["in_stock"] is False
    assert item_columns({"stock": "0", "in_stock": ""}, {})["in_stock"] is False
    assert "in_stock" not in item_columns({"stock": "", "in_stock": ""}, {})
