"""A database that counts what it is asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.database import Connection


class CountingDatabase(Database):
    """Counts how often a connection was taken; the stores send one statement each time."""

    taken = 0

    @asynccontextmanager
    async def acquire(self, *, idempotent: bool = False) -> AsyncIterator[Connection]:
        self.taken += 1
        async with super().acquire(idempotent=idempotent) as connection:
            yield connection
