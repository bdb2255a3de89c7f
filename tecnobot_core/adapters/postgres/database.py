"""One pool of connections to PostgreSQL: opened patiently, never waited for without a limit."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay, stop_never, wait_exponential

from ...errors import LifecycleError, MissingDependencyError, StoreError
from ...events import DatabaseAcquireSlow, EventBus

try:
    import asyncpg
except ModuleNotFoundError as error:
    raise MissingDependencyError("asyncpg", extra="postgres") from error

from .connector import Connector, Pool, shown_address
from .pooler import Mode
from .retries import Outage, Retries, equal_jitter
from .translation import FOREIGN, Outcome, translate

T = TypeVar("T")

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

SLOW_ACQUIRE_S = 1.0

_SETTLE_TIMEOUT_S = 2.0


class Database:
    """A pool of *min_size* to *max_size* connections; those above the minimum are closed after *idle_s* of rest.

    Opening waits up to *open_timeout_s* (None: for ever) for a database that is down, and says so once. Every other
    wait is bounded: *acquire_timeout_s* for a free connection, *command_timeout_s* for an answer. All errors are
    StoreError. A wait for a connection above ``SLOW_ACQUIRE_S`` is told to *events* as DatabaseAcquireSlow.

    Works through a pooler that lends backends for one transaction each; opening finds out, see ``mode``. For that it
    holds two connections for a moment, unless *max_size* is 1.

    ``fetch``, ``fetchrow``, ``fetchval``, ``execute`` and ``transact`` try again after failures that changed nothing:
    while nobody can connect, until the outage is *retry_for_s* old; else a few times. Where the outcome is unknown, as
    when the connection is lost, they do so only for what is declared *idempotent*: reads, and writes that change
    nothing the second time. The ``retryable`` of an error follows the same rule.
    """

    def __init__(
        self,
        dsn: str,
        *,
        min_size: int = 2,
        max_size: int = 10,
        idle_s: float = 30.0,
        acquire_timeout_s: float = 5.0,
        command_timeout_s: float = 15.0,
        open_timeout_s: float | None = 60.0,
        close_timeout_s: float = 2.0,
        retry_for_s: float = 30.0,
        statement_cache_size: int = 100,
        application_name: str = "tecnobot",
        events: EventBus | None = None,
        jitter: Callable[[float], float] = equal_jitter,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._address = shown_address(dsn)
        self._min_size = min_size
        self._max_size = max_size
        self._held = 0
        self._idle_s = idle_s
        self._acquire_timeout_s = acquire_timeout_s
        self._open_timeout_s = open_timeout_s
        self._close_timeout_s = close_timeout_s
        self._events = events
        self._clock = clock
        self._sleep = sleep
        outage = self._outage = Outage(self._address, clock)
        self._retries = Retries(outage, for_s=retry_for_s, sleep=sleep, jitter=jitter)
        self._connector = Connector(
            dsn,
            outage,
            application_name=application_name,
            command_timeout_s=command_timeout_s,
            statement_cache_size=statement_cache_size,
        )
        self._pool: Pool | None = None
        self._quiet = _SaidAlready()

    @property
    def outage_s(self) -> float | None:
        """For how long nobody could connect; None while somebody can."""
        return self._outage.age_s

    def __repr__(self) -> str:
        return f"<Database {self._address}>"

    @property
    def mode(self) -> Mode:
        """What was found at opening.

        "session": each connection has a backend to itself. "transaction": a pooler lends one for each transaction, so
        session state, session locks and LISTEN do not work; statements are not cached, and cost a second round trip.
        """
        self._opened()
        return self._connector.mode

    @property
    def can_listen(self) -> bool:
        """Whether a connection can be held to LISTEN: it has a backend to itself, and is not the last one."""
        return self.mode == "session" and self._max_size - self._held > 1

    def count_held(self, change: int) -> None:
        """One more connection is kept by its user for long (1), or one less (-1): others must find one still."""
        self._held += change

    async def __aenter__(self) -> Self:
        if self._pool is not None:
            raise LifecycleError("this database is open already; open it once and share it")
        _pool_logger.addFilter(self._quiet)
        try:
            async for attempt in self._attempts():
                with attempt:
                    self._pool = await self._connector.open_pool(
                        min_size=self._min_size, max_size=self._max_size, idle_s=self._idle_s
                    )
        except StoreError as error:
            if not error.retryable:
                raise
            waited = f"could not be opened within {self._open_timeout_s:g} s"
            raise StoreError(
                f"the database at {self._address} {waited}: {error}", retryable=True, outcome="not_sent"
            ) from error
        finally:
            if self._pool is None:
                _pool_logger.removeFilter(self._quiet)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; statements that run longer than *close_timeout_s* are cut off. May be called twice."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(self._close_timeout_s):
                await pool.close()
        except FOREIGN:
            pool.terminate()
        finally:
            _pool_logger.removeFilter(self._quiet)

    @asynccontextmanager
    async def acquire(self, *, idempotent: bool = False) -> AsyncIterator[Connection]:
        """One connection, for several statements; errors inside come out as StoreError, nothing is tried again.

        The session is not reset afterwards, which would cost a round trip each time: use ``SET LOCAL`` and
        transaction-level locks, which also work behind a transaction pooler.
        """
        try:
            async with self._borrowed() as connection:
                yield connection
        except FOREIGN as error:
            raise translate(error, idempotent=idempotent) from error

    @asynccontextmanager
    async def transaction(self, *, idempotent: bool = False) -> AsyncIterator[Connection]:
        """One connection inside a transaction, committed when the block ends and rolled back when it raises.

        Nothing is tried again. The outcome of an error is unknown only where the answer to COMMIT was lost.
        """
        lost: Outcome = "rolled_back"
        try:
            async with self._borrowed() as connection, connection.transaction():
                yield connection
                lost = "unknown"
        except FOREIGN as error:
            raise translate(error, lost=lost, idempotent=idempotent) from error

    async def transact(self, work: Callable[[Connection], Awaitable[T]], *, idempotent: bool = False) -> T:
        """The result of *work* on a connection inside a transaction; after trouble the whole is done again."""

        async def attempt() -> T:
            async with self.transaction(idempotent=idempotent) as connection:
                return await work(connection)

        return await self._retries.run(attempt)

    async def fetch(self, query: str, *args: object, idempotent: bool = False) -> list[asyncpg.Record]:
        """All rows of *query*."""
        return await self._ask(lambda connection: connection.fetch(query, *args), idempotent)

    async def fetchrow(self, query: str, *args: object, idempotent: bool = False) -> asyncpg.Record | None:
        """The first row of *query*."""
        return await self._ask(lambda connection: connection.fetchrow(query, *args), idempotent)

    async def fetchval(self, query: str, *args: object, idempotent: bool = False) -> Any:
        """The first column of the first row of *query*; None without a row."""
        return await self._ask(lambda connection: connection.fetchval(query, *args), idempotent)

    async def execute(self, query: str, *args: object, idempotent: bool = False) -> str:
        """Run *query*; returns PostgreSQL's command tag, as "DELETE 1"."""
        return await self._ask(lambda connection: connection.execute(query, *args), idempotent)

    async def _ask(self, statement: Callable[[Connection], Awaitable[T]], idempotent: bool) -> T:
        async def attempt() -> T:
            async with self.acquire(idempotent=idempotent) as connection:
                return await statement(connection)

        return await self._retries.run(attempt)

    def _opened(self) -> Pool:
        if self._pool is None:
            raise LifecycleError("the database is not open; use it inside 'async with Database(...)'")
        return self._pool

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Connection]:
        pool = self._opened()
        connection = await self._take(pool)
        try:
            yield connection
        except BaseException as error:
            await _settle(connection, error)
            raise
        finally:
            # A connection that cannot be given back is dropped by the pool; what was done on it stays done.
            with suppress(*FOREIGN):
                await pool.release(connection)

    async def _take(self, pool: Pool) -> Connection:
        began_at = self._clock()
        try:
            return await pool.acquire(timeout=self._acquire_timeout_s)
        except TimeoutError as error:
            limits = f"{self._acquire_timeout_s:g} s: {self._max_size} are in use, or the database hangs"
            raise StoreError(f"no database connection within {limits}", retryable=True, outcome="not_sent") from error
        except FOREIGN as error:
            raise translate(error, lost="not_sent") from error
        finally:
            self._note_wait(self._clock() - began_at)

    def _note_wait(self, waited_s: float) -> None:
        if self._events is not None and waited_s > SLOW_ACQUIRE_S:
            self._events.publish(DatabaseAcquireSlow(waited_s))

    def _attempts(self) -> AsyncRetrying:
        limit_s = self._open_timeout_s

        def stop(state: RetryCallState) -> bool:
            # Both clocks: a connection attempt takes time, and the sleep that was handed in need not.
            waited_s = state.idle_for + state.upcoming_sleep
            return limit_s is not None and (waited_s > limit_s or stop_before_delay(limit_s)(state))

        return AsyncRetrying(
            sleep=self._sleep,
            wait=wait_exponential(multiplier=0.25, max=10),
            stop=stop_never if limit_s is None else stop,
            retry=retry_if_exception(lambda error: isinstance(error, StoreError) and error.retryable),
            reraise=True,
        )


async def _settle(connection: Connection, error: BaseException) -> None:
    """Bring to an end what *error* may have left half said.

    asyncpg sends a statement in two parts. Where the second does not follow (the task was cancelled, a value cannot be
    encoded) the server waits for it inside a transaction: a pooler cannot lend that backend to others, and the time
    limit of the statement hits the next one.
    """
    if isinstance(error, asyncpg.PostgresError) and error.severity is not None:
        return  # the server's own answer ends the statement
    try:
        await connection.execute("SELECT", timeout=_SETTLE_TIMEOUT_S)
    except BaseException as failure:
        with suppress(asyncpg.InterfaceError):  # a connection that was lost is no longer held
            connection.terminate()
        if not isinstance(failure, FOREIGN):
            raise


class _SaidAlready(logging.Filter):
    """Drops what asyncpg logs, with a traceback, each time a lost connection cannot be replaced; we said it once."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and "connection floor" in str(record.msg))


_pool_logger = logging.getLogger("asyncpg.pool")
