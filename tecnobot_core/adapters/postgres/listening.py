"""Notifications, heard over one connection of the pool for all who wait."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg

from ...errors import LifecycleError, StoreError
from ...tasks import Tasks, wait_or_sleep
from .database import Connection, Database
from .retries import FIRST_DELAY_S, MAX_DELAY_S, equal_jitter
from .translation import FOREIGN

logger = logging.getLogger(__package__)

_UNLISTEN_TIMEOUT_S = 2.0
_MAX_DOUBLINGS = 10


class ChangeListener:
    """Hears the notifications "17 shop" on *channel*, and wakes who waits for "shop"; "17 " wakes everybody.

    While somebody waits it holds one connection of the pool, unless that has only one, or a pooler that lends backends
    stands before the database: then nobody is woken. A connection that is lost is made again, and what it may have
    missed wakes everybody. Every *check_s* it is asked whether it lives, because a dead peer never says so.
    """

    def __init__(
        self,
        database: Database,
        channel: str,
        *,
        check_s: float = 30.0,
        jitter: Callable[[float], float] = equal_jitter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._channel = channel
        self._check_s = check_s
        self._jitter = jitter
        self._sleep = sleep
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._tasks: Tasks | None = None
        self._failures = 0

    @asynccontextmanager
    async def changes(self, key: str) -> AsyncIterator[asyncio.Event]:
        """Inside, the event is set by each notification for *key*, and whenever one may have been missed."""
        changed = asyncio.Event()
        if self._tasks is None and self._database.can_listen:
            self._tasks = Tasks("changes")
            self._database.count_held(1)
            self._tasks.start(self._run(), "listen")
        self._waiting[key].add(changed)
        try:
            yield changed
        finally:
            self._waiting[key].discard(changed)
            if not self._waiting[key]:
                del self._waiting[key]
            if not self._waiting and self._tasks is not None:
                tasks, self._tasks = self._tasks, None
                self._database.count_held(-1)
                await tasks.aclose()

    async def _run(self) -> None:
        """Listen, and again when that ends, until cancelled or the database is closed."""
        while True:
            try:
                async with self._database.acquire(idempotent=True) as connection:
                    await self._listen(connection)
            except LifecycleError:
                return
            except StoreError as error:
                if not self._failures:
                    logger.warning("changes are not heard for now, only seen by polling: %s", error)
            await self._sleep(self._jitter(min(MAX_DELAY_S, FIRST_DELAY_S * 2**self._failures)))
            self._failures = min(self._failures + 1, _MAX_DOUBLINGS)

    async def _listen(self, connection: Connection) -> None:
        """Pass on what *connection* hears, until it is lost or does not answer."""
        lost = asyncio.Event()

        def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            self._wake(str(payload).partition(" ")[2])

        def lose(_connection: object) -> None:
            lost.set()

        connection.add_termination_listener(lose)
        try:
            await connection.add_listener(self._channel, hear)
            if self._failures:
                logger.info("changes are heard again")
            self._failures = 0
            self._wake("")
            while not await wait_or_sleep(lost, self._check_s, sleep=self._sleep):
                await connection.execute("SELECT")
        finally:
            await let_go(connection, lose, self._channel, hear)

    def _wake(self, key: str) -> None:
        for events in [self._waiting[key]] if key in self._waiting else [] if key else self._waiting.values():
            for event in events:
                event.set()


async def let_go(
    connection: Connection, lose: Callable[[object], None], channel: str, hear: Callable[..., None]
) -> None:
    """Take back what was asked of *connection*; one that is not as it was is not given to others."""
    try:
        async with asyncio.timeout(_UNLISTEN_TIMEOUT_S):
            connection.remove_termination_listener(lose)
            await connection.remove_listener(channel, hear)
            if not connection.is_closed():
                return
    except FOREIGN:
        pass
    with suppress(asyncpg.InterfaceError):  # the pool knows already
        connection.terminate()
