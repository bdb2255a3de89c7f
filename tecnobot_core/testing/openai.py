"""An OpenAI-compatible server without a model, with misbehaviour on demand."""

import asyncio
import contextlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How one request is answered: after ``delay_s`` with ``text``, unless something is set that goes wrong.

    ``raw`` is the body as it is, ``error`` one of ``{"error": …}``, and ``choice`` replaces fields of the answer's
    choice. ``drop`` closes the connection before the first byte, ``cut`` in the middle of the body. ``usage`` holds
    prompt and completion tokens. A request with ``stream`` is answered by events, a word each.
    """

    text: str = "hola"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    raw: bytes | None = None
    error: Mapping[str, object] | None = None
    choice: Mapping[str, object] = field(default_factory=dict)
    usage: tuple[int, int] = (10, 5)
    cut: bool = False
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body, where it is JSON."""
        return json.loads(self.body)


class FakeOpenAI:
    """A server on loopback that answers each request as the next of *steps* says, and with "hola" after the last.

    Serves chat completions and transcriptions below ``url``, while open by ``async with``. ``requests`` holds what
    came, ``abandoned`` counts clients that left before their answer.
    """

    url: str

    def __init__(self, *steps: Step) -> None:
        self.requests: list[Request] = []
        self.abandoned = 0
        self._steps = deque(steps)
        self._connections: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        self._closing = False

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when *condition*, about ``requests`` or ``abandoned``, holds."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        self._server.close()
        # Not cancelled: Python 3.11 prints a traceback for each connection whose handler is.
        for writer in self._connections:
            writer.transport.abort()
        await self.wait_until(lambda: not self._connections)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        if self._closing:
            writer.transport.abort()
        # The client leaves when it likes: between two requests that is the end, before its answer it is counted.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(await _read_request(reader), reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self._connections.discard(writer)
        self._changed.set()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer as the next step says; whether the connection stays open."""
        step = self._steps.popleft() if self._steps else Step()
        self.requests.append(request)
        self._changed.set()
        if step.delay_s and await _leaves_within(step.delay_s, reader):
            self.abandoned += not self._closing
            return False
        if step.drop:
            return False
        kind, body = _body(step, request)
        headers = {"content-type": kind, "content-length": str(len(body)), **step.headers}
        writer.write(_head(step.status, headers) + (body[: len(body) // 2] if step.cut else body))
        await writer.drain()
        return not step.cut


async def _read_request(reader: asyncio.StreamReader) -> Request:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(first.split(" ")[1], headers, body)


async def _leaves_within(seconds: float, reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return False
    return True


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}", *map(": ".join, headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _body(step: Step, request: Request) -> tuple[str, bytes]:
    """The media type and the bytes of the answer."""
    if step.raw is not None:
        return "application/json", step.raw
    if step.error is not None:
        return "application/json", _json({"error": step.error})
    if request.path.endswith("/audio/transcriptions"):
        return "application/json", _json({"text": step.text})
    if request.json.get("stream"):
        return "text/event-stream", b"".join(b"data: %b\n\n" % event for event in _events(step, request))
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": step.text},
        **step.choice,
    }
    return "application/json", _json(_completion("chat.completion", [choice], request) | {"usage": _usage(step)})


def _events(step: Step, request: Request) -> Iterator[bytes]:
    for word in re.findall(r"\S+\s*|\s+", step.text):
        yield _chunk([{"index": 0, "delta": {"content": word}, "finish_reason": None}], request)
    yield _chunk([{"index": 0, "delta": {}, "finish_reason": "stop", **step.choice}], request)
    if (request.json.get("stream_options") or {}).get("include_usage"):
        yield _chunk([], request, usage=_usage(step))
    yield b"[DONE]"


def _chunk(choices: list[dict[str, object]], request: Request, **more: object) -> bytes:
    return _json(_completion("chat.completion.chunk", choices, request) | more)


def _completion(kind: str, choices: list[dict[str, object]], request: Request) -> dict[str, object]:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": request.json.get("model"), "choices": choices}


def _usage(step: Step) -> dict[str, int]:
    prompt, completion = step.usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
