"""What is said to a person whose recording cannot be heard, and what is told of one that was."""

from collections.abc import Awaitable, Callable

import pytest

from tecnobot_core import ChatId, InboundMessage, MediaReference
from tecnobot_core.bot import ENGLISH, PORTUGUESE, SPANISH, Texts
from tecnobot_core.bot.hearing import CUT
from tecnobot_core.bot.turns import Trace
from tecnobot_core.bot.understanding import Understanding
from tecnobot_core.errors import (
    AudioError,
    CompletionError,
    MemoryBusyError,
    TecnobotError,
    TemporarySpaceError,
    TransportError,
)

NOTE = InboundMessage(
    id="1", chat=ChatId("ana"), sent_at=0.0, kind="voice", media=MediaReference(kind="voice", address="note")
)
Hears = Callable[[MediaReference], Awaitable[str]]


class Deaf:
    """Hears nothing of what is at most half an hour long."""

    max_duration_s = 1800.0

    def __init__(self, error: TecnobotError) -> None:
        self.error = error

    async def __call__(self, media: MediaReference) -> str:
        raise self.error


async def told(texts: Texts, hearing: Hears) -> tuple[str, str]:
    """What is said, and what the trace tells."""
    trace = Trace(lambda: 0.0)
    question, reply = await Understanding(texts, hearing, 100).question(NOTE, trace)
    assert question == ""
    assert reply is not None
    assert (reply.by, reply.outcome) == ("audio", "refused")
    (speech,), (step,) = reply.says, trace.steps
    return speech.text, step.detail


def audio(kind: str) -> AudioError:
    return AudioError("x", kind=kind)


@pytest.mark.parametrize("texts", [SPANISH, ENGLISH, PORTUGUESE], ids=["spanish", "english", "portuguese"])
async def test_whatever_keeps_a_recording_from_being_heard_the_person_is_told_what_helps(texts: Texts) -> None:
    unsupported, limit = texts.unsupported("voice"), texts.shorten_recording(1800)
    for error, why, said in (
        (audio("empty"), "empty", texts.say_again),
        (audio("cannot_decode"), "cannot_decode", texts.say_again),
        (audio("refused"), "refused", texts.say_again),
        (TransportError("x", retryable=False), "gone", texts.say_again),
        (audio("not_audio"), "not_audio", texts.no_sound),
        (audio("no_audio_track"), "no_audio_track", texts.no_sound),
        (audio("too_long"), "too_long", limit),
        (audio("too_big"), "too_big", texts.smaller_recording),
        (audio("engine_missing"), "engine_missing", unsupported),
        (audio("unsupported"), "unsupported", unsupported),
        (audio("busy"), "busy", texts.busy),
        (TransportError("x", retryable=True), "not_fetched", texts.busy),
        (CompletionError("x", kind="unavailable"), "unavailable", texts.busy),
        (CompletionError("x", kind="timeout"), "timeout", texts.busy),
        (MemoryBusyError("x", retry_after_s=1), "no_room", texts.busy),
        (MemoryBusyError("x"), "too_big", texts.smaller_recording),
        (TemporarySpaceError("x"), "no_room", texts.busy),
    ):
        assert await told(texts, Deaf(error)) == (said, why)
    assert len({texts.say_again, texts.no_sound, limit, texts.smaller_recording, unsupported, texts.busy}) == 6


async def test_a_limit_that_is_not_known_is_not_told() -> None:
    async def hears(media: MediaReference) -> str:
        raise audio("too_long")

    assert await told(SPANISH, hears) == (SPANISH.smaller_recording, "too_long")


async def test_texts_without_these_sentences_say_that_it_cannot_be_opened() -> None:
    few = Texts(
        **dict.fromkeys(("unknown", "apology", "empty", "busy", "away", "late", "wait", "second", "seconds"), "-"),
        **dict.fromkeys(("shorten", "meant", "yes", "no"), "-"),
        cannot_open="no {kind}",
        kinds={"unknown": "files"},
    )
    for kind in ("empty", "not_audio", "too_long", "too_big"):
        assert await told(few, Deaf(audio(kind))) == ("no files", kind)


async def test_a_recording_that_was_cut_off_is_answered_and_the_trace_tells() -> None:
    async def hears(media: MediaReference) -> str:
        return f"hola {CUT}"

    trace = Trace(lambda: 0.0)
    assert await Understanding(SPANISH, hears, 100).question(NOTE, trace) == (f"hola {CUT}", None)
    assert [step.detail for step in trace.steps] == ["voice, 8 characters, cut off"]
