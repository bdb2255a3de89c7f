"""Marks as rows of ``tecnobot.cache_mark``."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ....cache.ports import EVERYTHING
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
_READ = f"""
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS next, {NOW} AS now,
    coalesce(array_agg(tag), '{{}}') AS tags, coalesce(array_agg(at), '{{}}') AS times
FROM tecnobot.cache_mark WHERE noted_in >= $1::text::xid8
"""
KEPT_S = 86_400.0
# A mark is needed as long as a record is older. Those of a day stay: what began to load before them may yet be written,
# and a process that was cut off may yet ask what it missed.
_PURGE = f"""
DELETE FROM tecnobot.cache_mark
WHERE at < {NOW} - {KEPT_S} AND at < (SELECT coalesce(min(loaded_at), 'Infinity') FROM tecnobot.cache)
"""
_ALL = "0"
# Who was cut off for longer may have missed marks that are gone. An hour less: the marks' times are of many clocks.
MAX_CUT_OFF_S = KEPT_S - 3_600.0
_SAFETY_POLL_S = 30.0  # beside notifications, of which none should be missing


class PostgresMarks:
    """Marks in order of their transactions, told by notifications, or seen every *poll_s* where these are not heard.

    After more than ``MAX_CUT_OFF_S`` without them, by the server's clock and at first by *now*, which is to be the
    same, a follower is told to forget everything.
    """

    def __init__(
        self,
        held: HeldConnection,
        *,
        now: Callable[[], float],
        poll_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._held = held
        self._now = now
        self._read_at: float | None = None  # the last time, in the server's time
        self._poll_s = poll_s
        self._sleep = sleep
        self._followers: set[_Follower] = set()

    async def mark(self, tags: Sequence[bytes], at: float) -> None:
        if tags:
            await self._held.fetch(_MARK, sorted(set(tags)), at)

    async def follow(self, heard: Callable[[Mapping[bytes, float]], None]) -> None:
        # Who follows again, as a cache that was closed and is opened, was cut off meanwhile.
        follower = _Follower(self._now() if self._read_at is None else self._read_at)
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
        marks = dict(zip(row["tags"], row["times"], strict=True))
        known_until = follower.known_until
        follower.known_until = self._read_at = row["now"]
        if row["now"] - known_until > MAX_CUT_OFF_S:
            marks[EVERYTHING] = row["now"] - MAX_CUT_OFF_S
        if marks or since == _ALL:
            heard(marks)

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
    __slots__ = ("has_missed", "known_until", "since", "woken")

    def __init__(self, known_until: float) -> None:
        self.known_until = known_until  # in the server's time
        self.has_missed = False
        self.since = _ALL
        self.woken = asyncio.Event()
