"""What the bot says of its own accord."""

from dataclasses import fields, replace
from typing import get_args

import pytest

from tecnobot_core.bot.texts import ENGLISH, PORTUGUESE, SPANISH, Texts, for_language
from tecnobot_core.errors import ConfigurationError
from tecnobot_core.messages import MessageKind

PLACES = {
    "wait": "{time}",
    "seconds": "{count}",
    "shorten": "{limit}",
    "shorter_recording": "{limit}",
    "cannot_open": "{kind}",
    "meant": "{keyword}",
}


@pytest.fixture(params=[SPANISH, ENGLISH, PORTUGUESE], ids=["spanish", "english", "portuguese"])
def texts(request: pytest.FixtureRequest) -> Texts:
    found: Texts = request.param
    return found


def test_no_text_is_empty(texts: Texts) -> None:
    assert all(getattr(texts, field.name) for field in fields(texts))
    assert all(name.strip() for name in texts.kinds.values())


def test_a_place_is_where_a_method_fills_it_and_nowhere_else(texts: Texts) -> None:
    for field in fields(texts):
        value = getattr(texts, field.name)
        if isinstance(value, str):
            place = PLACES.get(field.name, "")
            assert place in value
            assert "{" not in value.replace(place, "")


def test_every_kind_but_text_has_its_own_name(texts: Texts) -> None:
    assert set(texts.kinds) == set(get_args(MessageKind)) - {"text", "signal"}
    assert len(set(texts.kinds.values())) == len(texts.kinds)


@pytest.mark.parametrize("kind", sorted(set(get_args(MessageKind)) - {"text", "signal"}))
def test_an_unsupported_message_is_called_by_its_kind(texts: Texts, kind: MessageKind) -> None:
    assert texts.kinds[kind] in texts.unsupported(kind)


def test_a_kind_without_a_name_is_called_unknown(texts: Texts) -> None:
    few = replace(texts, kinds={"unknown": "that"})
    assert few.unsupported("sticker") == few.unsupported("unknown")


@pytest.mark.parametrize(
    ("wait_s", "spanish", "english"),
    [
        (0.0, "1 segundo ", "1 second "),
        (0.2, "1 segundo ", "1 second "),
        (1.0, "1 segundo ", "1 second "),
        (1.01, "2 segundos ", "2 seconds "),
        (59.4, "60 segundos ", "60 seconds "),
    ],
)
def test_a_wait_is_rounded_up_and_counted_properly(wait_s: float, spanish: str, english: str) -> None:
    assert spanish in SPANISH.slow_down(wait_s)
    assert english in ENGLISH.slow_down(wait_s)


def test_a_long_message_is_told_the_limit(texts: Texts) -> None:
    assert " 4000 " in texts.too_long(4000)


def test_a_long_recording_is_told_the_limit_in_whole_minutes(texts: Texts) -> None:
    assert " 59 min" in texts.shorten_recording(3599)
    assert " 1 min" in texts.shorten_recording(60)
    assert texts.shorten_recording(59) == texts.smaller_recording


@pytest.mark.parametrize(
    ("language", "texts_of_it"), [("spanish", SPANISH), ("es", SPANISH), ("english", ENGLISH), ("en", ENGLISH)]
)
def test_a_language_has_a_long_and_a_short_name(language: str, texts_of_it: Texts) -> None:
    assert for_language(language) is texts_of_it


@pytest.mark.parametrize("language", ["", "ES", "klingon"])
def test_an_unknown_language_names_the_known_ones(language: str) -> None:
    with pytest.raises(ConfigurationError, match="spanish, es, english, en, portuguese, pt"):
        for_language(language)
