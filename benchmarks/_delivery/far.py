"""A database that is far away: a proxy that holds everything back for a while, and counts round trips."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tecnobot_core.tasks import Tasks


class FarDatabase:
    """Leads to the server of *dsn*, which listens on a Unix socket, with *rtt_s* for each round trip.

    A round trip begins when the client speaks for the first time since it heard something; what it says without
    waiting for an answer belongs to the same one.
    """

    def __init__(self, dsn: str, rtt_s: float) -> None:
        place = {name: values[0] for name, values in parse_qs(urlsplit(dsn).query).items()}
        self._socket = f"{place['host']}/.s.PGSQL.{place['port']}"
        self._name = urlsplit(dsn).path
        self._delay_s = rtt_s / 2
        self._tasks = Tasks("far_database")
        self.round_trips = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.dsn = f"postgresql://postgres@127.0.0.1:{port}{self._name}?sslmode=disable"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        await self._tasks.wait()

    def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._tasks.start(self._connect(client, to_client), "connection")

    async def _connect(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._socket)
        heard = True

        def speaks() -> None:
            nonlocal heard
            self.round_trips += heard
            heard = False

        def hears() -> None:
            nonlocal heard
            heard = True

        await asyncio.gather(
            self._carry(client, to_server, on_read=speaks),
            self._carry(server, to_client, on_write=hears),
        )

    async def _carry(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        *,
        on_read: Callable[[], object] = bool,
        on_write: Callable[[], object] = bool,
    ) -> None:
        def write(data: bytes) -> None:
            on_write()
            target.write(data)

        loop = asyncio.get_running_loop()
        while data := await source.read(65536):
            on_read()
            loop.call_later(self._delay_s, write, data)
        await asyncio.sleep(self._delay_s)
        target.close()
