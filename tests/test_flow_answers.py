"""Answers as people give them: what is meant is kept, what is not an answer is refused with its reason."""

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.answers import AnswerRefused, check_limits, read_answer
from tecnobot_core.flows.answers.numbers import MAX_INTEGER
from tecnobot_core.flows.steps import AnswerType, Ask
from tecnobot_core.messages import MediaReference, MessageKind

TODAY = date(2026, 11, 25)  # a Wednesday
LANGUAGES = ("es", "en", "pt")


def each(texts: str) -> list[str]:
    """The texts between bars."""
    return texts.split("|")


def read(type: AnswerType, text: str, limits: Mapping[str, object] | None = None, **given: Any) -> object:
    ask = Ask(text="?", into="x", type=type, limits=limits or {})
    check_limits(ask)
    return read_answer(ask, text, **{"today": TODAY, **given})


def refusal(type: AnswerType, text: str, limits: Mapping[str, object] | None = None, **given: Any) -> str:
    with pytest.raises(AnswerRefused) as caught:
        read(type, text, limits, **given)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


# Text

NAME = {"min": 3, "max": 20}


@pytest.mark.parametrize(
    "text",
    each(
        "Ana|José Ñáñez|María del Carmen|O'Higgins|  Ana  |Ana María\n|Calle 5 #12-34|Apto. 3-B|¿Qué?|100%|a b|"
        "12345|...|😀😀😀|Sin cebolla, gracias|{name}|null|no sé|12345678901234567890|ñññ|<b>Ana</b>"
    ),
)
def test_a_text_is_kept_as_it_was_written(text: str) -> None:
    assert read("text", text, NAME) == text.strip()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("\n\t", "empty"),
        ("\u200b", "empty"),
        ("\u200b \ufe0f", "empty"),
        ("a", "too_short"),
        ("si", "too_short"),
        ("no", "too_short"),
        ("ok", "too_short"),
        (" x ", "too_short"),
        ("  ab  ", "too_short"),
        ("👍", "too_short"),
        ("..", "too_short"),
        ("12", "too_short"),
        ("?", "too_short"),
        ("ñ", "too_short"),
        ("j\n", "too_short"),
        ("123456789012345678901", "too_long"),
        ("José María de la Santísima Trinidad", "too_long"),
        ("Quiero que me lo dejen en la portería, por favor", "too_long"),
        ("a" * 4000, "too_long"),
    ],
)
def test_a_text_outside_its_limits_is_refused(text: str, reason: str) -> None:
    assert refusal("text", text, NAME) == reason


def test_a_text_without_limits_may_have_any_length() -> None:
    assert read("text", "x" * 10_000) == "x" * 10_000
    assert read("text", "x") == "x"


# Numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("7", 7),
        ("007", 7),
        ("42", 42),
        ("-3", -3),
        ("− 3", -3),
        ("+5", 5),
        (" 12 ", 12),
        ("12.", 12),
        ("1.000", 1000),
        ("1,000", 1000),
        ("1 000", 1000),
        ("1\u202f000", 1000),
        ("1'000", 1000),
        ("12.345.678", 12345678),
        ("12,345,678", 12345678),
        ("1 234 567", 1234567),
        ("5,0", 5),
        ("5.00", 5),
        ("1.234,00", 1234),
        ("$ 500", 500),
        ("$1,500.00 MXN", 1500),
        ("20 €", 20),
        ("30 pesos", 30),
        ("9007199254740991", MAX_INTEGER),
        ("-9.007.199.254.740.991", -MAX_INTEGER),
        ("-0", 0),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_whole_number(text: str, number: int, language: str) -> None:
    assert read("integer", text, language=language) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("hola", "not_a_number"),
        ("dos", "not_a_number"),
        ("mil", "not_a_number"),
        ("2 o 3", "not_a_number"),
        ("2-3", "not_a_number"),
        ("12 34", "not_a_number"),
        ("1/2", "not_a_number"),
        ("½", "not_a_number"),
        ("5²", "not_a_number"),
        ("1e3", "not_a_number"),
        ("0x10", "not_a_number"),
        ("1_000", "not_a_number"),
        ("5k", "not_a_number"),
        ("--5", "not_a_number"),
        ("$", "not_a_number"),
        ("-", "not_a_number"),
        (",", "not_a_number"),
        ("1.2.3", "not_a_number"),
        ("10:30", "not_a_number"),
        ("nan", "not_a_number"),
        ("inf", "not_a_number"),
        ("٣", "not_a_number"),
        ("👍", "not_a_number"),
        ("somos 4", "not_a_number"),
        ("2,5", "not_an_integer"),
        ("2.5", "not_an_integer"),
        ("0,001", "not_an_integer"),
        ("1.234,56", "not_an_integer"),
        ("9007199254740992", "too_large"),
        ("-9007199254740992", "too_small"),
        ("9" * 4000, "too_large"),
        ("-" + "9" * 40, "too_small"),
    ],
)
def test_what_is_no_whole_number(text: str, reason: str) -> None:
    assert refusal("integer", text) == reason


@pytest.mark.parametrize(
    ("text", "es", "en"),
    [
        ("5", "5", "5"),
        ("1.234,5", "1234.5", "1234.5"),
        ("1,234.5", "1234.5", "1234.5"),
        ("1234,5", "1234.5", "1234.5"),
        ("1.234,50", "1234.50", "1234.50"),
        ("$ 1,234.50", "1234.50", "1234.50"),
        ("$1.234.567", "1234567", "1234567"),
        ("1,234", "1.234", "1234"),
        ("1.234", "1234", "1.234"),
        ("0,123", "0.123", "0.123"),
        ("0.123", "0.123", "0.123"),
        ("1234.567", "1234.567", "1234.567"),
        ("1234,567", "1234.567", "1234.567"),
        ("0.1", "0.1", "0.1"),
        ("0,10", "0.10", "0.10"),
        (",5", "0.5", "0.5"),
        (".5", "0.5", "0.5"),
        ("5.", "5", "5"),
        ("1 234,50", "1234.50", "1234.50"),
        ("12'345.60", "12345.60", "12345.60"),
        ("-5,5", "-5.5", "-5.5"),
        ("-$5.25", "-5.25", "-5.25"),
        ("$-5.25", "-5.25", "-5.25"),
        ("US$ 20.5", "20.5", "20.5"),
        ("R$ 1.234,56", "1234.56", "1234.56"),
        ("S/. 15.90", "15.90", "15.90"),
        ("19,99€", "19.99", "19.99"),
        ("150 mxn", "150", "150"),
        ("12,50 euros.", "12.50", "12.50"),
        ("007,50", "7.50", "7.50"),
        ("-0,00", "0.00", "0.00"),
        ("0,1234567890123456", "0.1234567890123456", "0.1234567890123456"),
    ],
)
def test_a_decimal_keeps_every_digit(text: str, es: str, en: str) -> None:
    assert read("decimal", text, language="es") == read("decimal", text, language="pt") == es
    assert read("decimal", text, language="en") == en


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("mil", "not_a_number"),
        ("mil quinientos", "not_a_number"),
        ("uno coma cinco", "not_a_number"),
        ("gratis", "not_a_number"),
        ("1.2.3", "not_a_number"),
        ("1.234.56", "not_a_number"),
        ("1,234,56", "not_a_number"),
        ("1.234,567,8", "not_a_number"),
        ("12.34,5", "not_a_number"),
        ("1,,5", "not_a_number"),
        ("1.,5", "not_a_number"),
        ("1 5", "not_a_number"),
        ("1 2345", "not_a_number"),
        ("5 o 6", "not_a_number"),
        ("5-6", "not_a_number"),
        ("5%", "not_a_number"),
        ("3/4", "not_a_number"),
        ("1e5", "not_a_number"),
        ("2k", "not_a_number"),
        ("$", "not_a_number"),
        ("+-5", "not_a_number"),
        ("5 kg", "not_a_number"),
        ("NaN", "not_a_number"),
        ("Infinity", "not_a_number"),
        ("99999999999999999", "too_large"),
        ("-99999999999999999,5", "too_small"),
        ("0," + "1" * 17, "too_long"),
    ],
)
def test_what_is_no_decimal(text: str, reason: str) -> None:
    assert refusal("decimal", text) == reason


@pytest.mark.parametrize("type", ["integer", "decimal"])
def test_a_number_keeps_to_its_limits_with_both_ends(type: AnswerType) -> None:
    limits = {"min": 1, "max": "10"}
    assert [str(read(type, text, limits)) for text in ("1", "10")] == ["1", "10"]
    assert refusal(type, "0", limits) == refusal(type, "-99999999999999999", limits) == "too_small"
    assert refusal(type, "11", limits) == "too_large"
    assert refusal("decimal", "0,09", {"min": 0.1}) == "too_small"
    assert read("decimal", "0,1", {"min": 0.1, "max": 0.1}) == "0.1"


@given(st.integers(-MAX_INTEGER, MAX_INTEGER), st.sampled_from(LANGUAGES))
def test_a_number_grouped_in_any_way_is_the_number(number: int, language: str) -> None:
    for separator in (",", ".", " ", "'"):
        grouped = f"{number:,}".replace(",", separator)
        assert read("integer", grouped, language=language) == number


@given(st.decimals(-(10**15), 10**15, places=2), st.sampled_from(LANGUAGES))
def test_two_digits_behind_either_sign_are_a_fraction(number: Decimal, language: str) -> None:
    expected = f"{number:f}" if number else "0.00"
    english = f"{number:,.2f}"
    swapped = english.translate(str.maketrans(",.", ".,"))
    for text in (english, swapped, expected, expected.replace(".", ",")):
        assert read("decimal", text, language=language) == expected


# Dates


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("31/12/2026", "2026-12-31"),
        ("31-12-26", "2026-12-31"),
        ("31.12.2026", "2026-12-31"),
        ("31 12 2026", "2026-12-31"),
        ("31 / 12 / 2026", "2026-12-31"),
        ("31122026", "2026-12-31"),
        ("1/2/2026", "2026-02-01"),
        ("2026-12-31", "2026-12-31"),
        ("2026/1/5", "2026-01-05"),
        ("31/12", "2026-12-31"),
        ("1-3", "2027-03-01"),
        ("25/11", "2026-11-25"),
        ("24/11", "2027-11-24"),
        ("29/2", "2028-02-29"),
        ("29/02/2024", "2024-02-29"),
        ("31 de diciembre", "2026-12-31"),
        ("31 de Diciembre de 2026.", "2026-12-31"),
        ("31 dic 2026", "2026-12-31"),
        ("31-dic-26", "2026-12-31"),
        ("31dic2026", "2026-12-31"),
        ("el 5 de enero del 2027", "2027-01-05"),
        ("1ro de enero", "2027-01-01"),
        ("1º de mayo", "2027-05-01"),
        ("primero de mayo", "2027-05-01"),
        ("Diciembre 31, 2026", "2026-12-31"),
        ("3 de set. de 2027", "2027-09-03"),
        ("jueves 31 de diciembre", "2026-12-31"),
        ("lunes, 30/11", None),
        ("hoy", "2026-11-25"),
        ("HOY mismo", "2026-11-25"),
        ("mañana", "2026-11-26"),
        ("Para mañana!", "2026-11-26"),
        ("el día de mañana", "2026-11-26"),
        ("pasado mañana", "2026-11-27"),
        ("ayer", "2026-11-24"),
        ("15/03/90", "1990-03-15"),
        ("15/03/45", "2045-03-15"),
        ("15/03/46", "1946-03-15"),
        ("10 de fevereiro de 2027", "2027-02-10"),
        ("amanhã", "2026-11-26"),
        ("depois de amanhã", "2026-11-27"),
        ("sexta-feira, 1 de janeiro", "2027-01-01"),
        ("December 31st, 2026", "2026-12-31"),
        ("the day after tomorrow", "2026-11-27"),
    ],
)
def test_a_day_as_people_write_it(text: str, day: str | None) -> None:
    if day is None:
        assert refusal("date", text) == "not_a_date"
    else:
        assert read("date", text) == day


@pytest.mark.parametrize(
    "text",
    each(
        "hola|31|diciembre|2026|31/13/2026|32/12/2026|0/1/2026|31/4/2026|29/2/2025|29 de febrero de 2027|"
        "12/31/2026|2026-13-01|2026-02-30|31/12/202|31/12/6|31/12/1850|31/12/2200|1/2/3/4|31 de|30 de febrero|"
        "31 o 30 de enero|lunes|el próximo lunes|viernes 31 de diciembre de 2026|por la mañana|de la mañana|"
        "la semana que viene|en un rato|10:30|3.5|31.12|5 de mayonesa|99999999|5 de ma|31/12/2026 a las 5|"
        "٣/٣/٢٠٢٦|1 2|m|👍"
    ),
)
def test_what_is_no_day(text: str) -> None:
    assert refusal("date", text) == "not_a_date"


def test_in_english_the_month_is_first() -> None:
    assert read("date", "12/31/2026", language="en") == "2026-12-31"
    assert read("date", "2/1", language="en") == "2027-02-01"
    assert read("date", "02012027", language="en") == "2027-02-01"
    assert read("date", "2026-12-31", language="en") == "2026-12-31"
    assert refusal("date", "31/12/2026", language="en") == "not_a_date"
    assert read("date", "2/1/2027", language="pt") == "2027-01-02"


def test_a_day_keeps_to_its_limits_with_both_ends() -> None:
    limits = {"min": "today", "max": date(2026, 12, 31)}
    assert read("date", "hoy", limits) == "2026-11-25"
    assert read("date", "31/12/26", limits) == "2026-12-31"
    assert refusal("date", "ayer", limits) == "too_early"
    assert refusal("date", "1/1/2027", limits) == "too_late"
    assert refusal("date", "1/1/2027", {"max": "2026-12-31"}) == "too_late"


@given(st.dates(date(1900, 1, 1), date(2100, 12, 31)))
def test_every_form_of_a_day_is_that_day(day: date) -> None:
    months = each("enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre")
    month = months[day.month - 1]
    for text in (
        day.isoformat(),
        f"{day.day}/{day.month}/{day.year}",
        f"{day:%d-%m-%Y}",
        f"{day.day} de {month} de {day.year}",
        f"{month[:3]} {day.day} {day.year}",
    ):
        assert read("date", text) == day.isoformat()
    assert read("date", f"{day:%m/%d/%Y}", language="en") == day.isoformat()


@given(st.dates(date(1990, 1, 1), date(2060, 12, 31)), st.dates(date(1990, 1, 1), date(2060, 12, 31)))
def test_a_day_without_a_year_is_the_next_one(day: date, today: date) -> None:
    from_today = (today + timedelta(days=days) for days in range(9 * 366))
    next_one = next(later for later in from_today if (later.day, later.month) == (day.day, day.month))
    assert read("date", f"{day.day}/{day.month}", today=today) == next_one.isoformat()


# E-mail


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ana@example.com", "ana@example.com"),
        (" ana@example.com ", "ana@example.com"),
        ("Ana.Perez@Gmail.COM", "Ana.Perez@gmail.com"),
        ("ana+bot@example.com", "ana+bot@example.com"),
        ("ana_perez@example.com.mx", "ana_perez@example.com.mx"),
        ("ana-perez@mi-empresa.es", "ana-perez@mi-empresa.es"),
        ("a@b.co", "a@b.co"),
        ("ana@sub.dominio.example.org", "ana@sub.dominio.example.org"),
        ("123@example.com", "123@example.com"),
        ("ana@123.com", "ana@123.com"),
        ("ana@peña.es", "ana@peña.es"),
        ("ANA@EXAMPLE.COM", "ANA@example.com"),
        ("ana@example.com.", "ana@example.com"),
        ("ana@example.com,", "ana@example.com"),
        ("<ana@example.com>", "ana@example.com"),
        ("mailto:ana@example.com", "ana@example.com"),
        ("ana@example.museum", "ana@example.museum"),
        ("ana@xn--pea-0ma.es", "ana@xn--pea-0ma.es"),
        ("o'higgins@example.cl", "o'higgins@example.cl"),
        ("ventas2026@tienda.shop", "ventas2026@tienda.shop"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
    ],
)
def test_an_e_mail_address(text: str, address: str) -> None:
    assert read("email", text) == address


@pytest.mark.parametrize(
    "text",
    [
        *each(
            "no tengo|ana|ana@|@example.com|ana@example|ana@@example.com|ana@b@example.com|ana @gmail.com|"
            "ana@ gmail.com|ana@gmail .com|mi correo es ana@example.com|ana@.com|ana@example..com|ana@-example.com|"
            "ana@example-.com|.ana@example.com|ana.@example.com|a..b@example.com|ana@example.c|ana@127.0.0.1|ana@192.168.1.10|"
            "josé@gmail.com|ana arroba gmail.com|ana,perez@example.com|ana@example,com|ana@exa_mple.com|"
            'ana@example.com y beto@example.com|ana(at)example.com|"ana"@example.com|https://example.com/@ana|'
            "instagram @ana"
        ),
        "a" * 65 + "@example.com",
        "a@" + "b" * 64 + ".com",
        "a@" + "b." * 150 + "com",
        "a" * 4000,
        "ana\x00@example.com",
    ],
)
def test_what_is_no_e_mail_address(text: str) -> None:
    assert refusal("email", text) == "not_an_email"


# Telephone


@pytest.mark.parametrize("text", ["+5215512345678", "+52 1 55 1234 5678", "+52 (1) 55-1234.5678"])
def test_without_a_parser_a_telephone_number_needs_its_country(text: str) -> None:
    assert read("phone", text) == "+5215512345678"


@pytest.mark.parametrize(
    "text", ["5512345678", "0052155123", "+0123456789", "+5255", "+" + "5" * 16, "no tengo", "+52a55"]
)
def test_a_telephone_number_without_its_country_is_refused(text: str) -> None:
    assert refusal("phone", text) == "not_a_phone"


def test_a_given_parser_decides_about_telephone_numbers() -> None:
    def parse(text: str) -> str:
        if text != "55 12":
            raise ValueError("wanted is 55 12")
        return "+525512"

    assert read("phone", " 55  12 ", parse_phone=parse) == "+525512"
    assert refusal("phone", "+5215512345678", parse_phone=parse) == "not_a_phone"


# Choices

FLAVOURS = ["Margarita", "Cuatro quesos", "Cuatro estaciones", "Nogal y pera", "Sin carne"]
PIZZAS: Mapping[str, object] = {"choices": FLAVOURS}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("1.", 1),
        ("2)", 2),
        ("#2", 2),
        (" 2 ", 2),
        ("02", 2),
        ("2️⃣", 2),
        ("opción 2", 2),
        ("Opcion dos", 2),
        ("número 3", 3),
        ("la 3", 3),
        ("el 3 por favor", 3),
        ("dos", 2),
        ("la segunda", 2),
        ("la 2da", 2),
        ("1º", 1),
        ("la primera opción", 1),
        ("quinta", 5),
        ("margarita", 1),
        ("MARGARITA!", 1),
        ("Quiero la margarita, porfa", 1),
        ("marg", 1),
        ("cuatro quesos", 2),
        ("cuatro q", 2),
        ("Cuatro Estaciónes", 3),
        ("nogal", 4),
        ("la de nogal", None),
        ("sin", 5),
        ("sin carne gracias", 5),
    ],
)
def test_a_choice_by_number_label_or_beginning(text: str, number: int | None) -> None:
    if number is None:
        assert refusal("choice", text, PIZZAS) == "not_a_choice"
    else:
        assert read("choice", text, PIZZAS) == FLAVOURS[number - 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0", "not_a_choice"),
        ("6", "not_a_choice"),
        ("22", "not_a_choice"),
        ("-", "not_a_choice"),
        ("2 y 3", "not_a_choice"),
        ("1 o 2", "not_a_choice"),
        ("las dos", "not_a_choice"),
        ("diez", "not_a_choice"),
        ("2.5", "not_a_choice"),
        ("no", "not_a_choice"),
        ("no quiero margarita", "not_a_choice"),
        ("s", "not_a_choice"),
        ("ma", "not_a_choice"),
        ("hawaiana", "not_a_choice"),
        ("margaritas", "not_a_choice"),
        ("quesos", "not_a_choice"),
        ("margarita y nogal", "not_a_choice"),
        ("la última", "not_a_choice"),
        ("cualquiera", "not_a_choice"),
        ("¿qué hay?", "not_a_choice"),
        ("👍", "not_a_choice"),
        ("opción", "not_a_choice"),
        ("gracias", "not_a_choice"),
        ("cua", "ambiguous_choice"),
        ("cuatro", "ambiguous_choice"),
        ("", "empty"),
    ],
)
def test_what_is_no_choice(text: str, reason: str) -> None:
    assert refusal("choice", text, PIZZAS) == reason


def test_a_label_wins_over_a_number_and_a_number_that_begins_another_label_is_refused() -> None:
    assert read("choice", "2", {"choices": ["3", "1", "2"]}) == "2"
    assert refusal("choice", "2", {"choices": ["2 noches", "1 noche"]}) == "ambiguous_choice"
    assert read("choice", "2", {"choices": ["1 noche", "2 noches"]}) == "2 noches"


def test_a_symbol_can_be_a_choice() -> None:
    assert read("choice", "👎🏽", {"choices": ["👍", "👎"]}) == "👎"
    assert read("choice", "sí", {"choices": ["Sí, acepto", "No"]}) == "Sí, acepto"


@given(st.lists(st.text("abcñé 12", min_size=1, max_size=6), min_size=1, max_size=5))
def test_every_label_chooses_itself(labels: list[str]) -> None:
    limits = {"choices": labels}
    try:
        check_limits(Ask(text="?", into="x", type="choice", limits=limits))
    except FlowError:
        return
    assert [read("choice", label.upper(), limits) for label in labels] == labels


# Yes and no


@pytest.mark.parametrize(
    "text",
    each(
        "sí|si|SI|Síííí|sii|s|S.|sip|simón|claro|claro que sí|Claro!|por supuesto|ok|okey|OK 👍|okk|vale|dale|"
        "de acuerdo|está bien|correcto|acepto|sí, por favor|si gracias|sí quiero|pues sí|como no|¡Cómo no!|"
        "creo que sí|👍|👍🏽|👍👍|✅|✔️|👌|sim|com certeza|yes|Yes please|yep|sure|of course|desde luego que sí|"
        "sin problema|listo"
    ),
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_yes(text: str, language: str) -> None:
    assert read("yes_no", text, language=language) is True


@pytest.mark.parametrize(
    "text",
    each(
        "no|No.|NOOOO|noo|n|nop|nel|nah|No, gracias|no por favor|claro que no|por supuesto que no|no quiero|"
        "para nada|nunca|negativo|de ninguna manera|en absoluto|creo que no|mejor no|hoy no|por ahora no|ya no|"
        "pues no|👎|👎🏿|❌|não|nao obrigado|nope|no way|no thanks|jamás"
    ),
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_no(text: str, language: str) -> None:
    assert read("yes_no", text, language=language) is False


@pytest.mark.parametrize(
    "text",
    each(
        "no sé|no estoy seguro|tal vez|quizás|a veces|depende|más o menos|sí y no|sí o no|si no|no, sí|"
        "sí pero no|¿sí?, ¿cuánto cuesta?|hola|1|2|y|gracias|por favor|ya|que|ajá bueno|no hay problema|"
        "no está bien|si tienen de fresa|siempre|nos vemos|nota|👍👎|🤔|?|mañana|claro oscuro|sinceramente|okupa|"
        "luego"
    ),
)
def test_what_is_neither_yes_nor_no(text: str) -> None:
    assert refusal("yes_no", text) == "not_yes_or_no"


def test_y_is_a_yes_in_english_only() -> None:
    assert read("yes_no", "Y", language="en") is True
    assert refusal("yes_no", "y", language="es") == "not_yes_or_no"


# Files

PICTURE = MediaReference(
    kind="image", address="https://media.example/1", mime="image/jpeg", size_bytes=5, file_name="a.jpg", key=b"secret"
)


@pytest.mark.parametrize("kind", ["voice", "audio", "image", "video", "document", "sticker"])
def test_a_file_is_kept_as_a_reference_without_its_key(kind: MessageKind) -> None:
    media = MediaReference(kind=kind, address="https://media.example/1", mime="x/y", file_name="n", key=b"secret")
    kept = read("file", "", kind=kind, media=media)
    assert kept == {"kind": kind, "address": media.address, "mime": "x/y", "name": "n", "size_bytes": None}
    assert "secret" not in json.dumps(kept)


def test_a_file_of_a_wanted_kind_is_kept_whatever_is_written_under_it() -> None:
    limits = {"kinds": ["image", "document"]}
    kept = read("file", "mi recibo", limits, kind="image", media=PICTURE)
    assert kept == {"kind": "image", "address": PICTURE.address, "mime": "image/jpeg", "name": "a.jpg", "size_bytes": 5}


@pytest.mark.parametrize(
    "text",
    each(
        "|no tengo|ya te la mandé|https://example.com/a.jpg|a.pdf|👍|espera|mañana|¿qué foto?|no puedo|1|sí|no|ahorita|"
        "se la mando luego|no carga|es la misma de antes|ana@example.com|5512345678|[imagen]|IMG-20261125-WA0001.jpg"
    ),
)
def test_words_are_no_file(text: str) -> None:
    assert refusal("file", text) == "not_a_file"


def test_a_file_of_another_kind_is_refused() -> None:
    assert refusal("file", "", {"kinds": ["document"]}, kind="image", media=PICTURE) == "wrong_kind"
    place = MediaReference(kind="location", address="x")
    assert refusal("file", "", kind="location", media=place) == "wrong_kind"


@pytest.mark.parametrize("kind", ["image", "sticker", "location", "voice"])
def test_a_message_without_words_answers_no_other_question(kind: MessageKind) -> None:
    assert refusal("text", "", kind=kind, media=PICTURE) == "not_text"
    assert refusal("integer", " ", kind=kind) == "not_text"


def test_words_said_or_written_under_a_picture_are_an_answer() -> None:
    assert read("integer", "4", kind="voice") == 4
    assert read("text", "Ana", kind="image", media=PICTURE) == "Ana"


# All together

TYPES: dict[AnswerType, Mapping[str, object]] = {
    "text": {"max": 100},
    "integer": {},
    "decimal": {},
    "date": {},
    "email": {},
    "phone": {},
    "choice": PIZZAS,
    "yes_no": {},
    "file": {},
}
likely = st.lists(
    st.sampled_from(each("31|12|/|-|.|,|2026|de|dic|mañana|@|a|com|sí|no|👍|$|€|1.000|+52|opción|la|'|\u200b|\ud800")),
    max_size=8,
)


@pytest.mark.parametrize("type", TYPES)
@given(text=st.text() | likely.map("".join) | likely.map(" ".join), language=st.sampled_from(LANGUAGES))
def test_any_text_is_a_json_value_or_refused(type: AnswerType, text: str, language: str) -> None:
    try:
        value = read(type, text, TYPES[type], language=language)
    except AnswerRefused:
        return
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize(
    "piece", ["9", " ", "1 ", "1,", ".", "$", "a@", "a.", "-", "no ", "a", "+5 ", "ñ", "1' ", "( "]
)
def test_a_long_answer_takes_no_longer_for_each_character(type: AnswerType, piece: str) -> None:
    def took(length: int) -> float:
        text = ("1" + piece * length)[:length] + "x"
        best = math.inf
        for _ in range(3):
            begun = time.process_time()
            with suppress(AnswerRefused):
                read(type, text, TYPES[type])
            best = min(best, time.process_time() - begun)
        return best

    assert took(32_000) < 0.002 + 100 * took(2_000)  # 16 times the characters; a square would be 256 times


# Limits


@pytest.mark.parametrize(
    ("type", "limits"),
    [
        ("text", {"min": 0, "max": 0.0}),
        ("integer", {"min": -1.5, "max": "2"}),
        ("decimal", {"max": Decimal("0.1")}),
        ("date", {"min": "today", "max": "1900-01-01"}),  # today moves; it is looked at when it counts
        ("date", {"min": date(2026, 1, 1)}),
        ("choice", {"choices": ("a",)}),
        ("file", {"kinds": ["image"]}),
        ("file", {}),
        ("yes_no", {}),
    ],
)
def test_limits_that_can_be_used(type: AnswerType, limits: dict[str, object]) -> None:
    check_limits(Ask(text="?", into="x", type=type, limits=limits))


@pytest.mark.parametrize(
    ("type", "limits", "problem"),
    [
        ("text", {"min": "tres"}, "'min'.*a number, not 'tres'"),
        ("text", {"min": 2.5}, "'min'.*number of characters, not 2.5"),
        ("text", {"max": -1}, "'max'"),
        ("text", {"max": True}, "'max'"),
        ("text", {"min": 5, "max": 4}, "'min': 5 is more than the max, 4"),
        ("text", {"minimum": 3}, "'minimum': a text has the limits min, max"),
        ("integer", {"min": "uno"}, "'min'.*a number, not 'uno'"),
        ("integer", {"max": True}, "'max'"),
        ("decimal", {"max": float("nan")}, "'max'"),
        ("decimal", {"min": 2, "max": "1.5"}, "nothing would be taken"),
        ("date", {"min": "31/12/2026"}, "a date like 2026-12-31, or today"),
        ("date", {"min": "2026-12-31", "max": "2026-01-01"}, "more than"),
        ("email", {"max": 5}, "a email has no limits"),
        ("yes_no", {"choices": ["a"]}, "has no limits"),
        ("choice", {}, "'choices'.*list of texts, not None"),
        ("choice", {"choices": []}, "list of texts"),
        ("choice", {"choices": "ab"}, "list of texts"),
        ("choice", {"choices": [1, 2]}, "list of texts"),
        ("choice", {"choices": ["Sí", "si!"]}, "'si!' is empty or the same"),
        ("choice", {"choices": ["a", " "]}, "' ' is empty"),
        ("file", {"kinds": ["picture"]}, "'kinds'.*voice, audio, image"),
        ("file", {"kinds": []}, "'kinds'"),
        ("number", {}, "type 'number' is unknown; use text, integer"),
    ],
)
def test_wrong_limits_say_what_is_wanted(type: Any, limits: dict[str, object], problem: str) -> None:
    with pytest.raises(FlowError, match=problem):
        check_limits(Ask(text="?", into="x", type=type, limits=limits))
