"""One pool of connections to PostgreSQL: opened patiently, never waited for without a limit."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeAlias

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay, stop_never, wait_exponential

from ...errors import LifecycleError, MissingDependencyError, StoreError

try:
    import asyncpg
except ModuleNotFoundError as error:
    raise MissingDependencyError("asyncpg", extra="postgres") from error

from .translation import FOREIGN, translate
from .values import to_json

logger = logging.getLogger(__package__)

Pool: TypeAlias = "asyncpg.pool.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
RawConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_CONNECT_TIMEOUT_S = 10.0
# What is certain to be an address. Anything else may be a password in the wrong place, and is not printed.
_ADDRESS = re.compile(r"postgres(?:ql)?://(?:[^/?#@]*@)?([\w.-]*(?::\d+)?(?:/[\w.-]*)?)(?:\?[^@]*)?")


class Database:
    """A pool of *min_size* to *max_size* connections; those above the minimum are closed after *idle_s* of rest.

    Opening waits up to *open_timeout_s* (None: for ever) for a database that is down, and says so once. Every other
    wait is bounded: *acquire_timeout_s* for a free connection, *command_timeout_s* for an answer. All errors are
    StoreError. Behind a transaction pooler set *statement_cache_size* to 0.
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
        statement_cache_size: int = 100,
        application_name: str = "tecnobot",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._dsn = dsn
        self._max_size = max_size
        self._acquire_timeout_s = acquire_timeout_s
        self._open_timeout_s = open_timeout_s
        self._close_timeout_s = close_timeout_s
        self._sleep = sleep
        self._options: dict[str, Any] = {
            "min_size": min_size,
            "max_size": max_size,
            "max_inactive_connection_lifetime": idle_s,
            "command_timeout": command_timeout_s,
            "statement_cache_size": statement_cache_size,
            "timeout": _CONNECT_TIMEOUT_S,
            "server_settings": {"application_name": application_name},
        }
        self._pool: Pool | None = None
        self._unreachable = False
        self._quiet = _SaidAlready()

    def __repr__(self) -> str:
        return f"<Database {self._address}>"

    async def __aenter__(self) -> Self:
        if self._pool is not None:
            raise LifecycleError("this database is open already; open it once and share it")
        _pool_logger.addFilter(self._quiet)
        try:
            async for attempt in self._attempts():
                with attempt:
                    self._pool = await self._connect_pool()
        except StoreError as error:
            if not error.retryable:
                raise
            waited = f"could not be opened within {self._open_timeout_s:g} s"
            raise StoreError(f"the database at {self._address} {waited}: {error}", retryable=True) from error
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
    async def acquire(self) -> AsyncIterator[Connection]:
        """One connection, for several statements; errors inside come out as StoreError.

        The session is not reset afterwards, which would cost a round trip each time: use ``SET LOCAL`` and
        transaction-level locks, which also work behind a transaction pooler.
        """
        pool = self._opened()
        connection = await self._take(pool)
        try:
            yield connection
        except FOREIGN as error:
            raise translate(error) from error
        finally:
            # A connection that cannot be given back is dropped by the pool; what was done on it stays done.
            with suppress(*FOREIGN):
                await pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One connection inside a transaction, committed when the block ends and rolled back when it raises."""
        async with self.acquire() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """All rows of *query*."""
        async with self.acquire() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """The first row of *query*."""
        async with self.acquire() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        """The first column of the first row of *query*; None without a row."""
        async with self.acquire() as connection:
            return await connection.fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        """Run *query*; returns PostgreSQL's command tag, as "DELETE 1"."""
        async with self.acquire() as connection:
            return await connection.execute(query, *args)

    @property
    def _address(self) -> str:
        found = _ADDRESS.fullmatch(self._dsn)
        return found[1] if found else "(an address that is not shown)"

    def _opened(self) -> Pool:
        if self._pool is None:
            raise LifecycleError("the database is not open; use it inside 'async with Database(...)'")
        return self._pool

    async def _take(self, pool: Pool) -> Connection:
        try:
            return await pool.acquire(timeout=self._acquire_timeout_s)
        except TimeoutError as error:
            limits = f"{self._acquire_timeout_s:g} s: {self._max_size} are in use, or the database hangs"
            raise StoreError(f"no database connection within {limits}", retryable=True) from error
        except FOREIGN as error:
            raise translate(error) from error

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

    async def _connect_pool(self) -> Pool:
        try:
            return await asyncpg.create_pool(
                self._dsn, connect=self._connect, init=_set_codecs, reset=_keep_session, **self._options
            )
        except FOREIGN as error:
            raise translate(error) from error

    async def _connect(self, *args: Any, **options: Any) -> RawConnection:
        try:
            connection: RawConnection = await asyncpg.connect(*args, **options)
        except ValueError:
            # Not chained: the message of the error would repeat parts of the address, and with it the password.
            wanted = "postgresql://user:password@host:5432/name"
            raise StoreError(f"the database address cannot be read; it should be {wanted}", retryable=False) from None
        except FOREIGN as error:
            self._note_unreachable(translate(error))
            raise
        if self._unreachable:
            logger.warning("the database at %s answers again", self._address)
        self._unreachable = False
        return connection

    def _note_unreachable(self, error: StoreError) -> None:
        if error.retryable and not self._unreachable:
            logger.warning("the database at %s does not answer, trying again: %s", self._address, error)
            self._unreachable = True


class _SaidAlready(logging.Filter):
    """Drops what asyncpg logs, with a traceback, each time a lost connection cannot be replaced; we said it once."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and "connection floor" in str(record.msg))


_pool_logger = logging.getLogger("asyncpg.pool")


async def _set_codecs(connection: RawConnection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=to_json, decoder=json.loads)


async def _keep_session(connection: RawConnection) -> None:
    """Instead of asyncpg's reset, which is a round trip and a transaction for each use of the pool."""
