"""One connection of the pool that is kept: it answers at once while it is free, and hears notifications."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement
from asyncpg.protocol import NO_TIMEOUT

from ....errors import LifecycleError, StoreError
from ....tasks import Tasks, TimeLimit, wait_or_sleep
from ..database import Connection, Database
from ..listening import let_go
from ..retries import FIRST_DELAY_S, MAX_DELAY_S, equal_jitter
from ..translation import FOREIGN, translate

logger = logging.getLogger(__package__)

_REPAIR_TIMEOUT_S = 2.0
_MAX_DOUBLINGS = 10


class HeldConnection:
    """Asks *database* over a connection of its own while that is free, and over the pool while it is not.

    What is heard on *channel* is told to *heard*; *connected* is called whenever something may have been missed. Where
    the database cannot listen none is held; ``listening`` tells whether one is at the moment. Nothing is tried again:
    each statement has *timeout_s*, and failures are StoreErrors. A database that is down when this opens is waited for
    in the background.
    """

    def __init__(
        self,
        database: Database,
        channel: str,
        *,
        heard: Callable[[str], None],
        connected: Callable[[], None],
        timeout_s: float = 5.0,
        check_s: float = 30.0,
        open_wait_s: float = 1.0,
        jitter: Callable[[float], float] = equal_jitter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.listening = False
        self._database = database
        self._channel = channel
        self._heard = heard
        self._connected = connected
        self._timeout_s = timeout_s
        self._check_s = check_s
        self._open_wait_s = open_wait_s
        self._jitter = jitter
        self._sleep = sleep
        self._free: Connection | None = None
        self._statements: dict[str, PreparedStatement[asyncpg.Record]] = {}  # of that connection
        self._is_unsure = False
        self._failures = 0
        self._tasks: Tasks | None = None
        self._holds = False
        self._begin()

    async def __aenter__(self) -> Self:
        """Hold a connection as soon as there is one."""
        if self._tasks is not None:
            raise LifecycleError("this is open already; open it once and share it")
        may_hold = self._database.can_listen
        self._begin()
        self._tasks = Tasks("cache_connection")
        if may_hold:
            self._database.count_held(1)
            self._holds = True
            self._tasks.start(self._run(), "hold")
            await wait_or_sleep(self._tried, self._open_wait_s, sleep=self._sleep)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        if self._holds:
            self._holds = False
            self._database.count_held(-1)
        if tasks is not None:
            await tasks.aclose()

    def _begin(self) -> None:
        """Have what belongs to one event loop made anew: the database may have been opened again in another one."""
        # asyncpg's own limit of each statement is a timer that is armed and disarmed for it.
        self._limit = TimeLimit(self._timeout_s)
        self._look = asyncio.Event()
        self._tried = asyncio.Event()

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """All rows of *query*, which changes nothing when it is done a second time."""
        connection, self._free = self._free, None
        if connection is None:
            return await self._borrow(query, args)
        try:
            statement = self._statements.get(query) or await self._prepare(connection, query)
            with self._limit():
                return await statement.fetch(*args, timeout=NO_TIMEOUT)  # type: ignore[arg-type]
        except BaseException as error:
            self._statements.pop(query, None)  # perhaps made for a table that was changed
            if not _is_answer(error) or connection.is_closed():
                self._is_unsure, connection = True, None
                self._look.set()
            if isinstance(error, FOREIGN):
                raise translate(error, idempotent=True) from error
            raise
        finally:
            if connection is not None:
                self._free = connection

    async def _prepare(self, connection: Connection, query: str) -> "PreparedStatement[asyncpg.Record]":
        statement = self._statements[query] = await connection.prepare(query, timeout=self._timeout_s)
        return statement

    async def _borrow(self, query: str, args: tuple[object, ...]) -> list[asyncpg.Record]:
        async with self._database.acquire(idempotent=True) as connection:
            try:
                return await connection.fetch(query, *args, timeout=self._timeout_s)
            except BaseException as error:
                if not _is_answer(error):
                    connection.terminate()  # whoever asks a cache does not wait until it is repaired
                raise

    async def _run(self) -> None:
        """Hold a connection, and another one when it is lost, until cancelled or the database is closed."""
        while True:
            try:
                async with self._database.acquire(idempotent=True) as connection:
                    await self._hold(connection)
            except LifecycleError:
                return
            except StoreError as error:
                if not self._failures:
                    logger.warning("the cache has no connection of its own for now: %s", error)
            finally:
                self._tried.set()
            await self._sleep(self._jitter(min(MAX_DELAY_S, FIRST_DELAY_S * 2**self._failures)))
            self._failures = min(self._failures + 1, _MAX_DOUBLINGS)

    async def _hold(self, connection: Connection) -> None:
        """Lend and hear *connection* until it is lost or does not answer."""

        def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            self._heard(str(payload))

        def lose(_connection: object) -> None:
            self._look.set()

        self._look.clear()
        connection.add_termination_listener(lose)
        try:
            await connection.add_listener(self._channel, hear)
            self.listening = True
            self._failures = 0
            self._is_unsure, self._free = False, connection
            self._connected()
            self._tried.set()
            await self._keep(connection)
        finally:
            self.listening, self._free = False, None
            self._statements.clear()
            await let_go(connection, lose, self._channel, hear)

    async def _keep(self, connection: Connection) -> None:
        while True:
            await wait_or_sleep(self._look, self._check_s, sleep=self._sleep)
            self._look.clear()
            if connection.is_closed():
                return
            if self._is_unsure or self._free is not None:
                # A dead peer never says so; and what was cut off in the middle comes to its end by another statement.
                self._free = None
                await connection.execute("SELECT", timeout=_REPAIR_TIMEOUT_S)
                self._is_unsure, self._free = False, connection


def _is_answer(error: Any) -> bool:
    """Whether the server itself refused, which ends the statement and leaves the connection as good as it was."""
    return isinstance(error, asyncpg.PostgresError) and error.severity is not None
