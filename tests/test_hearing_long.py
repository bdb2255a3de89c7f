"""Recordings that take minutes to hear: they are answered all the same, and nobody else waits for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core import (
    AudioError,
    Bot,
    ChatId,
    ChatMessage,
    EventBus,
    HybridCache,
    InboundMessage,
    MediaReference,
    TemporaryFiles,
)
from tecnobot_core.adapters.ffmpeg import FfmpegEngine
from tecnobot_core.audio import AudioPreprocessor, Clip, Encoding, Span
from tecnobot_core.bot import SPANISH, Attachments, Hearing
from tecnobot_core.bot.hearing import CUT
from tecnobot_core.completion import Completion
from tecnobot_core.connection import ConnectionManager
from tecnobot_core.errors import CompletionError
from tecnobot_core.events import TurnCommitted
from tecnobot_core.messages import Turn
from tecnobot_core.testing import FakeMessenger
from tests.fake_engine import FakeEngine, ogg_opus
from tests.make_audio import AudioFiles, session_files
from tests.virtual_time import run_virtually

audio_files = pytest.fixture(scope="session")(session_files)
HOUR_S, LONGEST_S = 3600.0, 5400.0
ENCODING_S, TRANSCRIBING_S, TURN_S = 70.0, 100.0, 60.0
ANA, BETO = ChatId("ana"), ChatId("beto")


class Inline(ThreadPoolExecutor):
    """Does in no time what threads would do, as time in a virtual loop does not wait for them."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


def in_no_time(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* in a loop in which neither waiting nor threads take time."""

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(Inline(1))
        await work

    run_virtually(main())


class SlowEngine(FakeEngine):
    """Takes as long as a small machine does for an hour."""

    async def encode(
        self, source: Path, target: Path, encoding: Encoding, heard: Callable[[float], None]
    ) -> Sequence[Span]:
        await asyncio.sleep(ENCODING_S)
        return await super().encode(source, target, encoding, heard)


class Repeats:
    """A model that answers with what it was asked."""

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        return Completion(messages[-1].content, "fake")


class Hangs:
    """A model that never answers."""

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        await asyncio.Event().wait()
        raise AssertionError


async def transcribe(clip: Clip) -> str:
    assert clip.end_s is not None
    await asyncio.sleep(min(TRANSCRIBING_S, clip.end_s - clip.start_s))
    return f"parte {clip.index}"


def note(chat: ChatId, address: str = "note", duration_s: float | None = None) -> InboundMessage:
    media = MediaReference(kind="voice", address=address, duration_s=duration_s)
    return InboundMessage(id=f"{chat.reveal()}-{address}", chat=chat, sent_at=0.0, kind="voice", media=media)


class Run:
    """A bot that hears, and when it answered what to whom."""

    def __init__(self, files: TemporaryFiles, *, model: object = None, plain: bool = False, **options: Any) -> None:
        self.transport = FakeMessenger()
        self.transport.media["note"] = ogg_opus(HOUR_S)
        self.engine = SlowEngine(HOUR_S)
        self.turns: dict[ChatId, Turn] = {}
        self.answered_at: dict[ChatId, float] = {}
        self.hearing = Hearing(
            Attachments(self.transport, files).fetched,
            options.pop("transcribe", transcribe),
            audio=AudioPreprocessor(self.engine, temporary_files=files),
            **options,
        )
        events = EventBus()
        events.on(TurnCommitted, self._note)

        async def hears(media: MediaReference) -> str:
            return await self.hearing(media)

        self.bot = Bot(
            ConnectionManager(self.transport),
            model=model or Repeats(),  # type: ignore[arg-type]
            hearing=hears if plain else self.hearing,
            events=events,
            turn_timeout_s=TURN_S,
            drain_s=10_000.0,
        )

    async def answers(self, *messages: InboundMessage) -> dict[ChatId, str]:
        self.transport.deliver(*messages)
        self.transport.end()
        await self.bot.run()
        return {message.chat: message.text for message in self.transport.sent}

    def _note(self, event: TurnCommitted) -> None:
        self.turns[event.turn.chat] = event.turn
        self.answered_at[event.turn.chat] = asyncio.get_running_loop().time()


def test_an_hour_is_heard_in_parts_and_answered_while_another_chat_does_not_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with TemporaryFiles(tmp_path) as files:
            run = Run(files)
            said = await run.answers(note(ANA), InboundMessage(id="b", chat=BETO, sent_at=0.0, text="hola"))
            assert said == {ANA: "parte 0 parte 1 parte 2", BETO: "hola"}
            assert run.answered_at[BETO] < 1
            assert run.answered_at[ANA] == pytest.approx(ENCODING_S + 3 * TRANSCRIBING_S, abs=1)
            assert files.statistics().leases == 0

    in_no_time(scenario())


def test_what_comes_after_hearing_has_the_deadline_of_a_turn(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with TemporaryFiles(tmp_path) as files:
            run = Run(files, model=Hangs())
            assert await run.answers(note(ANA)) == {ANA: SPANISH.apology}
            assert run.answered_at[ANA] == pytest.approx(ENCODING_S + 3 * TRANSCRIBING_S + TURN_S, abs=1)

    in_no_time(scenario())


def test_hearing_that_does_not_end_by_itself_has_the_deadline_of_a_turn(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with TemporaryFiles(tmp_path) as files:
            run = Run(files, plain=True)
            assert await run.answers(note(ANA)) == {ANA: SPANISH.apology}
            assert run.answered_at[ANA] == pytest.approx(TURN_S, abs=1)
            assert files.statistics().leases == 0

    in_no_time(scenario())


@pytest.mark.parametrize(("cached", "seconds"), [(False, 15.0), (True, 15.0), (True, HOUR_S)])
def test_hearing_is_given_up_after_a_time_that_fits_the_recording(tmp_path: Path, cached: bool, seconds: float) -> None:
    async def never(clip: Clip) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> None:
        async with TemporaryFiles(tmp_path) as files, HybridCache() as cache:
            run = Run(files, transcribe=never, cache=cache if cached else None)
            run.transport.media["note"] = ogg_opus(seconds)
            assert await run.answers(note(ANA)) == {ANA: SPANISH.busy}
            assert run.answered_at[ANA] == pytest.approx(60 + seconds / 4, abs=1)
            assert [step.detail for step in run.turns[ANA].trace if step.stage == "understand"] == ["timeout"]
            assert files.statistics().leases == 0

    in_no_time(scenario())


@pytest.mark.parametrize(("told_s", "fetched"), [(None, 1), (LONGEST_S + 1, 0)])
def test_what_is_too_long_is_refused_at_once_with_the_limit_and_not_converted(
    tmp_path: Path, told_s: float | None, fetched: int
) -> None:
    async def scenario() -> None:
        async with TemporaryFiles(tmp_path) as files:
            run = Run(files)
            run.transport.media["note"] = ogg_opus(LONGEST_S + 1)
            fetches = []
            fetch = run.transport.fetch_media

            async def counted(media: MediaReference, target: Path, *, max_bytes: int) -> int:
                fetches.append(media)
                return await fetch(media, target, max_bytes=max_bytes)

            run.transport.fetch_media = counted  # type: ignore[method-assign]
            assert await run.answers(note(ANA, duration_s=told_s)) == {ANA: SPANISH.shorten_recording(LONGEST_S)}
            assert "90 min" in SPANISH.shorten_recording(LONGEST_S)
            assert run.answered_at[ANA] < 1
            assert (len(fetches), run.engine.calls) == (fetched, [])

    in_no_time(scenario())


def test_more_long_recordings_at_once_than_may_be_are_refused_and_short_ones_are_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with TemporaryFiles(tmp_path) as files:
            run = Run(files, max_long=1)
            run.transport.media["short"] = ogg_opus(15)
            caro = ChatId("caro")
            said = await run.answers(note(ANA), note(BETO), note(caro, "short"))
            assert said == {ANA: "parte 0 parte 1 parte 2", BETO: SPANISH.busy, caro: "parte 0"}
            assert run.answered_at[BETO] < 1
            counts = run.hearing.statistics()
            assert (counts.heard, counts.failed, counts.sound_s) == (2, 1, HOUR_S + 15)
            assert (counts.under_way, counts.long_under_way) == (0, 0)
            assert counts.took_s == pytest.approx(ENCODING_S + 3 * TRANSCRIBING_S + 15, abs=2)

    in_no_time(scenario())


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_duration_s", 0.0), ("timeout_s", 0.0), ("timeout_for_a_second", -1.0), ("max_long", 0)],
)
def test_limits_that_make_no_sense_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Hearing(attached, transcribe, **{name: value})  # type: ignore[arg-type]


@asynccontextmanager
async def attached(media: MediaReference) -> AsyncIterator[bytes]:
    yield media.key


async def test_a_recording_that_must_be_cut_is_heard_whole_with_the_real_engine(
    tmp_path: Path, audio_files: AudioFiles
) -> None:
    heard: list[tuple[float, bytes]] = []

    async def hear(clip: Clip) -> str:
        heard.append((clip.start_s, (await clip.read())[:4]))
        return f"parte {clip.index}"

    async with TemporaryFiles(tmp_path) as files:
        audio = AudioPreprocessor(FfmpegEngine(), max_clip_s=8, temporary_files=files)
        messenger = FakeMessenger()
        messenger.media["note"] = (await asyncio.to_thread(audio_files.make, "aiff")).read_bytes()
        hearing = Hearing(Attachments(messenger, files).fetched, hear, audio=audio)
        words = await hearing(MediaReference(kind="voice", address="note"))
        assert files.statistics().leases == 0
    assert len(heard) >= 3
    assert words == " ".join(f"parte {index}" for index in range(len(heard)))
    assert [start_s for start_s, _ in heard] == sorted({start_s for start_s, _ in heard})
    assert {head for _, head in heard} == {b"OggS"}


async def forwarded(
    files: TemporaryFiles, audio: AudioPreprocessor, content: bytes, begun: Callable[[], bool], go_on: asyncio.Event
) -> Sequence[str | BaseException]:
    """What two chats hear that send the same, of which the first is gone before it is heard."""

    async def hear(clip: Clip) -> str:
        await go_on.wait()
        return str(len(await clip.read()))

    messenger = FakeMessenger()
    messenger.media["one"] = messenger.media["two"] = content
    async with HybridCache() as cache:
        hearing = Hearing(Attachments(messenger, files).fetched, hear, audio=audio, model="m", cache=cache)
        first, second = (
            asyncio.create_task(_hear(hearing, MediaReference(kind="voice", address=address)))
            for address in ("one", "two")
        )
        await _until(lambda: hearing.statistics().under_way == 2 and begun())
        first.cancel()
        await asyncio.wait([first])
        go_on.set()
        return await asyncio.gather(first, second, return_exceptions=True)


async def test_a_forwarded_note_is_heard_for_the_second_chat_when_the_first_one_leaves(tmp_path: Path) -> None:
    async with TemporaryFiles(tmp_path) as files:
        content = ogg_opus(15, 5000)
        audio = AudioPreprocessor(temporary_files=files)
        first, second = await forwarded(files, audio, content, lambda: True, asyncio.Event())
        assert isinstance(first, asyncio.CancelledError)
        assert second == str(len(content))
        assert files.statistics().leases == 0


async def test_a_forwarded_note_that_waits_to_be_converted_is_the_loads_own(tmp_path: Path) -> None:
    async with TemporaryFiles(tmp_path) as files:
        engine = FakeEngine(15)
        audio = AudioPreprocessor(engine, max_clip_s=10, temporary_files=files)
        engine.gate.clear()
        busy, go_on = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with audio.prepare(ogg_opus(14)):
                busy.set()

        other = asyncio.create_task(hold())
        await _until(lambda: engine.running == 1)
        hearing = asyncio.create_task(forwarded(files, audio, ogg_opus(15), lambda: audio.waiting == 1, go_on))
        await go_on.wait()
        engine.gate.set()
        first, second = await hearing
        await other
        assert isinstance(first, asyncio.CancelledError)
        assert isinstance(second, str)
        assert files.statistics().leases == 0


async def test_a_cut_recording_says_so_in_its_words_also_when_they_are_remembered() -> None:
    async def hear(clip: Clip) -> str:
        return "¿cuánto cuesta el"

    whole, cut = ogg_opus(15, 60_000), ogg_opus(15, 60_000)[:40_000]
    async with HybridCache() as cache:
        hearing = Hearing(attached, hear, model="m", cache=cache)
        said = [await hearing(MediaReference(kind="voice", address="", key=key)) for key in (cut, cut, whole)]
    assert said == [f"¿cuánto cuesta el {CUT}", f"¿cuánto cuesta el {CUT}", "¿cuánto cuesta el"]


async def test_a_cut_recording_without_words_has_none() -> None:
    async def hear(clip: Clip) -> str:
        return ""

    cut = ogg_opus(15, 60_000)[:40_000]
    assert await Hearing(attached, hear)(MediaReference(kind="voice", address="", key=cut)) == ""


async def test_a_deadline_below_is_a_timeout_of_hearing() -> None:
    async def fails(clip: Clip) -> str:
        raise TimeoutError("some deadline below")

    with pytest.raises(CompletionError) as caught:
        await Hearing(attached, fails)(MediaReference(kind="voice", address="", key=ogg_opus(15)))
    assert caught.value.kind == "timeout"


def test_a_told_length_is_a_typed_error() -> None:
    async def scenario() -> None:
        with pytest.raises(AudioError) as caught:
            await Hearing(attached, transcribe, max_duration_s=10)(
                MediaReference(kind="voice", address="", duration_s=11)
            )
        assert caught.value.kind == "too_long"

    in_no_time(scenario())


async def _hear(hearing: Callable[[MediaReference], Awaitable[str]], media: MediaReference) -> str:
    return await hearing(media)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
