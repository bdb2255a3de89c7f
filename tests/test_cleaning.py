"""What is left of a text is what a person typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.bot.cleaning import clean


@pytest.mark.parametrize(
    "text", ["hola", "¿Cuánto cuesta?", "línea\notra", "👨‍👩‍👧 familia", "❤️", "1️⃣ uno", "🏳️‍🌈", "שלום", "مرحبا"]
)
def test_what_people_type_is_kept(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("ho\u200bla", "hola"),
        ("h\u200do\ufe0fla", "hola"),
        ("a\x00b\x1bc", "abc"),
        ("uno\r\ndos", "uno\ndos"),
        ("\u202eabc\u202c", "abc"),
        ("hola\U000e0068\U000e0069", "hola"),
        ("a\ud800b", "a\N{REPLACEMENT CHARACTER}b"),
        ("\ud800\udfff\ud800", ""),
        ("  hola  ", "hola"),
    ],
)
def test_what_nobody_typed_is_removed(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text(st.characters()))
def test_cleaning_gives_text_that_can_be_stored_and_changes_nothing_twice(text: str) -> None:
    cleaned = clean(text)
    assert "\x00" not in cleaned
    cleaned.encode("utf-8")
    assert clean(cleaned) == cleaned
