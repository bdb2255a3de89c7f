"""What every transport does, so that delivery can rely on any of them."""

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tecnobot_core.adapters.chat_export import ChatExport, ReplayTransport
from tecnobot_core.adapters.console import ConsoleTransport
from tecnobot_core.connection import DisconnectReason, Lost, Opened, Transport, TransportEvent
from tecnobot_core.errors import TransportError
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeMessenger, FakeTransport


@dataclass
class Case:
    """A transport over which the same three people's messages come, and how to see what was sent."""

    transport: Transport
    chat: ChatId
    write: Callable[[], Awaitable[None]]
    sent: Callable[[], list[str]]
    finish: Callable[[], object] = bool


async def nothing() -> None:
    """The messages are there from the beginning."""


def fake(tasks: Tasks, folder: Path) -> Case:
    return faked(FakeTransport())


def messenger(tasks: Tasks, folder: Path) -> Case:
    return faked(FakeMessenger())


def faked(transport: FakeTransport) -> Case:
    async def write() -> None:
        transport.deliver(
            *(InboundMessage(id=f"m{n}", chat=ChatId("a"), sent_at=0.0, text=f"text {n}") for n in range(3))
        )

    return Case(transport, ChatId("a"), write, lambda: [message.text for message in transport.sent])


def console(tasks: Tasks, folder: Path) -> Case:
    read_end, write_end = os.pipe()
    reading, writing = os.fdopen(read_end, "r"), os.fdopen(write_end, "w")
    output = io.StringIO()
    transport = ConsoleTransport(lines=reading, output=output)

    async def write() -> None:
        writing.write("text 0\ntext 1\ntext 2\n")
        writing.close()

    def finish() -> None:
        writing.close()
        if transport._reader is not None:
            transport._reader.join(10)
        reading.close()

    return Case(
        transport,
        ChatId("console"),
        write,
        lambda: output.getvalue().replace("> ", "").replace("\r", "").split("\n")[:-1],
        finish,
    )


def replay(tasks: Tasks, folder: Path) -> Case:
    file = folder / "plain.txt"
    file.write_text("text 0\ntext 1\ntext 2\n", "utf-8")
    answers: list[str] = []
    transport = ReplayTransport(ChatExport.open(file), on_answer=lambda message: answers.append(message.text))
    return Case(transport, ChatId("export:customer"), nothing, lambda: answers)


def web(tasks: Tasks, folder: Path) -> Case:
    from tecnobot_core.adapters.web import WebChat

    transport = WebChat(acknowledge_within_s=60)

    async def write() -> None:
        for number in range(3):
            tasks.start(transport.receive("a", f"m{number}", f"text {number}"), f"write_{number}")
            await asyncio.sleep(0)

    def sent() -> list[str]:
        events = [json.loads(entry.data) for entry in transport._feed.since(0)]
        return [str(event["text"]) for event in events if event.get("role") == "assistant"]

    return Case(transport, ChatId("web:a"), write, sent)


@pytest.fixture(params=[fake, messenger, console, replay, web], ids=lambda make: make.__name__)
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    async with Tasks("test") as tasks:
        made: Case = request.param(tasks, tmp_path)
        yield made
        await made.transport.close()
        made.finish()


class Heard:
    """Collects what a transport tells."""

    def __init__(self) -> None:
        self.events: list[TransportEvent] = []
        self._more = asyncio.Event()

    def __call__(self, event: TransportEvent) -> None:
        self.events.append(event)
        self._more.set()

    @property
    def messages(self) -> list[InboundMessage]:
        return [event for event in self.events if isinstance(event, InboundMessage)]

    async def wait(self, number: int) -> list[InboundMessage]:
        async with asyncio.timeout(10):
            while len(self.messages) < number:
                self._more.clear()
                await self._more.wait()
        return self.messages


async def test_it_opens_then_delivers_in_order(case: Case) -> None:
    heard = Heard()
    await case.transport.open(heard)
    await case.write()
    messages = await heard.wait(3)
    assert isinstance(heard.events[0], Opened)
    assert [message.text for message in messages] == ["text 0", "text 1", "text 2"]
    assert {message.chat for message in messages} == {case.chat}
    assert len({message.id for message in messages}) == 3


async def test_what_was_not_acknowledged_comes_again_and_nothing_else(case: Case) -> None:
    first, again = Heard(), Heard()
    await case.transport.open(first)
    await case.write()
    ids = [message.id for message in await first.wait(3)]
    await case.transport.acknowledge([ids[0], "unknown"])
    await case.transport.close()
    await case.transport.open(again)
    assert [message.id for message in await again.wait(2)] == ids[1:]
    assert len(first.messages) == 3


async def test_nothing_is_told_after_close(case: Case) -> None:
    heard = Heard()
    await case.transport.open(heard)
    await case.transport.close()
    told = len(heard.events)
    await case.write()
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(heard.events) == told


async def test_it_sends_in_order_while_open(case: Case) -> None:
    await case.transport.open(Heard())
    for number in range(3):
        await case.transport.send(OutboundMessage(chat=case.chat, key=str(number), text=f"answer {number}"))
    await case.transport.ping()
    assert case.sent() == ["answer 0", "answer 1", "answer 2"]


async def test_sending_while_closed_was_not_sent(case: Case) -> None:
    await case.transport.open(Heard())
    await case.transport.close()
    with pytest.raises(TransportError) as caught:
        await case.transport.send(OutboundMessage(chat=case.chat, key="k", text="late"))
    assert caught.value.sent == "no"
    with pytest.raises(TransportError):
        await case.transport.ping()
    assert case.sent() == []


async def test_the_sink_is_called_on_the_loop(case: Case) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    heard = Heard()

    def sink(event: TransportEvent) -> None:
        loops.append(asyncio.get_running_loop())  # raises in any other thread
        heard(event)

    await case.transport.open(sink)
    await case.write()
    await heard.wait(3)
    assert set(loops) == {asyncio.get_running_loop()}


async def test_closing_twice_or_unopened_is_harmless(case: Case) -> None:
    await case.transport.close()
    await case.transport.open(Heard())
    await case.transport.close()
    await case.transport.close()


@pytest.mark.parametrize("case", [console, replay], indirect=True, ids=lambda make: make.__name__)
async def test_the_end_of_the_input_is_told_once_when_everything_is_acknowledged(case: Case) -> None:
    heard = Heard()
    await case.transport.open(heard)
    await case.write()
    messages = await heard.wait(3)
    assert not [event for event in heard.events if isinstance(event, Lost)]
    await case.transport.acknowledge([message.id for message in messages])
    async with asyncio.timeout(10):
        while not (ends := [event for event in heard.events if isinstance(event, Lost)]):
            await asyncio.sleep(0.001)
    assert [(end.reason, end.retryable) for end in ends] == [(DisconnectReason.ENDED, False)]
