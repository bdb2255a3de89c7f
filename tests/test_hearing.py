"""How a recording becomes words, and what is said when it does not."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from tecnobot_core import ChatId, HybridCache, InboundMessage, MediaReference, TemporaryFiles
from tecnobot_core.adapters.openai import OpenAITranscriber
from tecnobot_core.audio import AudioPreprocessor, Clip, Clips
from tecnobot_core.bot import SPANISH, Attachments, Hearing
from tecnobot_core.bot.turns import Trace
from tecnobot_core.bot.understanding import Understanding
from tecnobot_core.errors import (
    AudioError,
    CompletionError,
    ConfigurationError,
    MemoryBusyError,
    TemporarySpaceError,
    TransportError,
)
from tecnobot_core.testing import FakeOpenAI, Step

NOTE = MediaReference(kind="voice", address="note")
OGG = b"OggS" + bytes(100)


@asynccontextmanager
async def fetch(media: MediaReference) -> AsyncIterator[bytes]:
    yield media.key or OGG


class TwoParts(AudioPreprocessor):
    """Cuts every recording in two, with an overlap, and notes what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bool] = []

    @asynccontextmanager
    async def prepare(  # type: ignore[override]  # narrower than what it stands for
        self, source: bytes, *, size_bytes: int | None = None, transcode: bool = False
    ) -> AsyncIterator[Clips]:
        self.asked.append(transcode)
        name, mime = ("recording.mp3", "audio/mpeg") if transcode else ("recording.ogg", "audio/ogg")
        yield Clips((Clip(name, mime, b"1", 0, 0.0, 10.0), Clip(name, mime, b"2", 1, 7.0, 20.0)))


async def test_the_parts_of_a_long_recording_are_joined_and_a_forwarded_one_is_not_even_cut_again() -> None:
    audio = TwoParts()

    async def transcribe(clip: Clip) -> str:
        return "quiero dos fundas" if clip.index == 0 else "dos fundas negras"

    hearing = Hearing(fetch, transcribe, audio=audio, cache=HybridCache(), model="m")
    assert await hearing(NOTE) == "quiero dos fundas negras"
    assert await hearing(MediaReference(kind="voice", address="the same, from somebody else")) == (
        "quiero dos fundas negras"
    )
    assert audio.asked == [False]


async def test_another_model_hears_again_and_another_recording_is_another_key() -> None:
    cache, heard = HybridCache(), []

    async def transcribe(clip: Clip) -> str:
        heard.append(await clip.read())
        return str(len(heard))

    one, two = (Hearing(fetch, transcribe, cache=cache, model=model) for model in ("one", "two"))
    other = MediaReference(kind="voice", address="", key=OGG + b"!")
    assert [await one(NOTE), await two(NOTE), await one(other), await one(NOTE)] == ["1", "2", "3", "1"]


async def test_what_the_endpoint_refuses_is_converted_and_sent_once_more() -> None:
    audio = TwoParts()
    refused = Step(status=400, error={"message": "Unsupported file format", "type": "invalid_request_error"})
    async with FakeOpenAI(refused, Step(text="hola")) as server, OpenAITranscriber("w", base_url=server.url) as ask:
        assert await Hearing(fetch, ask, audio=audio)(NOTE) == "hola"
    assert audio.asked == [False, True]
    assert [b'filename="recording.mp3"' in request.body for request in server.requests] == [False, True, True]


async def test_what_is_refused_after_that_is_an_error() -> None:
    refused = Step(status=400, error={"message": "corrupted", "type": "invalid_request_error"})
    async with (
        FakeOpenAI(*[refused] * 9) as server,
        OpenAITranscriber("w", api_key="sk-1", base_url=server.url) as ask,
    ):
        with pytest.raises(AudioError, match="corrupted") as caught:
            await Hearing(fetch, ask, audio=TwoParts())(NOTE)
    assert caught.value.kind == "refused"
    assert len(server.requests) == 2


async def test_memory_is_taken_for_a_clip_while_it_is_sent() -> None:
    taken: list[int] = []

    @asynccontextmanager
    async def reserve(n_bytes: int) -> AsyncIterator[None]:
        taken.append(n_bytes)
        yield
        taken.append(-n_bytes)

    async def transcribe(clip: Clip) -> str:
        assert taken == [2 * len(OGG)]
        return "hola"

    assert await Hearing(fetch, transcribe, reserve=reserve)(NOTE) == "hola"
    assert taken == [2 * len(OGG), -2 * len(OGG)]


async def test_a_clip_is_sent_under_its_true_name_with_the_model_and_language() -> None:
    async with (
        FakeOpenAI(Step(text=" ¿Abren hoy? \n")) as server,
        OpenAITranscriber("whisper-1", base_url=server.url, language="es") as ask,
    ):
        assert await ask(Clip("recording.ogg", "audio/ogg", OGG)) == "¿Abren hoy?"
    (request,) = server.requests
    assert request.path == "/v1/audio/transcriptions"
    for part in (b'filename="recording.ogg"', b"audio/ogg", OGG, b"whisper-1", b'name="language"\r\n\r\nes\r\n'):
        assert part in request.body


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Step(status=429, error={"message": "slow", "type": "requests"}), "rate_limited"),
        (Step(status=400, error={"message": "pay", "code": "insufficient_quota"}), "quota"),
        (Step(status=503), "unavailable"),
        (Step(drop=True), "unavailable"),
        (Step(raw=b"[]"), "malformed"),
        (Step(delay_s=60), "timeout"),
    ],
)
async def test_a_server_that_does_not_answer_is_a_completion_error(step: Step, kind: str) -> None:
    async with (
        FakeOpenAI(step) as server,
        OpenAITranscriber("w", base_url=server.url, timeout_s=1.0 if kind == "timeout" else 60.0) as ask,
    ):
        with pytest.raises(CompletionError) as caught:
            await ask(Clip("recording.ogg", "audio/ogg", OGG))
    assert caught.value.kind == kind


def test_a_transcriber_without_a_model_says_which_setting_is_missing() -> None:
    with pytest.raises(ConfigurationError, match="TRANSCRIPTION_MODEL"):
        OpenAITranscriber("", base_url="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("error", "why", "said"),
    [
        (AudioError("x", kind="not_audio"), "not_audio", SPANISH.unsupported("voice")),
        (AudioError("x", kind="busy"), "busy", SPANISH.busy),
        (CompletionError("x", kind="unavailable"), "unavailable", SPANISH.unsupported("voice")),
        (MemoryBusyError("x", retry_after_s=1), "no_room", SPANISH.busy),
        (TemporarySpaceError("x"), "no_room", SPANISH.busy),
        (TransportError("x", retryable=False), "not_fetched", SPANISH.unsupported("voice")),
    ],
)
async def test_whatever_keeps_a_recording_from_being_heard_the_person_is_asked_for_words(
    error: Exception, why: str, said: str
) -> None:
    async def fails(media: MediaReference) -> str:
        raise error

    trace = Trace(lambda: 0.0)
    understanding = Understanding(SPANISH, cast("Callable[[MediaReference], Awaitable[str]]", fails), 100)
    message = InboundMessage(id="1", chat=ChatId("ana"), sent_at=0.0, kind="voice", media=NOTE)
    question, reply = await understanding.question(message, trace)
    assert question == ""
    assert reply is not None
    assert [speech.text for speech in reply.says] == [said]
    assert [step.detail for step in trace.steps] == [why]


class Shelf:
    """Has one attachment."""

    async def fetch_media(self, media: MediaReference, target: Path, *, max_bytes: int) -> int:
        if media.address != "note":
            raise TransportError("it is gone", retryable=False)
        return target.write_bytes(OGG)  # noqa: ASYNC240


async def test_an_attachment_is_a_file_as_long_as_it_is_needed(tmp_path: Path) -> None:
    async with TemporaryFiles(tmp_path) as files:
        attachments = Attachments(Shelf(), files, max_bytes=1000)
        async with attachments.fetched(NOTE) as path:
            assert path.read_bytes() == OGG
        assert not path.exists()
        with pytest.raises(TransportError):
            async with attachments.fetched(MediaReference(kind="voice", address="other", size_bytes=7)):
                pass
        assert files.statistics().leases == 0
