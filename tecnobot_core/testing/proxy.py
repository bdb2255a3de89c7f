"""A TCP proxy that misbehaves on demand, to put between a bot and a real server."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from ..tasks import Tasks

_HOST = "127.0.0.1"
_CHUNK_BYTES = 65536
_CHUNKS_ON_THE_WAY = 256  # in each direction of a connection, so that a slow reader holds the writer back


@dataclass(eq=False, slots=True)
class _Link:
    """A client's connection and, once it is made, the one to the server on its behalf."""

    ends: list[asyncio.StreamWriter]
    task: asyncio.Task[None] | None = field(default=None)

    def abort(self) -> None:
        for end in self.ends:
            end.transport.abort()

    def cut(self) -> None:
        self.abort()
        if self.task is not None:
            self.task.cancel()


# What travels in one direction: when each chunk is due, and the chunk; an empty one is the end.
_Way: TypeAlias = "asyncio.Queue[tuple[float, bytes]]"


class FaultyProxy:
    """Forwards what comes to ``port`` of loopback to *target*, a host and port or the path of a Unix socket.

    Open it by ``async with``; the faults may be changed at any time:

    * ``delay_s``: how long every byte travels in each direction; the rate stays as it is.
    * ``stalled``: nothing travels, and nobody is told.
    * ``lose_answers``: what a server says from now on never arrives; its connection is cut instead.
    * ``cut()``: all connections end at once. ``await refuse()``: new ones are refused, until ``await listen()``.

    ``accepted`` counts connections since the start, ``connections`` those that stand.
    """

    def __init__(
        self,
        target: tuple[str, int] | Path,
        *,
        delay_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.delay_s = delay_s
        self.lose_answers = False
        self.accepted = 0
        self.port = 0
        self._target = target
        self._clock = clock
        self._sleep = sleep
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[_Link] = set()
        self._tasks = Tasks("proxy")
        self._server: asyncio.Server | None = None

    @property
    def host(self) -> str:
        """Where it listens: always loopback."""
        return _HOST

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._links)

    @property
    def stalled(self) -> bool:
        """Whether nothing travels."""
        return not self._flowing.is_set()

    @stalled.setter
    def stalled(self, stalled: bool) -> None:
        if stalled:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.refuse()
        self.cut()
        await self._tasks.aclose()

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, _HOST, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse new connections; those that stand go on."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await asyncio.sleep(0)  # the loop closes the socket in its next pass

    def cut(self) -> int:
        """End all connections without a word; returns how many there were."""
        links, self._links = self._links, set()
        for link in links:
            link.cut()
        return len(links)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link([writer])
        self._links.add(link)
        link.task = self._tasks.start(self._serve(link, reader), "connection")

    async def _serve(self, link: _Link, client: asyncio.StreamReader) -> None:
        try:
            server, writer = await self._connect()
            link.ends.append(writer)
            async with Tasks("proxy_connection") as ways:
                for reader, to, answers in ((client, writer, False), (server, link.ends[0], True)):
                    way: _Way = asyncio.Queue(_CHUNKS_ON_THE_WAY)
                    ways.start(self._receive(link, reader, way), "receive")
                    ways.start(self._deliver(link, way, to, answers), "deliver")
                await ways.wait()
        except OSError:
            pass  # the target cannot be reached, which for the client is a connection that ends
        finally:
            link.abort()
            self._links.discard(link)

    async def _receive(self, link: _Link, reader: asyncio.StreamReader, way: _Way) -> None:
        data = b"?"
        while data:
            try:
                data = await reader.read(_CHUNK_BYTES)
            except OSError:
                return link.cut()
            await way.put((self._clock() + self.delay_s, data))

    async def _deliver(self, link: _Link, way: _Way, writer: asyncio.StreamWriter, answers: bool) -> None:
        while True:
            due_at, data = await way.get()
            if (wait_s := due_at - self._clock()) > 0:
                await self._sleep(wait_s)
            await self._flowing.wait()
            if not data:
                return writer.write_eof()
            if answers and self.lose_answers:
                return link.cut()
            writer.write(data)
            try:
                await writer.drain()
            except OSError:
                return link.cut()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)
