"""Texts with variables: what is missing is empty, what a customer typed stays what it is."""

import re
from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.flows.templates import check_template, render

VARIABLES: dict[str, object] = {
    "name": "Ana",
    "order": {"total": "1234.50", "items": ["pan", "leche"]},
    "typed": "{secret} {{x}} {",
    "secret": "1234",
    "día": "lunes",
}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", ""),
        ("Hola", "Hola"),
        ("Hola {name}", "Hola Ana"),
        ("{name}{name}", "AnaAna"),
        ("{ name }", "Ana"),
        ("El {día}", "El lunes"),
        ("Son {order.total} €", "Son 1234.50 €"),
        ("{order.items}", "pan, leche"),
        ("[{missing}]", "[]"),
        ("[{order.missing.more}]", "[]"),
        ("[{name.upper}{name.__class__}{order.keys}]", "[]"),
        ("[{order}]", "[]"),
        ("{{name}}", "{name}"),
        ("{{{name}}}", "{Ana}"),
        ("{{ }} {{{{", "{ } {{"),
        ("Dijiste: {typed}", "Dijiste: {secret} {{x}} {"),
    ],
)
def test_names_give_way_to_their_values(text: str, rendered: str) -> None:
    check_template(text)
    assert render(text, VARIABLES) == rendered


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "sí"),
        (False, "no"),
        (0, "0"),
        (1234567, "1234567"),
        (0.1, "0.1"),
        (2.0, "2"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (-0.5, "-0.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1.50"), "1.50"),
        ("1.50", "1.50"),
        ("007", "007"),
        (["a", 1, None, 2.5, True], "a, 1, 2.5, sí"),
        (["a", ["b"], {"c": 1}], "a"),
        ([], ""),
        ({"a": 1}, ""),
        ("2026-12-31", "31/12/2026"),
        ("2026-02-31", "2026-02-31"),
        ("20261231", "20261231"),
        ("ref 2026-12-31", "ref 2026-12-31"),
        (date(2026, 1, 2), "02/01/2026"),
        (datetime(2026, 1, 2, 3, 4), "02/01/2026 03:04"),  # noqa: DTZ001
        (object(), ""),
    ],
)
def test_values_are_shown_as_people_write_them(value: object, shown: str) -> None:
    assert render("{v}", {"v": value}) == shown


@pytest.mark.parametrize(
    ("language", "shown"),
    [("es", "31/12/2026 sí no"), ("pt", "31/12/2026 sim não"), ("en", "12/31/2026 yes no")],
)
def test_dates_and_truths_follow_the_language(language: str, shown: str) -> None:
    variables = {"day": "2026-12-31", "a": True, "b": False}
    assert render("{day} {a} {b}", variables, language=language) == shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Hola {name", "character 6: the brace { is never closed.*{{"),
        ("Hola name}", "character 10: the brace } closes nothing.*}}"),
        ("Hola {}", "character 6: the name in braces is empty"),
        ("Hola {  }", "is empty"),
        ("{first name}", "'first name' is not a variable"),
        ("{total:.2f}", "'total:.2f' is not"),
        ("{name!r}", "'name!r'"),
        ("{order[total]}", "not a variable"),
        ("{a.}", "not a variable"),
        ("{0}", "'0' is not"),
        ("{a {b}}", "character 1: the brace { is never closed"),
    ],
)
def test_a_wrong_template_says_where_and_why(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem).replace(r"\.\*", ".*")):
        check_template(text)


@given(st.text(st.sampled_from("ab{}. \n")), st.text())
def test_rendering_never_fails_and_values_are_never_templates(text: str, value: str) -> None:
    marked = render(text, {"a": "\x00", "b": "\x00"}).replace("\x00", value)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        assert render(text, {"a": value, "b": value}) == marked


@given(st.text())
def test_doubled_braces_say_any_text(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    check_template(doubled)
    assert render(doubled, {"a": "x"}) == text
