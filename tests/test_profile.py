"""What is a chatbot's own."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core import ChatId, Flow
from tecnobot_core.bot import ENGLISH, ChatbotProfile
from tecnobot_core.bot.texts import PORTUGUESE, Texts
from tecnobot_core.errors import ConfigurationError
from tests.live_bot import LiveBot

SETTINGS: dict[str, Any] = {
    "prompt": "Eres Sol.",
    "country": "mx",
    "timezone": "America/Mexico_City",
    "opening_hours": {"weekly": {"lunes": ["09:00-18:00"]}, "holidays": ["12-25"]},
    "blocked": ["+52 55 1234 5678"],
    "allowed": ["+52*"],
    "welcome_again_after_days": 30,
    "owner_silence_minutes": 90,
    "quiet_seconds": 1.5,
    "suggestions": True,
}


def test_every_setting_is_read() -> None:
    profile = ChatbotProfile.read(SETTINGS)
    assert (profile.prompt, profile.country, profile.quiet_s, profile.owner_silence_s) == ("Eres Sol.", "MX", 1.5, 5400)
    assert profile.welcome.again_after_s == 30 * 86_400
    assert profile.suggestions() is not None
    assert profile.opening_hours is not None
    assert not profile.access_list.admits(ChatId("5215512345678"))
    assert not profile.access_list.admits(ChatId("+34600111222"))


def test_without_settings_everything_has_its_default() -> None:
    assert ChatbotProfile.read({}) == ChatbotProfile()
    assert ChatbotProfile.read(dict.fromkeys(SETTINGS)) == ChatbotProfile()
    assert ChatbotProfile().suggestions() is None


async def test_a_bot_takes_its_options() -> None:
    profile = ChatbotProfile.read(SETTINGS)
    flows = [
        Flow("precios").on("precios").say("Desde $99."),
        Flow("cerrado", event="closed").say("Abrimos {opens_at}."),
    ]
    async with LiveBot(flows, **profile.bot_options() | {"policy": None}).running() as live:
        assert await live.says("precios", chat=ChatId("+525500000000")) == ["Abrimos el lunes 23 de mayo a las 9:00."]
        assert await live.says("precios", chat=ChatId("+525512345678")) == []


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "promt": "x",
        "prompt": 5,
        "country": "Mexico",
        "timezone": "Mexico/Nowhere",
        "opening_hours": {"weekly": []},
        "blocked": "+52*",
        "allowed": [""],
        "welcome_again_after_days": 0,
        "owner_silence_minutes": float("nan"),
        "quiet_seconds": 11,
        "suggestions": "yes",
    }
    with pytest.raises(ConfigurationError) as caught:
        ChatbotProfile.read(wrong)
    assert len(caught.value.problems) == len(wrong)
    assert "did you mean 'prompt'" in caught.value.problems[0]
    assert [re.split("[:,]", problem)[0] for problem in caught.value.problems[1:]] == list(wrong)[1:]


def test_everything_that_is_wrong_within_the_hours_is_told_too() -> None:
    hours = {"weekly": {"mon": ["9-14"], "lunedi": []}, "holiday": [], "holidays": ["25-12"], "exceptions": 5}
    with pytest.raises(ConfigurationError) as caught:
        ChatbotProfile.read({"opening_hours": hours, "timezone": "Mexico_City", "blocked": [""], "quiet_seconds": -1})
    told = caught.value.problems
    assert [problem.partition(": ")[0] for problem in told] == [
        "timezone",
        "opening_hours",
        "opening_hours, weekly, mon, range 1",
        "opening_hours, weekly",
        "opening_hours, holidays",
        "opening_hours, exceptions",
        "blocked, entry 1",
        "quiet_seconds",
    ]
    assert told[1] == "opening_hours: there is no field 'holiday'; did you mean 'holidays'?"
    with pytest.raises(ConfigurationError, match="weekly is missing"):
        ChatbotProfile.read({"opening_hours": {}, "timezone": "UTC"})


@pytest.mark.parametrize("number", [True, "5", 10**400, float("inf"), -1, [5]])
@pytest.mark.parametrize("name", ["welcome_again_after_days", "owner_silence_minutes", "quiet_seconds"])
def test_a_number_that_is_none_or_makes_no_sense_is_refused(name: str, number: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: wanted is a number of .*, not .{{1,100}}$"):
        ChatbotProfile.read({name: number})


def test_a_prompt_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"prompt: .* at most 50,000 characters, not a text of 50,001"):
        ChatbotProfile.read({"prompt": "x" * 50_001})


@pytest.mark.parametrize(("name", "code"), [("spanish", "es"), ("en", "en"), ("portuguese", "pt")])
def test_a_language_has_its_long_name_or_its_short_one(name: str, code: str) -> None:
    assert ChatbotProfile.read({}, name).language == code


def test_an_unknown_language_is_told_with_the_rest() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ChatbotProfile.read({"promt": ""}, "klingon")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(("name", "code", "texts"), [("english", "en", ENGLISH), ("portuguese", "pt", PORTUGUESE)])
def test_the_bot_speaks_the_language(name: str, code: str, texts: Texts) -> None:
    options = ChatbotProfile.read({}, name).bot_options()
    assert (options["language"], options["texts"]) == (code, texts)


def test_no_number_and_no_prompt_prints() -> None:
    printed = repr(ChatbotProfile.read(SETTINGS))
    assert "1234" not in printed
    assert "Sol" not in printed


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt": st.text(),
            "country": st.sampled_from(["MX", "es"]),
            "timezone": st.sampled_from(["America/Lima", "UTC"]),
            "blocked": st.lists(st.sampled_from(["+52155*", "52 1 55 1234 5678", "1@lid", "*"])),
            "allowed": st.lists(st.sampled_from(["*@g.us", "+34600111222"])),
            "welcome_again_after_days": st.integers(1, 36_500) | st.floats(1, 36_500),
            "owner_silence_minutes": st.integers(0, 10_000) | st.just(240),
            "quiet_seconds": st.floats(0, 10),
            "suggestions": st.booleans(),
        },
    ),
    st.booleans(),
)
def test_what_is_written_is_read_as_it_was(settings: dict[str, Any], has_hours: bool) -> None:
    if has_hours:
        settings |= {"timezone": "America/Lima", "opening_hours": SETTINGS["opening_hours"]}
    profile = ChatbotProfile.read(settings)
    stored = json.loads(json.dumps(profile.to_json()))
    again = ChatbotProfile.read(stored)
    assert again.to_json() == stored
    assert replace(again, welcome=profile.welcome) == profile
    assert again.welcome.again_after_s == pytest.approx(profile.welcome.again_after_s)


def test_settings_are_written_as_an_owner_writes_them() -> None:
    written = ChatbotProfile.read(SETTINGS).to_json()
    assert '"welcome_again_after_days": 30,' in json.dumps(written)
    assert written == {
        **SETTINGS,
        "country": "MX",
        "opening_hours": {"weekly": {"mon": ["09:00-18:00"]}, "holidays": ["12-25"], "exceptions": {}},
        "blocked": ["+525512345678"],
    }


def test_nothing_is_written_of_what_has_its_default() -> None:
    assert ChatbotProfile().to_json() == {}


def test_hours_need_a_clock() -> None:
    with pytest.raises(ConfigurationError, match="timezone"):
        ChatbotProfile.read({"opening_hours": {"weekly": {"mon": ["09:00-10:00"]}}})


@pytest.mark.parametrize("settings", [None, [], "x"])
def test_settings_that_are_no_object_are_refused(settings: object) -> None:
    with pytest.raises(ConfigurationError, match="object"):
        ChatbotProfile.read(settings)
