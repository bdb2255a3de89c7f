"""The routes: the chat page with its messages and events, metrics, health, and others that are given."""

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from ...errors import MissingDependencyError, TecnobotError
from ...messages import ChatId
from .chat import WebChat
from .feed import FeedReader
from .guard import MEDIA_PATH, METRICS_PATH, answer, refuse
from .json_values import encode_json, json_value
from .media_route import NAME, MediaRoute
from .memory_history import MemoryHistory
from .page import ChatPage

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response, StreamingResponse
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
except ModuleNotFoundError as error:
    raise MissingDependencyError("starlette", extra="web") from error

logger = logging.getLogger(__name__)

# 100,000 characters of any kind fit: at most 4 bytes each in UTF-8, 6 as a JSON escape.
MAX_BODY_BYTES = 1024 * 1024
_MAX_CHATS = 64
_KEEP_ALIVE_S = 15.0


# chat, text, key; False when the key was sent before.
SendFirst = Callable[[ChatId, str, str], Awaitable[bool]]


def web_app(
    chat: WebChat | None,
    metrics: Mapping[str, Callable[[], object]],
    ready: Callable[[], Sequence[str]],
    send: SendFirst | None = None,
    memory: MemoryHistory | None = None,
    others: Sequence[Route] = (),
) -> Starlette:
    """All routes as an ASGI application, unguarded; without *chat* there is no page, without *send* none to send.

    The page shows *memory*, where it is given.
    """
    status = _StatusRoutes(metrics, ready)
    routes = [
        Route("/healthz", status.health),
        Route("/readyz", status.readiness),
        Route(METRICS_PATH, status.metrics),
        *others,
    ]
    if send is not None:
        routes.append(Route("/v1/messages", _SendRoute(send).post, methods=["POST"]))
    if chat is not None:
        pages = _ChatRoutes(chat, memory)
        routes += [
            Route("/", pages.page),
            Route("/chat/messages", pages.receive, methods=["POST"]),
            Route("/chat/events", pages.events),
            Route("/chat/history", pages.history),
            Route("/chat/memory", pages.memory),
        ]
        if chat.uploads is not None:
            routes.append(Route(MEDIA_PATH, MediaRoute(chat).post, methods=["POST"]))
    return Starlette(routes=routes)


class _StatusRoutes:
    def __init__(self, metrics: Mapping[str, Callable[[], object]], ready: Callable[[], Sequence[str]]) -> None:
        self._metrics = metrics
        self._ready = ready

    async def health(self, request: Request) -> Response:
        return answer({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        reasons = list(self._ready())
        return answer({"status": "not ready", "reasons": reasons}, 503) if reasons else answer({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        return answer({name: _reading(name, read) for name, read in self._metrics.items()})


class _SendRoute:
    def __init__(self, send: SendFirst) -> None:
        self._send = send

    async def post(self, request: Request) -> Response:
        if (body := await _body(request)) is None:
            return refuse(413, f"a message may have {MAX_BODY_BYTES} bytes", Connection="close")
        fields = _texts(body, ("chat", "key", "text"))
        if fields is None or not all(field.strip() for field in fields):
            return refuse(
                400, 'wanted: {"chat": address, "key": name of the message, "text": text}, none of them empty'
            )
        chat, key, text = fields
        try:
            new = await self._send(ChatId(chat), text, key)
        except TecnobotError as error:
            logger.warning("a message of the application was not taken: %s", error)
            return refuse(503, "not taken; send it again with the same key", Retry_After="1")
        return answer({"status": "accepted" if new else "known"}, 202)


class _ChatRoutes:
    def __init__(self, chat: WebChat, memory: MemoryHistory | None) -> None:
        self._chat = chat
        self._memory = memory
        self._page = ChatPage(takes_files=chat.uploads is not None)

    async def page(self, request: Request) -> Response:
        html, headers = self._page.render()
        return HTMLResponse(html, headers=headers)

    async def receive(self, request: Request) -> Response:
        if (body := await _body(request)) is None:
            return refuse(413, f"a message may have {MAX_BODY_BYTES} bytes", Connection="close")
        if (fields := _message_fields(body)) is None:
            return refuse(400, 'wanted: {"chat": name, "id": name, "text": text}, names of 1 to 64 of A-Z a-z 0-9 _ -')
        if await self._chat.receive(*fields):
            return answer({"status": "accepted"}, 202)
        return refuse(503, "not accepted yet; send it again with the same id", Retry_After="1")

    async def events(self, request: Request) -> Response:
        if (chats := _chats(request)) is None:
            return refuse(400, f"wanted: ?chat=name, 1 to {_MAX_CHATS} times")
        drop = request.scope.get("state", {}).get("abort", lambda: None)
        reader, resumed = self._chat.resume(chats, request.query_params.get("since", ""), drop)
        return _EventStream(reader, _frames(self._chat, () if resumed else chats, reader))

    async def history(self, request: Request) -> Response:
        chats = _chats(request)
        if chats is None or len(chats) != 1:
            return refuse(400, "wanted: ?chat=name")
        conversation = await self._chat.conversation(chats[0])
        return answer(conversation, 503 if conversation["messages"] is None else 200)

    async def memory(self, request: Request) -> Response:
        return answer({"memory": json_value(None if self._memory is None else self._memory.value())})


class _EventStream(StreamingResponse):
    """Server-sent events from a reader, which counts as there as long as the response lasts."""

    def __init__(self, reader: FeedReader, frames: AsyncGenerator[bytes, None]) -> None:
        super().__init__(frames, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._reader = reader
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._reader:
            async with aclosing(self._frames):
                await super().__call__(scope, receive, send)


async def _frames(chat: WebChat, fresh: Sequence[str], reader: FeedReader) -> AsyncGenerator[bytes, None]:
    """The conversations of *fresh*, then what happens; a frame without data keeps the line and the id alive."""
    for name in fresh:
        yield _frame(encode_json(await chat.conversation(name)))
    yield _frame(b"", chat.event_id(reader.position))
    while not reader.ended:
        entries = await reader.batch(_KEEP_ALIVE_S)
        for entry in entries:
            yield _frame(entry.data, chat.event_id(entry.position))
        if not entries:
            yield _frame(b"", chat.event_id(reader.position))


def _frame(data: bytes, event_id: str = "") -> bytes:
    lines = [b"id: " + event_id.encode()] if event_id else []
    if data:
        lines.append(b"data: " + data)
    return b"\n".join(lines) + b"\n\n"


def _reading(name: str, read: Callable[[], object]) -> object:
    try:
        return json_value(read())
    except Exception as error:  # one part that cannot tell must not hide the others
        logger.exception("the metrics of %s cannot be read", name)
        return {"error": type(error).__name__}


async def _body(request: Request) -> bytes | None:
    """The body, or None as soon as it is known to be too big."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _texts(body: bytes, names: Sequence[str]) -> list[str] | None:
    """The fields *names* of a JSON object, which must all be texts."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    texts = [text for name in names if isinstance(text := fields.get(name), str)]
    return texts if len(texts) == len(names) else None


def _message_fields(body: bytes) -> tuple[str, str, str] | None:
    if (texts := _texts(body, ("chat", "id", "text"))) is None:
        return None
    chat, message_id, text = texts
    if not (NAME.fullmatch(chat) and NAME.fullmatch(message_id)):
        return None
    return chat, message_id, text


def _chats(request: Request) -> list[str] | None:
    chats = list(dict.fromkeys(request.query_params.getlist("chat")))
    if not 1 <= len(chats) <= _MAX_CHATS or not all(map(NAME.fullmatch, chats)):
        return None
    return chats
