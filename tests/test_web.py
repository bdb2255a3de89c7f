"""The web adapter: what pages and probes get, who is let in, and how the server starts and stops."""

import asyncio
import json
import logging
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.adapters.web.app import MAX_BODY_BYTES, web_app
from tecnobot_core.adapters.web.chat import WebChat
from tecnobot_core.adapters.web.feed import Feed
from tecnobot_core.adapters.web.guard import Guard
from tecnobot_core.adapters.web.json_values import encode_json
from tecnobot_core.adapters.web.mailbox import Mailbox
from tecnobot_core.adapters.web.server import WebServer
from tecnobot_core.connection.ports import Opened, ShowsTyping, Transport, TransportEvent
from tecnobot_core.errors import ConfigurationError, LifecycleError, StoreError, TransportError
from tecnobot_core.events import DuplicateIgnored, EventBus, TurnCommitted
from tecnobot_core.messages import (
    ChatId,
    ChatMessage,
    InboundMessage,
    MediaReference,
    OutboundMessage,
    ToolCall,
    TraceStep,
    Turn,
)

DEADLINE_S = 5.0
TOKEN = "0123456789abcdef"
METRICS_TOKEN = "fedcba9876543210"
ANA = ChatId("web:ana")


@dataclass
class Reply:
    """What an ASGI application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: Any,
    path: str,
    body: object = None,
    *,
    method: str = "",
    headers: Mapping[str, str] | None = None,
    raw: bytes | None = None,
) -> Reply:
    """One request to *app* without a network; a *body* makes it a JSON POST from the page."""
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    named = {"host": "localhost:8000"}
    if content:
        named |= {"content-type": "application/json", "content-length": str(len(content))}
    named |= {name.lower(): value for name, value in (headers or {}).items()}
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method or ("POST" if content else "GET"),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items() if value],
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
    }
    requests = [{"type": "http.request", "body": content, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return requests.pop(0) if requests else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))


def guarded(chat: WebChat | None = None, **how: Any) -> Guard:
    metrics = {"memory": lambda: {"rss_bytes": 1}}
    return Guard(web_app(chat or WebChat(), metrics, lambda: ()), **{"hosts": ("localhost", "127.0.0.1"), **how})


class Listener:
    """A bot's end of a transport that only listens; with *chat* it acknowledges at once."""

    def __init__(self, chat: WebChat | None = None) -> None:
        self.told: list[TransportEvent] = []
        self._chat = chat
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, event: TransportEvent) -> None:
        self.told.append(event)
        if self._chat is not None and isinstance(event, InboundMessage):
            task = asyncio.get_running_loop().create_task(self._chat.acknowledge([event.id]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @property
    def messages(self) -> list[InboundMessage]:
        return [event for event in self.told if isinstance(event, InboundMessage)]


async def listening_chat(**how: Any) -> tuple[WebChat, Listener]:
    chat = WebChat(**how)
    listener = Listener(chat)
    await chat.open(listener)
    return chat, listener


def turn(**how: Any) -> TurnCommitted:
    fields: dict[str, Any] = {"chat": ANA, "inbound": ("1",), "outcome": "answered", "answered_by": "flow", **how}
    return TurnCommitted(Turn(**fields), 0.25)


async def events_of(chat: WebChat, name: str = "ana") -> list[dict[str, Any]]:
    """What a page of the chat *name* was told since the beginning."""
    reader, resumed = chat.resume([name], chat.event_id(0), lambda: None)
    assert resumed
    return [json.loads(entry.data) for entry in await reader.batch(0)]


# The transport.


def test_the_chat_is_a_transport_that_shows_typing() -> None:
    chat: Transport = WebChat()
    assert isinstance(chat, ShowsTyping)


async def test_a_message_of_a_page_reaches_the_bot_with_the_clock_of_the_server() -> None:
    chat, listener = await listening_chat(clock=lambda: 1700.5)
    assert await chat.receive("ana", "m1", "hola")
    assert listener.told[0] == Opened()
    assert listener.messages == [InboundMessage(id="m1", chat=ANA, sent_at=1700.5, text="hola")]


async def test_a_message_that_is_not_acknowledged_is_reported_so_and_not_delivered_twice() -> None:
    chat = WebChat(acknowledge_within_s=0.01)
    listener = Listener()
    await chat.open(listener)
    assert not await chat.receive("ana", "m1", "hola")
    assert not await chat.receive("ana", "m1", "hola")
    assert [message.id for message in listener.messages] == ["m1"]
    await chat.acknowledge(["m1", "unknown"])
    await chat.open(again := Listener())
    assert again.messages == []


async def test_what_was_not_acknowledged_is_delivered_again_in_order_after_the_next_opening() -> None:
    chat = WebChat(acknowledge_within_s=0.01)
    for number in range(3):
        assert not await chat.receive("ana", f"m{number}", "hola")
    await chat.open(Listener())
    await chat.acknowledge(["m1"])
    await chat.close()
    await chat.close()
    assert not await chat.receive("ana", "m3", "hola")
    await chat.open(listener := Listener())
    assert [message.id for message in listener.messages] == ["m0", "m2", "m3"]


async def test_every_post_of_one_message_learns_that_it_was_acknowledged() -> None:
    chat = WebChat(acknowledge_within_s=DEADLINE_S)
    await chat.open(Listener())
    posts = [asyncio.create_task(chat.receive("ana", "m1", "hola")) for _ in range(2)]
    await asyncio.wait(posts, timeout=0)
    await chat.acknowledge(["m1"])
    assert await asyncio.gather(*posts) == [True, True]


async def test_beyond_its_bounds_the_chat_takes_nothing_in() -> None:
    chat = WebChat(max_unacknowledged=2, max_unacknowledged_bytes=10, acknowledge_within_s=0.01)
    await chat.open(listener := Listener())
    assert not await chat.receive("ana", "long", "x" * 11)
    for message_id in ("m1", "m2", "m3"):
        assert not await chat.receive("ana", message_id, "x")
    assert [message.id for message in listener.messages] == ["m1", "m2"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 5), st.text(st.characters(), max_size=6)),
            st.tuples(st.just("take"), st.integers(0, 5), st.just("")),
        )
    )
)
def test_a_mailbox_never_exceeds_its_bounds_and_keeps_what_it_said_it_keeps(steps: list[tuple[str, int, str]]) -> None:
    mailbox = Mailbox(max_messages=3, max_bytes=12)
    kept: dict[str, str] = {}
    for step, number, text in steps:
        if step == "take":
            assert (mailbox.take(str(number)) is not None) == (kept.pop(str(number), None) is not None)
        elif mailbox.add(InboundMessage(id=str(number), chat=ANA, sent_at=0, text=text)):
            kept.setdefault(str(number), text)
        else:
            assert len(kept) == 3 or size_bytes(*kept.values(), text) > 12
        assert {message.id: message.text for message in mailbox} == kept
        assert len(mailbox) == len(kept) <= 3
        assert size_bytes(*kept.values()) <= 12


def size_bytes(*texts: str) -> int:
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


async def test_what_the_bot_says_is_told_to_its_chat_alone() -> None:
    chat, _ = await listening_chat(clock=lambda: 5.0)
    photo = MediaReference(kind="image", address="x", file_name="shop.png")
    await chat.send(OutboundMessage(chat=ANA, key="k", text="hola \ud800", buttons=("Sí", "No"), media=photo))
    await chat.set_typing(ANA, True)
    assert await events_of(chat, "ana") == [
        {
            "chat": "ana",
            "type": "message",
            "role": "assistant",
            "id": "k",
            "at": 5.0,
            "text": "hola \ud800",
            "buttons": ["Sí", "No"],
            "media": ["image", "shop.png"],
        },
        {"chat": "ana", "type": "typing", "typing": True},
    ]
    assert await events_of(chat, "luis") == []


async def test_sending_through_a_closed_chat_or_to_a_foreign_one_is_refused() -> None:
    chat = WebChat()
    for attempt in (chat.send(OutboundMessage(chat=ANA, key="k", text="x")), chat.ping()):
        with pytest.raises(TransportError) as caught:
            await attempt
        assert (caught.value.reason, caught.value.sent) == ("stopped", "no")
    await chat.open(Listener())
    await chat.ping()
    with pytest.raises(TransportError) as caught:
        await chat.send(OutboundMessage(chat=ChatId("+34600111222"), key="k", text="x"))
    assert not caught.value.retryable
    assert "600" not in str(caught.value)
    await chat.set_typing(ChatId("+34600111222"), True)


async def test_a_page_is_told_what_became_of_its_message() -> None:
    chat, _ = await listening_chat()
    events = EventBus()
    chat.watch(events)
    events.publish(turn(chat=ChatId("+34600111222")))
    assert chat._feed.end == 0
    events.publish(turn(trace=(TraceStep("flow", "hours", 1.5),)))
    assert await events_of(chat) == [
        {
            "chat": "ana",
            "type": "turn",
            "ids": ["1"],
            "outcome": "answered",
            "answered_by": "flow",
            "took_ms": 250.0,
            "steps": [{"stage": "flow", "detail": "hours", "ms": 1.5}],
        }
    ]


async def test_a_conversation_is_the_history_and_what_waits_for_its_turn() -> None:
    async def history(chat: ChatId) -> Sequence[ChatMessage]:
        call = ChatMessage("assistant", "", tool_calls=(ToolCall(id="1", name="hours"),))
        return (ChatMessage("system", "be kind"), ChatMessage("user", "hola"), call, ChatMessage("assistant", "¡Hola!"))

    chat, _ = await listening_chat(history=history, clock=lambda: 7.0)
    events = EventBus()
    chat.watch(events)
    for message_id in ("1", "2", "3"):
        await chat.receive("ana", message_id, f"text {message_id}")
    await chat.receive("luis", "4", "of another chat")
    events.publish(turn(inbound=("1",)))
    events.publish(DuplicateIgnored(ANA, "3"))
    conversation = await chat.conversation("ana")
    assert conversation["messages"] == [{"role": "user", "text": "hola"}, {"role": "assistant", "text": "¡Hola!"}]
    assert conversation["unanswered"] == [{"id": "2", "text": "text 2", "at": 7.0}]


async def test_nothing_waits_for_a_turn_where_no_turns_are_watched() -> None:
    chat, _ = await listening_chat()
    await chat.receive("ana", "1", "hola")
    assert (await chat.conversation("ana"))["unanswered"] == []


async def test_a_history_that_fails_is_told_from_an_empty_one(caplog: pytest.LogCaptureFixture) -> None:
    async def history(chat: ChatId) -> Sequence[ChatMessage]:
        raise StoreError("the database is down", retryable=True)

    conversation = await WebChat(history).conversation("ana")
    assert conversation["messages"] is None
    assert "web:ana" not in caplog.text
    reply = await ask(web_app(WebChat(history), {}, lambda: ()), "/chat/history?chat=ana")
    assert reply.status == 503


# The feed.


async def test_a_reader_that_comes_back_misses_nothing_and_hears_nothing_twice() -> None:
    feed = Feed("e")
    for number in range(4):
        feed.append("ana" if number % 2 else "luis", {"n": number})
    position = feed.position_of("e-2")
    assert position == 2
    reader = feed.read(frozenset({"ana", "luis"}), position, lambda: None)
    assert [json.loads(entry.data)["n"] for entry in await reader.batch(0)] == [2, 3]
    assert feed.id_of(reader.position) == "e-4"
    assert await reader.batch(0) == []


@pytest.mark.parametrize("seen_id", ["", "e", "e-", "e-3x", "other-3", "e-1", "e-7", "e--1", "e-" + "9" * 5000, "e-٣"])
def test_a_position_that_the_feed_cannot_go_on_from_is_unknown(seen_id: str) -> None:
    feed = Feed("e", max_entries=3)
    for number in range(6):
        feed.append("ana", {"n": number})
    assert feed.position_of("e-3") == 3
    assert feed.position_of(seen_id) is None


async def test_a_reader_that_the_feed_has_outrun_is_dropped_and_others_are_not() -> None:
    feed = Feed("e", max_entries=3)
    dropped: list[str] = []
    with (
        feed.read(frozenset({"ana"}), 0, lambda: dropped.append("stuck")) as stuck,
        feed.read(frozenset({"luis"}), 0, lambda: dropped.append("idle")) as idle,
    ):
        for number in range(4):
            feed.append("ana", {"n": number})
        assert dropped == ["stuck"]
        assert stuck.ended
        assert await stuck.batch(0) == []
        assert not idle.ended
        feed.append("luis", {"n": 4})
        assert len(await idle.batch(0)) == 1


def test_the_feed_is_bounded_in_bytes() -> None:
    feed = Feed("e", max_bytes=1000)
    for _ in range(100):
        feed.append("ana", {"text": "x" * 90})
    assert 5 <= feed.end - feed.start <= 9


# Routes and guard.


async def test_a_posted_message_is_accepted_once_it_is_acknowledged() -> None:
    chat, listener = await listening_chat()
    reply = await ask(guarded(chat), "/chat/messages", {"chat": "ana", "id": "m1", "text": "hola"})
    assert (reply.status, reply.json) == (202, {"status": "accepted"})
    assert listener.messages[0].text == "hola"


async def test_a_posted_message_that_nobody_acknowledges_is_to_be_sent_again() -> None:
    chat = WebChat(acknowledge_within_s=0.01)
    reply = await ask(guarded(chat), "/chat/messages", {"chat": "ana", "id": "m1", "text": "hola"})
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "日" * 100_000,
        "\x00\x07\x1b[31m",
        "\u200b\u202e",
        "a\ud800b",
        "\ude00\ud83d",
        "مرحبا",
        "👨\u200d👩\u200d👧\u200d👦",
        "'; DROP TABLE x; --",
    ],
)
async def test_any_text_passes_through_to_the_bot(text: str) -> None:
    chat, listener = await listening_chat()
    reply = await ask(guarded(chat), "/chat/messages", {"chat": "ana", "id": "m1", "text": text})
    assert reply.status == 202
    assert listener.messages[0].text == text
    await ask(guarded(chat), "/chat/history?chat=ana")


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[]",
        b"9" * 5000,
        b'{"chat": "ana", "id": "m1"}',
        b'{"chat": "ana", "id": "m1", "text": 5}',
        b'{"chat": "", "id": "m1", "text": "x"}',
        b'{"chat": "an a", "id": "m1", "text": "x"}',
        b'{"chat": "ana\\n", "id": "m1", "text": "x"}',
        b'{"chat": "ana", "id": "%s", "text": "x"}' % (b"i" * 65),
    ],
)
async def test_a_malformed_message_is_a_bad_request_that_says_what_is_wanted(raw: bytes) -> None:
    reply = await ask(guarded(), "/chat/messages", raw=raw)
    assert reply.status == 400
    assert "wanted" in reply.json["error"]


@pytest.mark.parametrize("declared", ["", "5"])
async def test_a_body_that_is_too_big_is_refused_whatever_it_declares(declared: str) -> None:
    raw = b"x" * (MAX_BODY_BYTES + 1)
    assert (await ask(guarded(), "/chat/messages", raw=raw)).status == 413
    assert (await ask(guarded(), "/chat/messages", raw=raw, headers={"content-length": declared})).status == 413


async def test_a_body_that_is_declared_too_big_is_refused_before_it_comes() -> None:
    headers = {"content-length": str(MAX_BODY_BYTES + 1)}
    assert (await ask(guarded(), "/chat/messages", raw=b"{", headers=headers)).status == 413


@pytest.mark.parametrize("query", ["", "chat=", "chat=a%20b", "chat=%ff", "&".join(f"chat=c{n}" for n in range(65))])
async def test_streams_and_histories_are_of_named_chats(query: str) -> None:
    assert (await ask(guarded(), f"/chat/events?{query}")).status == 400
    assert (await ask(guarded(), f"/chat/history?{query}")).status == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": ""}, 415),
        ({"content-type": "Application/JSON; charset=utf-8"}, 202),
        ({"origin": "http://localhost:8000"}, 202),
        ({"origin": "http://localhost:9000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 421),
        ({"host": "127.0.0.1"}, 202),
        ({"host": "LOCALHOST:1"}, 202),
        ({"host": "localhost.evil.example"}, 421),
        ({"host": "[::1"}, 421),
        ({"host": ""}, 421),
    ],
)
async def test_only_the_page_of_this_server_may_post(headers: dict[str, str], status: int) -> None:
    chat, _ = await listening_chat()
    body = {"chat": "ana", "id": "m1", "text": "hola"}
    assert (await ask(guarded(chat), "/chat/messages", body, headers=headers)).status == status


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/", "", 200),
        ("/healthz", "", 200),
        ("/readyz", "", 200),
        ("/v1/metrics", "", 401),
        ("/v1/metrics", "wrong", 401),
        ("/v1/metrics", TOKEN, 200),
        ("/v1/metrics", METRICS_TOKEN, 200),
        ("/chat/history?chat=ana", "", 401),
        ("/chat/history?chat=ana", METRICS_TOKEN, 401),
        ("/chat/history?chat=ana", TOKEN, 200),
        ("/chat/history?chat=ana", "é", 401),
        ("/chat/events?chat=ana", "", 401),
        ("/nowhere", "", 401),
        ("/nowhere", TOKEN, 404),
    ],
)
async def test_a_token_guards_everything_but_the_page_and_the_probes(path: str, token: str, status: int) -> None:
    app = guarded(token=TOKEN, metrics_token=METRICS_TOKEN)
    reply = await ask(app, path, headers={"authorization": f"Bearer {token}"} if token else {})
    assert reply.status == status
    assert ("www-authenticate" in reply.headers) == (status == 401)


async def test_the_token_counts_only_as_a_bearer_token() -> None:
    app = guarded(token=TOKEN)
    for header, status in ((f"bearer  {TOKEN}", 200), (f"Basic {TOKEN}", 401), (TOKEN, 401), ("Bearer", 401)):
        assert (await ask(app, "/v1/metrics", headers={"authorization": header})).status == status


async def test_a_metrics_token_alone_guards_only_metrics() -> None:
    app = guarded(metrics_token=METRICS_TOKEN)
    assert (await ask(app, "/v1/metrics")).status == 401
    assert (await ask(app, "/chat/history?chat=ana")).status == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere", "/chat/history?chat=ana"])
async def test_every_answer_tells_the_browser_to_be_careful(path: str) -> None:
    for app in (guarded(), guarded(token=TOKEN)):
        headers = (await ask(app, path)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_page_is_one_response_whose_parts_a_fresh_nonce_allows() -> None:
    app = guarded()
    first, second = await ask(app, "/"), await ask(app, "/")
    nonces = set(re.findall(r'nonce="([^"]*)"', first.body.decode()))
    assert len(nonces) == 1
    assert f"script-src 'nonce-{nonces.pop()}'" in first.headers["content-security-policy"]
    assert first.headers["content-security-policy"] != second.headers["content-security-policy"]
    assert not re.search(rb'(?:src|href)="https?:', first.body)
    assert b"innerHTML" not in first.body


async def test_without_a_chat_there_is_no_page() -> None:
    app = web_app(None, {}, lambda: ())
    assert (await ask(app, "/")).status == 404
    assert (await ask(app, "/healthz")).json == {"status": "ok"}


class Level(Enum):
    NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Reading:
    used_bytes: int
    level: Level = Level.NORMAL
    ratio: float = float("nan")
    peaks: tuple[float, ...] = (1.5, float("inf"))
    by_chat: Mapping[ChatId, int] = field(default_factory=lambda: {ANA: 1})
    chat: ChatId = ANA
    odd: str = "\ud800"


async def test_metrics_are_json_whatever_the_parts_give(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> object:
        raise RuntimeError("secret")

    metrics = {"memory": lambda: Reading(5), "connection": lambda: {"state": None, "up": True}, "broken": broken}
    reply = await ask(web_app(None, metrics, lambda: ()), "/v1/metrics")
    assert reply.status == 200
    assert reply.json["memory"] == {
        "used_bytes": 5,
        "level": "normal",
        "ratio": None,
        "peaks": [1.5, None],
        "by_chat": {str(ANA): 1},
        "chat": str(ANA),
        "odd": "\ud800",
    }
    assert reply.json["connection"] == {"state": None, "up": True}
    assert reply.json["broken"] == {"error": "RuntimeError"}
    assert "the metrics of broken cannot be read" in caplog.text


async def test_readiness_names_what_is_missing() -> None:
    reasons: list[str] = ["the database is down"]
    app = web_app(None, {}, lambda: reasons)
    reply = await ask(app, "/readyz")
    assert (reply.status, reply.json) == (503, {"status": "not ready", "reasons": ["the database is down"]})
    reasons.clear()
    reply = await ask(app, "/readyz")
    assert (reply.status, reply.json) == (200, {"status": "ready"})


@given(st.text(st.characters()))
def test_json_is_ascii_and_gives_back_any_text(text: str) -> None:
    assert json.loads(encode_json({"text": text}).decode("ascii")) == {"text": text}


# The server.


class Stream:
    """An open stream of events, read from a socket by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def line(self, start: bytes) -> bytes:
        """The rest of the next line that begins with *start*; raises EOFError at the end."""
        async with asyncio.timeout(DEADLINE_S):
            while line := await self._reader.readline():
                if line.startswith(start):
                    return line.removeprefix(start).strip()
        raise EOFError

    async def body(self) -> Any:
        length = int(await self.line(b"content-length: "))
        await self._reader.readuntil(b"\r\n\r\n")
        return json.loads(await self._reader.readexactly(length))

    async def end(self) -> None:
        """Read on to the orderly end of the response: its empty last chunk."""
        while await self.line(b"") != b"0":
            pass

    async def event(self) -> Any:
        return json.loads(await self.line(b"data: "))


@asynccontextmanager
async def stream(
    server: WebServer, target: str, *, body: str = "", headers: Sequence[str] = (), limit: int = 2**20
) -> AsyncIterator[Stream]:
    """The answer to a GET, or to a JSON POST of *body*."""
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=limit)
    head = [f"{'POST' if body else 'GET'} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    try:
        writer.write("\r\n".join([*head, "", body]).encode())
        yield Stream(reader, writer)
    finally:
        writer.transport.abort()


def serve(chat: WebChat | None = None, **how: Any) -> WebServer:
    return WebServer(**{"chat": chat, "metrics": {}, "ready": lambda: (), "port": 0, **how})


async def until(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_the_server_takes_a_free_port_and_says_which() -> None:
    server = serve()
    with pytest.raises(LifecycleError):
        _ = server.url
    async with server, stream(server, "/healthz") as answer:
        assert await answer.line(b"HTTP/1.1 ") == b"200 OK"
        assert await answer.body() == {"status": "ok"}
    with pytest.raises(LifecycleError):
        _ = server.url
    async with server:
        assert server.url.startswith("http://127.0.0.1:")


async def test_a_taken_port_is_said_in_one_sentence() -> None:
    async with serve() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=rf"^port {port} on 127.0.0.1 is taken .*WEB_PORT[^\n]*$"):
            await serve(port=port).__aenter__()


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ({"host": "0.0.0.0"}, "set WEB_TOKEN"),
        ({"host": ""}, "set WEB_TOKEN"),
        ({"host": "::"}, "set WEB_TOKEN"),
        ({"host": "example.com"}, "set WEB_TOKEN"),
        ({"host": "0.0.0.0", "token": "short"}, "WEB_TOKEN needs 16 characters, not 5"),
        ({"host": "0.0.0.0", "token": TOKEN, "metrics_token": "short"}, "METRICS_TOKEN needs 16"),
        ({"host": "0.0.0.0", "metrics_token": METRICS_TOKEN}, "set WEB_TOKEN"),
        ({"token": "contraseña-muy-larga"}, "WEB_TOKEN must be printable ASCII"),
        ({"port": 70_000}, "WEB_PORT is 70000"),
    ],
)
def test_what_would_be_unsafe_or_impossible_is_refused_before_it_listens(how: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=wanted):
        serve(**how)


async def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(ConfigurationError, match="WEB_HOST"):
        await serve(host="192.0.2.1", token=TOKEN).__aenter__()


async def test_an_exposed_server_answers_to_any_host_name_with_the_token() -> None:
    async with serve(host="0.0.0.0", token=TOKEN) as server:
        assert server.url.startswith("http://127.0.0.1:")
        async with stream(server, "/nowhere", headers=["Authorization: Bearer " + TOKEN]) as answer:
            assert await answer.line(b"HTTP/1.1 ") == b"404 Not Found"


async def test_a_stream_begins_with_the_conversation_and_goes_on_with_what_happens() -> None:
    async def history(chat: ChatId) -> Sequence[ChatMessage]:
        return (ChatMessage("user", f"hola de {chat.reveal()}"),)

    chat, _ = await listening_chat(history=history)
    async with serve(chat) as server:
        async with stream(server, "/chat/events?chat=ana&chat=luis") as first:
            assert await first.line(b"HTTP/1.1 ") == b"200 OK"
            assert (await first.event())["messages"] == [{"role": "user", "text": "hola de web:ana"}]
            assert (await first.event())["messages"] == [{"role": "user", "text": "hola de web:luis"}]
            seen = (await first.line(b"id: ")).decode()
            await chat.send(OutboundMessage(chat=ANA, key="k1", text="uno"))
            assert (await first.event())["id"] == "k1"
        await chat.send(OutboundMessage(chat=ANA, key="k2", text="dos"))
        async with stream(server, f"/chat/events?chat=ana&since={seen}") as second:
            assert [(await second.event())["id"] for _ in range(2)] == ["k1", "k2"]


async def fill_up(chat: WebChat, stuck: Stream) -> None:
    """Write to *stuck*, which does not read, until the server can write no more."""
    await stuck.line(b"HTTP/1.1 ")
    await until(lambda: bool(chat._feed._readers))
    (reader,) = chat._feed._readers
    for number in range(1000):
        await chat.send(OutboundMessage(chat=ANA, key=f"fill{number}", text="x" * 2**16))
        try:
            await until(lambda: reader.position == chat._feed.end, deadline_s=0.1)
        except TimeoutError:
            return
    raise AssertionError("the client never got stuck")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_that_does_not_read_is_cut_off_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    chat, _ = await listening_chat()
    async with serve(chat) as server, stream(server, "/chat/events?chat=ana", limit=2**10) as stuck:
        await fill_up(chat, stuck)
        async with stream(server, "/chat/events?chat=luis") as other:
            await other.event()
            while len(chat._feed._readers) == 2:
                await chat.send(OutboundMessage(chat=ANA, key="more", text="x" * 2**18))
            await until(lambda: len(server._server.server_state.connections) == 1)
            await chat.send(OutboundMessage(chat=ChatId("web:luis"), key="k", text="hola"))
            assert (await other.event())["id"] == "k"
    assert warnings_of(caplog) == []


async def test_a_client_that_goes_away_is_forgotten() -> None:
    chat, _ = await listening_chat()
    async with serve(chat) as server:
        async with stream(server, "/chat/events?chat=ana") as gone:
            await gone.event()
        await until(lambda: not chat._feed._readers)


async def test_stopping_is_quick_and_orderly_with_open_streams_and_waiting_posts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chat = WebChat(acknowledge_within_s=60)
    await chat.open(Listener())
    body = '{"chat":"ana","id":"m1","text":"hola"}'
    async with (
        serve(chat) as server,
        stream(server, "/chat/events?chat=ana") as events,
        stream(server, "/chat/messages", body=body) as waiting,
    ):
        await events.event()
        await until(lambda: "m1" in chat._settled)
        clock = asyncio.get_running_loop().time
        began = clock()
        await server.aclose()
        assert clock() - began < 1.0
        await events.end()
        assert await waiting.line(b"HTTP/1.1 ") == b"503 Service Unavailable"
    assert warnings_of(caplog) == []


async def test_stopping_cuts_off_a_client_that_does_not_read(caplog: pytest.LogCaptureFixture) -> None:
    chat, _ = await listening_chat()
    async with serve(chat) as server, stream(server, "/chat/events?chat=ana", limit=2**10) as stuck:
        await fill_up(chat, stuck)
        await server.aclose()
        assert not server._server.server_state.connections
    assert warnings_of(caplog) == []


async def test_answers_do_not_wait_for_the_acknowledgement_of_their_head() -> None:
    async with serve() as server, stream(server, "/healthz") as answer:
        await answer.body()
        (connection,) = server._server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_the_server_leaves_signals_alone() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    async with serve() as server, stream(server, "/healthz") as answer:
        await answer.body()
        assert [signal.getsignal(number) for number in numbers] == before


async def test_stopping_at_once_after_starting_is_clean() -> None:
    async with serve(WebChat()):
        pass


# Packages.


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_transport_needs_no_web_package() -> None:
    loaded = run_python("import sys; from tecnobot_core.adapters.web import WebChat; print([*sys.modules])")
    assert "'tecnobot_core.adapters.web.chat'" in loaded
    assert not re.search("'(starlette|uvicorn|anyio)'", loaded)


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_package_says_how_to_get_it(package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
try:
    from tecnobot_core.adapters.web import WebServer
except ImportError as error:
    print(type(error).__name__, error)
"""
    said = run_python(code)
    assert said == (
        f"MissingDependencyError {package} is not installed. Install it with: pip install 'tecnobot-core[web]'"
    )


def speaking_first(send: Any, token: str = TOKEN) -> Guard:
    return Guard(web_app(None, {}, lambda: (), send), token=token, hosts=None)


BEARER = {"authorization": f"Bearer {TOKEN}"}
REMINDER = {"chat": "5215550000000", "key": "order-7", "text": "Tu pedido llegó."}


async def test_an_application_speaks_first_and_repeats_without_harm() -> None:
    said: list[tuple[str, str, str]] = []

    async def send(chat: ChatId, text: str, key: str) -> bool:
        known = any(key == other for _, _, other in said)
        said.append((chat.reveal(), text, key))
        return not known

    app = speaking_first(send)
    first, again = [await ask(app, "/v1/messages", REMINDER, headers=BEARER) for _ in range(2)]
    assert (first.status, first.json) == (202, {"status": "accepted"})
    assert (again.status, again.json) == (202, {"status": "known"})
    assert said[0] == ("5215550000000", "Tu pedido llegó.", "order-7")


async def test_speaking_first_needs_the_token_and_whole_fields() -> None:
    async def never(chat: ChatId, text: str, key: str) -> bool:
        raise AssertionError("nothing should be sent")

    app = speaking_first(never)
    assert (await ask(app, "/v1/messages", REMINDER)).status == 401
    wrongs: list[object] = [{**REMINDER, "text": " "}, {**REMINDER, "key": 7}, {"chat": "x"}, [], "text"]
    for wrong in wrongs:
        assert (await ask(app, "/v1/messages", wrong, headers=BEARER)).status == 400


async def test_what_the_outbox_cannot_take_is_to_be_sent_again() -> None:
    async def fails(chat: ChatId, text: str, key: str) -> bool:
        raise StoreError("away", retryable=True)

    refused = await ask(speaking_first(fails), "/v1/messages", REMINDER, headers=BEARER)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")


async def test_without_a_token_nobody_can_speak_first() -> None:
    async def send(chat: ChatId, text: str, key: str) -> bool:
        return True

    async with WebServer(chat=None, metrics={}, ready=lambda: (), port=0, send=send) as server:
        assert (await ask(server._app, "/v1/messages", REMINDER)).status == 404
