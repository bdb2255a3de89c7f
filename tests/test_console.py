"""A conversation in the terminal, also in a broken one."""

import asyncio
import io

import pytest

from tecnobot_core.adapters.console import ConsoleTransport
from tecnobot_core.connection import DisconnectReason, Lost, TransportEvent
from tecnobot_core.errors import TransportError
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage

ANSWER = OutboundMessage(chat=ChatId("console"), key="k", text="¡Hola! 🙂", buttons=("Precios", "Horario"))


async def read(transport: ConsoleTransport) -> tuple[list[str], Lost]:
    """Acknowledge everything until the transport ends; the texts, and how it ended."""
    events: asyncio.Queue[TransportEvent] = asyncio.Queue()
    texts: list[str] = []
    await transport.open(events.put_nowait)
    async with asyncio.timeout(10):
        while not isinstance(event := await events.get(), Lost):
            if isinstance(event, InboundMessage):
                texts.append(event.text)
                await transport.acknowledge([event.id])
    return texts, event


class Counted(io.StringIO):
    """Counts the lines that were taken from it."""

    taken = 0

    def __next__(self) -> str:  # type: ignore[override]  # typeshed has bytes here
        self.taken += 1
        return super().__next__()


async def test_no_more_is_read_ahead_than_is_allowed_and_nothing_is_left_out() -> None:
    lines = Counted("".join(f"line {n}\n" for n in range(1000)))
    transport = ConsoleTransport(lines=lines, output=io.StringIO(), max_unacknowledged=10)
    delivered: list[TransportEvent] = []
    await transport.open(delivered.append)
    async with asyncio.timeout(10):
        while len(delivered) < 11:  # Opened, and ten messages
            await asyncio.sleep(0.001)
    assert lines.taken <= 11
    await transport.close()
    texts, end = await read(transport)
    assert texts == [f"line {n}" for n in range(1000)]
    assert end.reason == DisconnectReason.ENDED


async def test_an_end_that_comes_while_it_is_closed_is_told_after_the_next_opening() -> None:
    transport = ConsoleTransport(lines=io.StringIO(""), output=io.StringIO())
    await transport.open(lambda event: None)
    await transport.close()
    assert transport._reader is not None
    transport._reader.join(10)
    assert await read(transport) == ([], Lost(DisconnectReason.ENDED, "end of input", retryable=False))


async def test_input_that_is_not_text_ends_the_link_for_good() -> None:
    lines = io.TextIOWrapper(io.BytesIO(b"hola\ncaf\xe9\n"), encoding="utf-8")
    _, end = await read(ConsoleTransport(lines=lines, output=io.StringIO()))
    assert (end.reason, end.retryable) == (DisconnectReason.UNKNOWN, False)
    assert "the input cannot be read: 'utf-8' codec can't decode" in end.detail


async def test_what_the_terminal_cannot_show_is_a_question_mark() -> None:
    shown = io.BytesIO()
    transport = ConsoleTransport(lines=io.StringIO(""), output=io.TextIOWrapper(shown, encoding="ascii"))
    await transport.open(lambda event: None)
    await transport.send(ANSWER)
    assert b"?Hola! ?\n  1. Precios\n  2. Horario\n" in shown.getvalue()


class Pipe(io.StringIO):
    """An output whose reader may go away."""

    broken = False

    def write(self, text: str) -> int:
        if self.broken:
            raise BrokenPipeError("Broken pipe")
        return super().write(text)


async def test_output_that_is_gone_ends_the_link_for_good() -> None:
    output = Pipe()
    heard: list[TransportEvent] = []
    transport = ConsoleTransport(lines=io.StringIO("hola\n"), output=output)
    await transport.open(heard.append)
    output.broken = True
    with pytest.raises(TransportError, match="the output cannot be written: Broken pipe") as caught:
        await transport.send(ANSWER)
    assert (caught.value.sent, caught.value.retryable) == ("no", False)
    assert [(end.reason, end.retryable) for end in heard if isinstance(end, Lost)] == [("server_closed", False)]


async def test_streams_that_were_closed_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert (await read(ConsoleTransport(output=io.StringIO())))[0] == []
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(TransportError, match="no output"):
        await ConsoleTransport().open(lambda event: None)
