"""The gateway process and its supervision: a real process and a real spool, without the library."""

import ast
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tecnobot_core.adapters import neonize
from tecnobot_core.adapters.neonize import WhatsAppTransport, gateway
from tecnobot_core.connection.ports import (
    DisconnectReason,
    FetchesMedia,
    Lost,
    Opened,
    Pairs,
    Reachable,
    Recovered,
    SavesSession,
    SendsReceipts,
    ShowsPresence,
    ShowsTyping,
    Transport,
    TransportEvent,
)
from tecnobot_core.errors import MissingDependencyError, TransportError
from tecnobot_core.events import MessageMissed, PairingEnded, PairingOffered
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage

CHILD = Path(neonize.__file__).with_name("child")

Make = Callable[..., WhatsAppTransport]


class Heard:
    """Collects what a transport tells, and waits for what it should."""

    def __init__(self) -> None:
        self.events: list[TransportEvent] = []
        self._more = asyncio.Event()

    def __call__(self, event: TransportEvent) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, condition: Callable[["Heard"], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition(self):
                self._more.clear()
                await self._more.wait()

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, InboundMessage)]

    @property
    def losses(self) -> list[Lost]:
        return [event for event in self.events if isinstance(event, Lost)]

    def has(self, number: int) -> Callable[["Heard"], bool]:
        return lambda heard: len(heard.texts) >= number


def frame(number: int, **other: Any) -> dict[str, Any]:
    content = {"text": f"text {number}", "kind": "text", "media": None, "reply_to": None, "sender_name": "Ana"}
    return {
        **{"type": "message", "id": f"m{number}", "chat": "a@lid", "aliases": [], "sent_at": 1.5, "from_me": False},
        **content,
        **other,
    }


def outbound(key: str, text: str = "hola", chat: str = "5215550000001@s.whatsapp.net") -> OutboundMessage:
    return OutboundMessage(chat=ChatId(chat), key=key, text=text)


async def act(transport: WhatsAppTransport, **what: Any) -> None:
    """Make the fake link do something."""
    await transport._request("fake", **what)


def process(transport: WhatsAppTransport) -> psutil.Process:
    assert transport._gateway is not None
    return psutil.Process(transport._gateway.pid)


def ended(child: psutil.Process) -> bool:
    return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@asynccontextmanager
async def making(directory: Path) -> AsyncIterator[Make]:
    """What makes transports of one account, without the library; they are closed at the end."""
    made: list[WhatsAppTransport] = []

    def make(**options: Any) -> WhatsAppTransport:
        made.append(WhatsAppTransport(directory / "whatsapp", fake=True, **options))
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with making(tmp_path) as make:
        yield make


@pytest.fixture
async def transport(make: Make) -> WhatsAppTransport:
    return make()


async def test_what_was_not_acknowledged_comes_again_from_the_next_process(transport: WhatsAppTransport) -> None:
    first, again = Heard(), Heard()
    await transport.open(first)
    await act(transport, messages=[frame(n) for n in range(3)])
    await first.until(first.has(3))
    await transport.acknowledge(["m0", "unknown"])
    await transport.close()
    await transport.open(again)
    await again.until(again.has(2))
    assert isinstance(again.events[0], Opened)
    assert again.texts == ["text 1", "text 2"]


async def test_a_message_arrives_with_all_that_is_known_of_it(transport: WhatsAppTransport) -> None:
    heard = Heard()
    await transport.open(heard)
    media = {"address": "/v/t#aGFzaA==", "mime": "audio/ogg", "size_bytes": 9, "sha256": "00", "key": "a2V5"}
    media |= {"file_name": "", "duration_s": 2.0}
    await act(transport, messages=[frame(1, kind="voice", media=media, aliases=["52155@s.whatsapp.net"], from_me=True)])
    await heard.until(heard.has(1))
    message = heard.events[-1]
    assert isinstance(message, InboundMessage)
    assert message.media is not None
    assert (message.media.kind, message.media.key, message.media.address) == ("voice", b"key", "/v/t#aGFzaA==")
    assert (message.chat, message.aliases, message.from_me) == ("a@lid", ("52155@s.whatsapp.net",), True)
    assert (message.sent_at, message.sender_name) == (1.5, "Ana")


async def test_messages_that_come_while_the_bot_is_busy_all_arrive_in_order(transport: WhatsAppTransport) -> None:
    heard = Heard()
    await transport.open(heard)
    delivering = asyncio.create_task(act(transport, messages=[frame(n) for n in range(600)]))
    for _ in range(600):
        await heard.until(lambda heard: bool(heard.texts))
        time.sleep(0.002)  # noqa: ASYNC251 - the loop is blocked on purpose
        ids = [event.id for event in heard.events if isinstance(event, InboundMessage)]
        await transport.acknowledge(ids)
        if len(ids) == 600:
            break
        await heard.until(heard.has(len(ids) + 1))
    await delivering
    assert heard.texts == [f"text {n}" for n in range(600)]


async def test_no_more_than_256_messages_are_ahead_of_their_acknowledgement(transport: WhatsAppTransport) -> None:
    heard = Heard()
    await transport.open(heard)
    await act(transport, messages=[frame(n) for n in range(300)])
    await heard.until(heard.has(256))
    assert (await transport._request("sent"))["sent"] == []  # whatever was on its way is here now
    assert len(heard.texts) == 256
    await transport.acknowledge([f"m{n}" for n in range(44)])
    await heard.until(heard.has(300))


async def test_a_key_is_sent_once_whoever_asks_again(transport: WhatsAppTransport) -> None:
    await transport.open(Heard())
    await transport.send(outbound("k1"))
    await transport.send(outbound("k1"))
    assert len((await transport._request("sent"))["sent"]) == 1
    await transport.close()
    await transport.open(Heard())
    await transport.send(outbound("k1"))
    assert (await transport._request("sent"))["sent"] == []
    assert await transport.outcome("k1") == "sent"
    assert await transport.outcome("k2") is None


async def test_a_send_during_which_the_process_dies_may_have_happened(transport: WhatsAppTransport) -> None:
    await transport.open(Heard())
    with pytest.raises(TransportError, match="ended during send") as failure:
        await transport.send(outbound("k", "die"))
    assert failure.value.sent == "maybe"
    await transport.open(Heard())
    assert await transport.outcome("k") == "maybe"
    with pytest.raises(TransportError, match="may have sent it") as failure:
        await transport.send(outbound("k"))
    assert failure.value.sent == "maybe"


async def test_a_send_that_surely_failed_can_be_sent_again(transport: WhatsAppTransport) -> None:
    await transport.open(Heard())
    chat = "failed to send message node: websocket not connected"
    with pytest.raises(TransportError) as failure:
        await transport.send(outbound("k", chat=chat))
    assert (failure.value.sent, failure.value.retryable) == ("no", True)
    await transport.send(outbound("k"))


async def test_buttons_are_sent_as_a_numbered_list(transport: WhatsAppTransport) -> None:
    await transport.open(Heard())
    await transport.send(OutboundMessage(chat=ChatId("a"), key="k", text="¿Qué?", buttons=("Sí", "No")))
    assert (await transport._request("sent"))["sent"][0]["text"] == "¿Qué?\n1. Sí\n2. No"


async def test_a_process_that_is_killed_is_a_lost_link_and_the_next_one_works(transport: WhatsAppTransport) -> None:
    heard = Heard()
    await transport.open(heard)
    process(transport).send_signal(signal.SIGKILL)
    await heard.until(lambda heard: bool(heard.losses))
    assert [(loss.reason, loss.retryable) for loss in heard.losses] == [(DisconnectReason.PUMP_DEAD, True)]
    assert "SIGKILL" in heard.losses[0].detail
    await transport.open(heard)
    await transport.send(outbound("k"))


async def test_a_process_that_stands_still_is_replaced(make: Make) -> None:
    transport, heard = make(watch_s=0.1, hang_s=0.3), Heard()
    await transport.open(heard)
    process(transport).send_signal(signal.SIGSTOP)
    await heard.until(lambda heard: bool(heard.losses))
    assert "silent for 0.3 s" in heard.losses[0].detail


async def test_a_process_whose_interpreter_is_held_is_replaced(make: Make) -> None:
    transport, heard = make(watch_s=0.1, hang_s=0.3), Heard()
    await transport.open(heard)
    with pytest.raises(TransportError, match="ended during fake"):
        await act(transport, hold_s=30)
    await heard.until(lambda heard: bool(heard.losses))
    assert "silent" in heard.losses[0].detail


async def test_a_call_that_takes_long_holds_up_nothing_else(make: Make) -> None:
    transport, heard = make(watch_s=0.05, hang_s=0.5), Heard()
    await transport.open(heard)
    waiting = asyncio.create_task(act(transport, hang_s=30))
    await asyncio.sleep(0)
    await transport.send(outbound("k"))
    assert transport._gateway is not None
    await transport._gateway.check()
    assert not heard.losses
    await transport.close()
    with pytest.raises(TransportError, match="ended during fake"):
        await waiting


async def test_a_loop_that_was_blocked_takes_no_live_process_for_dead(make: Make) -> None:
    watched = 0

    async def sleep(seconds: float) -> None:
        nonlocal watched
        watched += seconds == 1
        if seconds == 2:
            time.sleep(0.3)  # noqa: ASYNC251 - the answer is there by then, but nothing could read it
        else:
            await asyncio.sleep(0)

    transport, heard = make(watch_s=1, hang_s=2, sleep=sleep), Heard()
    await transport.open(heard)
    async with asyncio.timeout(10):
        while watched < 4:
            await asyncio.sleep(0)
    await transport.send(outbound("k"))
    assert not heard.losses


async def test_an_acknowledgement_counts_that_came_before_the_end(transport: WhatsAppTransport) -> None:
    first, again = Heard(), Heard()
    await transport.open(first)
    await act(transport, messages=[frame(n) for n in range(2)])
    await first.until(first.has(2))
    child = process(transport)
    child.suspend()
    await transport.acknowledge(["m0"])
    closing = asyncio.create_task(transport.close())
    await asyncio.sleep(0)
    child.terminate()
    child.resume()
    await closing
    await transport.open(again)
    await again.until(again.has(1))
    assert again.texts == ["text 1"]


async def test_closing_is_bounded_also_when_the_process_does_not_listen(make: Make) -> None:
    transport = make(leave_s=0.2)
    await transport.open(Heard())
    child = process(transport)
    child.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(2):
        await transport.close()
    assert ended(child)
    await transport.close()


async def test_nothing_is_heard_after_closing(transport: WhatsAppTransport) -> None:
    heard = Heard()
    await transport.open(heard)
    number = len(heard.events)
    await transport.close()
    assert len(heard.events) == number
    with pytest.raises(TransportError, match="does not run") as failure:
        await transport.send(outbound("k"))
    assert failure.value.sent == "no"
    await transport.acknowledge(["m0"])
    await transport.set_typing(ChatId("a"), True)


async def test_closing_while_opening_ends_both(transport: WhatsAppTransport) -> None:
    opening = asyncio.create_task(transport.open(Heard()))
    while transport._gateway is None or transport._gateway._process is None:
        await asyncio.sleep(0)
    child = process(transport)
    async with asyncio.timeout(5):
        await transport.close()
        with pytest.raises(TransportError):
            await opening
    assert ended(child)


async def test_an_opening_that_is_given_up_leaves_no_process(transport: WhatsAppTransport) -> None:
    opening = asyncio.create_task(transport.open(Heard()))
    while transport._gateway is None or transport._gateway._process is None:
        await asyncio.sleep(0)
    child = process(transport)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert ended(child)


async def test_a_process_that_grew_too_large_is_replaced(make: Make) -> None:
    transport, heard = make(max_rss_bytes=1024 * 1024, watch_s=0.01), Heard()
    await transport.open(heard)
    await heard.until(lambda heard: bool(heard.losses))
    assert heard.losses[0].reason == DisconnectReason.RESTART_REQUIRED


async def test_a_link_that_heals_is_told_as_recovered(transport: WhatsAppTransport) -> None:
    heard = Heard()
    await transport.open(heard)
    lost = {"type": "lost", "reason": "network", "detail": "", "retryable": True, "heals": True}
    await act(transport, say=[lost, {"type": "opened"}, {"type": "opened"}])
    await heard.until(lambda heard: len(heard.events) >= 4)
    assert heard.events == [Opened(), Lost(DisconnectReason.NETWORK, "", heals=True), Recovered(), Opened()]


async def test_pairing_and_missed_messages_are_told(make: Make) -> None:
    transport, heard = make(clock=lambda: 1000.0), Heard()
    await transport.open(heard)
    qr = {"type": "pairing", "kind": "qr", "data": "2@x", "lasts_s": 60.0}
    paired, missed = {"type": "paired", "ok": True, "detail": ""}, {"type": "missed", "id": "M", "chat": "a@lid"}
    await act(transport, say=[qr, paired, missed, {"type": "of a later version"}])
    await heard.until(lambda heard: len(heard.events) >= 4)
    assert heard.events[1:] == [
        PairingOffered("qr", "2@x", 1060.0),
        PairingEnded(True),
        MessageMissed(ChatId("a@lid"), "M"),
    ]


async def test_a_phone_number_is_checked_before_a_code_is_asked_for(transport: WhatsAppTransport) -> None:
    await transport.open(Heard())
    for wrong in ("", "12345", "055119999999"):
        with pytest.raises(TransportError, match="7 to 15 digits"):
            await transport.pair_by_code(wrong)
    await transport.pair_by_code("+52 155 5000 0001")


async def test_reachable_asks_the_proxy(make: Make) -> None:
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await make(proxy=f"http://bot:secret@127.0.0.1:{port}").reachable()
    assert not await make(proxy=f"http://127.0.0.1:{port}").reachable()


@pytest.mark.parametrize(
    ("proxy", "port"), [("http://proxy", 80), ("https://proxy", 443), ("socks5://proxy", 1080), ("http://proxy:8", 8)]
)
async def test_a_proxy_without_a_port_has_that_of_its_scheme(
    make: Make, monkeypatch: pytest.MonkeyPatch, proxy: str, port: int
) -> None:
    asked: list[object] = []

    async def open_connection(*where: object) -> None:
        asked.append(where)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    assert not await make(proxy=proxy).reachable()
    assert asked == [("proxy", port)]


async def test_the_process_has_nothing_of_the_bots_environment(
    transport: WhatsAppTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    await transport.open(Heard())
    assert set(process(transport).environ()) == {"LC_ALL", "TZ", "GOGC", "GOMEMLIMIT", "NEONIZE_BOT_TAG"}


async def test_a_process_that_cannot_start_says_why(make: Make, tmp_path: Path) -> None:
    (tmp_path / "whatsapp" / "spool").mkdir(parents=True)
    with pytest.raises(TransportError, match="IsADirectoryError"):
        await make().open(Heard())


def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tecnobot_core.adapters.neonize.requirements.version", lambda name: "6.33.6")
    with pytest.raises(MissingDependencyError, match=r"pip install 'tecnobot-core\[whatsapp\]'"):
        WhatsAppTransport(Path("unused"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"neonize 0\.5\.2 is not installed"):
        WhatsAppTransport(Path("unused"))


def test_what_the_process_finds_missing_is_named_too() -> None:
    frame = {"type": "broken", "detail": "protobuf is too old", "package": "protobuf", "retryable": False}
    assert "pip install 'tecnobot-core[whatsapp]'" in str(gateway._broken(frame))


async def test_a_directory_is_used_by_one_process_at_a_time(make: Make) -> None:
    await make().open(Heard())
    with pytest.raises(TransportError, match="another process has") as failure:
        await make().open(Heard())
    assert failure.value.retryable


PARENT = """
import asyncio, os, sys
from pathlib import Path
from tecnobot_core.adapters.neonize import WhatsAppTransport

async def main():
    transport = WhatsAppTransport(Path(sys.argv[1]), fake=True)
    await transport.open(lambda event: None)
    print(transport._gateway.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_the_process_leaves_when_the_bot_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([child], timeout=5)
    assert ended(child)


def test_the_process_imports_nothing_of_the_bot_and_no_package() -> None:
    for path in CHILD.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, path.name
                names = [node.module or ""] if node.level == 0 else []
            assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names, path.name


def test_it_has_all_that_a_transport_can_have(make: Make) -> None:
    transport: Transport = make()
    for companion in (ShowsTyping, ShowsPresence, SendsReceipts, FetchesMedia, Pairs, SavesSession, Reachable):
        assert isinstance(transport, companion)


def test_two_processes_can_be_told_apart_by_nothing_but_their_directory(tmp_path: Path) -> None:
    assert os.fspath(tmp_path) in WhatsAppTransport(tmp_path, fake=True).session.data_source
