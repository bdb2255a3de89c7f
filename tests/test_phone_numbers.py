"""Telephone numbers as people write them become E.164."""

import importlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.adapters.phone_numbers import MAX_CHARS, parse_phone, phone_parser
from tecnobot_core.errors import ConfigurationError, MissingDependencyError


def each(texts: str) -> list[str]:
    """The texts between bars."""
    return texts.split("|")


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("5512345678", "MX", "+525512345678"),
        ("55 1234 5678", "MX", "+525512345678"),
        ("(55) 1234-5678", "MX", "+525512345678"),
        ("55.1234.5678", "MX", "+525512345678"),
        ("+52 55 1234 5678", "ES", "+525512345678"),
        ("+5215512345678", "MX", "+525512345678"),  # as WhatsApp says it
        ("5215512345678", "MX", "+525512345678"),
        ("044 55 1234 5678", "MX", "+525512345678"),
        ("01 55 1234 5678", "MX", "+525512345678"),
        ("Tel. 55 1234 5678", "MX", "+525512345678"),
        ("mi número es el 55 1234 5678, gracias", "MX", "+525512345678"),
        ("55\u00a01234\u00a05678", "MX", "+525512345678"),
        ("\u202a+52 55 1234 5678\u202c", "MX", "+525512345678"),
        ("55\u200b1234\u20605678", "MX", "+525512345678"),
        ("５５１２３４５６７８", "MX", "+525512345678"),
        ("612 34 56 78", "ES", "+34612345678"),
        ("0034 612345678", "ES", "+34612345678"),
        ("34 612345678", "ES", "+34612345678"),
        ("91 123 45 67", "ES", "+34911234567"),
        ("11 15 2345 6789", "AR", "+5491123456789"),
        ("+54 9 11 2345-6789", "AR", "+5491123456789"),
        ("9 8765 4321", "CL", "+56987654321"),
        ("999 888 777", "PE", "+51999888777"),
        ("300 1234567", "CO", "+573001234567"),
        ("0414-1234567", "VE", "+584141234567"),
        ("099 123 4567", "EC", "+593991234567"),
        ("8888 8888", "CR", "+50688888888"),
        ("+1 (809) 555-1234", "DO", "+18095551234"),
        ("(11) 98765-4321", "BR", "+5511987654321"),
    ],
)
def test_a_number_as_people_write_it(text: str, country: str, number: str) -> None:
    assert parse_phone(text, country) == number


@pytest.mark.parametrize(
    "text",
    [
        *each(
            "|no tengo|911|*123#|123|55 1234 567|55 1234 56789|1234567890|0000000000|1 800 FLORES|55-CINCO|+52|+|"
            "+999 123456789|55 1234 5678 o 55 8765 4321|55 1234 5678 ext 12|tengo 2 hijos, 55 1234 5678|"
            "ana@example.com|31/12/2026|2026-12-31|$ 1,234.50|612345678|+52 155 1234 5678 9|👍"
        ),
        "5" * 30,
        "5" * (MAX_CHARS + 1),
        "+52 1" * 80,
        "55 1234 5678" + " gracias" * 30,
    ],
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_phone(text, "MX")


def test_a_parser_knows_its_country() -> None:
    assert phone_parser("es")("612345678") == "+34612345678"


@pytest.mark.parametrize("country", ["", "XX", "ESP", "34", "España"])
def test_an_unknown_country_is_refused_before_anybody_is_asked(country: str) -> None:
    with pytest.raises(ConfigurationError, match="two letters"):
        phone_parser(country)


def test_without_the_package_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.delitem(sys.modules, "tecnobot_core.adapters.phone_numbers")
    with pytest.raises(MissingDependencyError, match=r"pip install 'tecnobot-core\[flows\]'"):
        importlib.import_module("tecnobot_core.adapters.phone_numbers")


@given(st.text() | st.text("+0123456789 ()-./extTel"))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    try:
        number = parse_phone(text, "MX")
    except ValueError:
        return
    assert number[0] == "+"
    assert number[1:].isdecimal()
    assert parse_phone(number, "ES") == number
