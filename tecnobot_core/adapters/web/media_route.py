"""The route that takes files: streamed, never whole in memory."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Self

from ...errors import MissingDependencyError
from .chat import WebChat
from .guard import answer, refuse
from .uploads import MAX_BYTES, UploadError, UploadKind, too_big

try:
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
except ModuleNotFoundError as error:
    raise MissingDependencyError("starlette", extra="web") from error

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of chats and messages, as pages make them
_MAX_FILE_NAME = 120
_WANTED = "wanted: ?chat=name&id=name&kind=voice or image, names of 1 to 64 of A-Z a-z 0-9 _ -"


class MediaRoute:
    """Takes a recording or an image as the raw body; one whose body rests for *idle_s* is given up."""

    def __init__(self, chat: WebChat, *, idle_s: float = 30.0) -> None:
        self._chat = chat
        self._idle_s = idle_s

    async def post(self, request: Request) -> Response:
        """202 once the bot has it; 503: send it again with the same id; all else says what is wrong with it."""
        query = request.query_params
        chat, message_id, kind = query.get("chat", ""), query.get("id", ""), _kind(query.get("kind", ""))
        if kind is None or not (NAME.fullmatch(chat) and NAME.fullmatch(message_id)):
            return refuse(400, _WANTED, Connection="close")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > MAX_BYTES[kind]:
            return refuse(413, too_big(kind), Connection="close")
        body = _Body(request.stream(), MAX_BYTES[kind], self._idle_s)
        try:
            return await self._take(chat, message_id, kind, body, _file_name(query.get("name", "")))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    async def _take(self, chat: str, message_id: str, kind: UploadKind, body: "_Body", file_name: str) -> Response:
        try:
            accepted = await self._chat.receive_media(chat, message_id, kind, body, file_name=file_name)
        except UploadError as error:
            response = refuse(error.status, str(error))
        else:
            again = refuse(503, "not accepted yet; send it again with the same id", Retry_After="1")
            response = answer({"status": "accepted"}, 202) if accepted else again
        if not await body.drain():
            response.headers["connection"] = "close"
        return response


class _Body:
    """The chunks of a body. What is left of it can be drained: a browser that still sends does not hear an answer."""

    def __init__(self, chunks: AsyncIterator[bytes], max_bytes: int, idle_s: float) -> None:
        self._chunks = chunks
        self._left_bytes = max_bytes
        self._idle_s = idle_s

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle_s):
                chunk = await anext(self._chunks)
        except TimeoutError:
            self._left_bytes = 0
            raise UploadError(408, f"nothing came for {self._idle_s:g} s; send it again") from None
        self._left_bytes -= len(chunk)
        return chunk

    async def drain(self) -> bool:
        """Read on to the end; False when that is further than the limit."""
        try:
            while self._left_bytes > 0:
                await anext(self)
        except StopAsyncIteration:
            return True
        except UploadError:
            return False
        return False


def _kind(text: str) -> UploadKind | None:
    return next((kind for kind in MAX_BYTES if kind == text), None)


def _file_name(text: str) -> str:
    """*text* as a name to be shown: the last part of a path, printable, not too long."""
    last = re.split(r"[/\\]", text)[-1]
    return "".join(character for character in last if character.isprintable()).strip()[:_MAX_FILE_NAME]
