"""How a recording becomes words, and what is said when it does not."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tecnobot_core import HybridCache, MediaReference, MemoryManager
from tecnobot_core.adapters.openai import OpenAITranscriber
from tecnobot_core.audio import AudioPreprocessor, Clip, Clips
from tecnobot_core.bot import Hearing
from tecnobot_core.bot.hearing import DescribesTranscription
from tecnobot_core.errors import AudioError, CompletionError, ConfigurationError, TransportError
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


async def test_another_recording_is_another_key_and_who_describes_nothing_remembers_alone() -> None:
    cache, heard = HybridCache(), []

    async def transcribe(clip: Clip) -> str:
        heard.append(await clip.read())
        return str(len(heard))

    one, two = (Hearing(fetch, transcribe, cache=cache, model="m") for _ in range(2))
    other = MediaReference(kind="voice", address="", key=OGG + b"!")
    assert [await one(NOTE), await two(NOTE), await one(other), await one(NOTE)] == ["1", "2", "3", "1"]


class Described:
    """Says what it is asked to say."""

    def __init__(self, says: str) -> None:
        self.says = says

    async def __call__(self, clip: Clip) -> str:
        return self.says

    def describe(self) -> Mapping[str, object]:
        return {"model": "m"}


async def test_another_model_that_is_named_hears_again() -> None:
    cache = HybridCache()
    asked = {"a": "one", "b": "two", "c": "one"}
    said = [await Hearing(fetch, Described(says), cache=cache, model=model)(NOTE) for says, model in asked.items()]
    assert said == ["a", "b", "a"]


async def test_another_language_or_server_hears_again_and_the_same_one_does_not() -> None:
    cache = HybridCache()
    async with FakeOpenAI(*[Step(text=words) for words in "abcd"]) as server, FakeOpenAI(Step(text="e")) as other:

        async def words(url: str, language: str | None, model: str = "w") -> str:
            async with OpenAITranscriber(model, base_url=url, language=language) as ask:
                return await Hearing(fetch, ask, cache=cache)(NOTE)

        said = [await words(server.url, language) for language in ("es", "en", "es", None)]
        said += [await words(server.url, "es", "v"), await words(other.url, "es"), await words(server.url, "en")]
    assert said == ["a", "b", "a", "c", "d", "e", "b"]


async def test_what_is_described_is_what_is_sent() -> None:
    async with (
        FakeOpenAI(Step(text="hola")) as server,
        OpenAITranscriber("w", base_url=server.url, language="es") as ask,
    ):
        assert isinstance(ask, DescribesTranscription)
        assert ask.describe() == {"model": "w", "language": "es", "base_url": server.url}
        await ask(Clip("recording.ogg", "audio/ogg", OGG))
    # Whatever is sent beside the file is described: a field that comes later must be, too.
    sent = set(re.findall(rb'name="(\w+)"', server.requests[0].body)) - {b"file"}
    assert sent == {b"model", b"language"}


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
        assert taken == [len(OGG)]  # the request; the recording is in memory already
        return "hola"

    assert await Hearing(fetch, transcribe, reserve=reserve)(NOTE) == "hola"
    assert taken == [len(OGG), -len(OGG)]


async def test_of_a_clip_in_a_file_what_was_read_is_told_to_the_memory_and_read_once(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_bytes(OGG)
    memory = MemoryManager(10_000, probe=lambda: 0, find_trim=lambda: None)

    @asynccontextmanager
    async def fetch_file(media: MediaReference) -> AsyncIterator[Path]:
        yield note

    async def transcribe(clip: Clip) -> str:
        reserved = memory.statistics().reservations
        assert (reserved.reserved_bytes, reserved.expected_bytes) == (2 * len(OGG), len(OGG))
        assert clip.content == OGG
        return "hola"

    assert await Hearing(fetch_file, transcribe, reserve=memory.reserve)(NOTE) == "hola"
    assert memory.statistics().reservations.leases == 0


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


async def test_a_file_that_is_gone_is_no_raw_error(tmp_path: Path) -> None:
    @asynccontextmanager
    async def fetch_nothing(media: MediaReference) -> AsyncIterator[Path]:
        yield tmp_path / "gone"

    async def transcribe(clip: Clip) -> str:
        return "hola"

    for cache in (None, HybridCache()):
        with pytest.raises(TransportError) as caught:
            await Hearing(fetch_nothing, transcribe, cache=cache, model="m")(NOTE)
        assert not caught.value.retryable
