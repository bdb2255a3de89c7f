"""Marks as rows of ``tecnobot.cache_mark``."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ....errors import StoreError
from ....tasks import wait_or_sleep
from .held import HeldConnection
from .leases import CHANNEL
from .records import NOW

MARKED = "marked"

# One notification for any number of tags, without them: whoever hears it asks for what is new to him.
_MARK = f"""
WITH noted AS (
    INSERT INTO tecnobot.cache_mark AS kept (tag, at) SELECT tag, $2 FROM unnest($1::bytea[]) AS tag ORDER BY tag
    ON CONFLICT (tag) DO UPDATE SET at = excluded.at, noted_in = excluded.noted_in WHERE kept.at < excluded.at
    RETURNING true
)
SELECT pg_notify('{CHANNEL}', '{MARKED}') WHERE EXISTS (SELECT FROM noted)
"""
# What was not in this snapshot has a transaction that is not before its xmin.
_READ = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS next,
    coalesce(array_agg(tag), '{}') AS tags, coalesce(array_agg(at), '{}') AS times
FROM tecnobot.cache_mark WHERE noted_in >= $1::text::xid8
"""
# A mark is needed as long as a record is older. Those of a day stay: what began to load before them may yet be written,
# and a process that was cut off may yet ask what it missed.
_PURGE = f"""
DELETE FROM tecnobot.cache_mark
WHERE at < {NOW} - 86400 AND at < (SELECT coalesce(min(loaded_at), 'Infinity') FROM tecnobot.cache)
"""
_ALL = "0"
_SAFETY_POLL_S = 30.0  # beside notifications, of which none should be missing


class PostgresMarks:
    """Marks in order of their transactions, told by notifications, or seen every *poll_s* where these are not heard."""

    def __init__(
        self, held: HeldConnection, *, poll_s: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._held = held
        self._poll_s = poll_s
        self._sleep = sleep
        self._followers: set[_Follower] = set()

    async def mark(self, tags: Sequence[bytes], at: float) -> None:
        if tags:
            await self._held.fetch(_MARK, sorted(set(tags)), at)

    async def follow(self, heard: Callable[[Mapping[bytes, float]], None]) -> None:
        follower = _Follower()
        self._followers.add(follower)
        try:
            while True:
                follower.woken.clear()
                await self._read(follower, heard)
                pause_s = _SAFETY_POLL_S if self._held.listening else self._poll_s
                await wait_or_sleep(follower.woken, pause_s, sleep=self._sleep)
        finally:
            self._followers.discard(follower)

    async def _read(self, follower: "_Follower", heard: Callable[[Mapping[bytes, float]], None]) -> None:
        since, follower.since = follower.since, _ALL  # after trouble
        try:
            (row,) = await self._held.fetch(_READ, since)
        except StoreError:
            return
        if not follower.has_missed:
            follower.since = row["next"]
        follower.has_missed = False
        if row["tags"] or since == _ALL:
            heard(dict(zip(row["tags"], row["times"], strict=True)))

    def heard(self) -> None:
        """Something was marked."""
        for follower in self._followers:
            follower.woken.set()

    def ask_again(self) -> None:
        """Something may not have been heard."""
        for follower in self._followers:
            follower.has_missed = True
            follower.since = _ALL
            follower.woken.set()

    async def purge(self) -> None:
        """Delete the marks that no record needs any more; looks at all records."""
        await self._held.fetch(_PURGE)


class _Follower:
    __slots__ = ("has_missed", "since", "woken")

    def __init__(self) -> None:
        self.has_missed = False
        self.since = _ALL
        self.woken = asyncio.Event()
