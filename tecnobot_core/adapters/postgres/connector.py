"""Makes the connections of a pool, and makes them fit what stands before the database."""

import json
import logging
import re
from typing import Any, TypeAlias

import asyncpg

from ...errors import StoreError
from .pooler import Mode, RawConnection, detect_mode
from .retries import Outage
from .translation import FOREIGN, translate
from .values import to_json

logger = logging.getLogger(__package__)

Pool: TypeAlias = "asyncpg.pool.Pool[asyncpg.Record]"

_CONNECT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 2.0
# Of the time for an answer. The server gives up first, because then it is known that nothing was done.
_SERVER_SHARE = 0.8
# What is certain to be an address. Anything else may be a password in the wrong place, and is not printed.
_ADDRESS = re.compile(r"postgres(?:ql)?://(?:[^/?#@]*@)?([\w.-]*(?::\d+)?(?:/[\w.-]*)?)(?:\?[^@]*)?")


def shown_address(dsn: str) -> str:
    """The part of *dsn* that anybody may see."""
    found = _ADDRESS.fullmatch(dsn)
    return found[1] if found else "(an address that is not shown)"


class Connector:
    """Connections to *dsn*, and the pool over them. ``mode`` is what the last opening found."""

    def __init__(
        self, dsn: str, outage: Outage, *, application_name: str, command_timeout_s: float, statement_cache_size: int
    ) -> None:
        self.mode: Mode = "session"
        self._dsn = dsn
        self._outage = outage
        self._statement_cache_size = statement_cache_size
        self._server_limit_ms = max(1, int(command_timeout_s * _SERVER_SHARE * 1000))
        self._options: dict[str, Any] = {
            "timeout": _CONNECT_TIMEOUT_S,
            "command_timeout": command_timeout_s,
            # The only setting that every pooler takes with a new connection.
            "server_settings": {"application_name": application_name},
        }
        self._ready: list[RawConnection] = []

    async def open_pool(self, *, min_size: int, max_size: int, idle_s: float) -> Pool:
        """Find out the mode over two connections, one where *max_size* is 1, and open the pool for it."""
        try:
            await self._find_mode(max_size)
            await self._keep_ready(min_size if self.mode == "session" else 0)
            pool = await asyncpg.create_pool(
                connect=self._connect,
                init=self._prepare,
                reset=_keep_session,
                min_size=min_size,
                max_size=max_size,
                max_inactive_connection_lifetime=idle_s,
            )
            if self.mode == "transaction":
                await self._note_pooler(pool)
            return pool
        except FOREIGN as error:
            raise translate(error, lost="not_sent") from error
        finally:
            while self._ready:
                self._ready.pop().terminate()

    async def _find_mode(self, max_size: int) -> None:
        self.mode = "session"
        for _ in range(min(2, max_size)):
            self._ready.append(await self._dial())
        self.mode = await detect_mode(self._ready)

    async def _keep_ready(self, n_kept: int) -> None:
        while len(self._ready) > n_kept:
            await self._ready.pop().close(timeout=_CLOSE_TIMEOUT_S)

    async def _connect(self, *_: object, **__: object) -> RawConnection:
        """For the pool, whose first connections are those that found out the mode."""
        return self._ready.pop() if self._ready else await self._dial()

    async def _dial(self) -> RawConnection:
        cache_size = self._statement_cache_size if self.mode == "session" else 0
        try:
            connection: RawConnection = await asyncpg.connect(
                self._dsn, statement_cache_size=cache_size, **self._options
            )
        except ValueError:
            # Not chained: the message of the error would repeat parts of the address, and with it the password.
            wanted = "postgresql://user:password@host:5432/name"
            raise StoreError(f"the database address cannot be read; it should be {wanted}", retryable=False) from None
        except FOREIGN as error:
            self._outage.note(translate(error, lost="not_sent"))
            raise
        self._outage.end()
        return connection

    async def _prepare(self, connection: RawConnection) -> None:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=to_json, decoder=json.loads)
        if self.mode == "session":
            await connection.execute(f"SET statement_timeout = {self._server_limit_ms}")

    async def _note_pooler(self, pool: Pool) -> None:
        """Say where the server has no time limit: one that a session sets would pass to other clients of the pooler."""
        logger.info("a pooler in transaction mode stands before the database at %s", shown_address(self._dsn))
        if await pool.fetchval("SELECT current_setting('statement_timeout')") == "0":
            logger.warning(
                "no statement_timeout can be set through the transaction pooler; give the role one: "
                "ALTER ROLE CURRENT_USER SET statement_timeout = '%dms'",
                self._server_limit_ms,
            )


async def _keep_session(connection: RawConnection) -> None:
    """Instead of asyncpg's reset, which is a round trip and a transaction for each use of the pool."""
