"""Leases as rows of ``tecnobot.cache_lease``."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from secrets import token_bytes

from ....tasks import wait_or_sleep
from .held import HeldConnection
from .records import NOW

CHANNEL = "tecnobot_cache"
RELEASED = "released "

_ACQUIRE = f"""
INSERT INTO tecnobot.cache_lease AS held (key, holder, until) VALUES ($1, $2, {NOW} + $3)
ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE held.until <= {NOW} OR held.holder = excluded.holder
RETURNING true
"""
_RENEW = f"UPDATE tecnobot.cache_lease SET until = {NOW} + $3 WHERE key = $1 AND holder = $2 RETURNING true"
# Only where somebody waits: every notification takes a lock of the whole server while it is committed.
_RELEASE = f"""
WITH gone AS (DELETE FROM tecnobot.cache_lease WHERE key = $1 AND holder = $2 RETURNING is_awaited)
SELECT pg_notify('{CHANNEL}', '{RELEASED}' || $3) FROM gone WHERE is_awaited
"""
_AWAIT = f"""
UPDATE tecnobot.cache_lease SET is_awaited = true WHERE key = $1 AND until > {NOW}
RETURNING holder, until - {NOW} AS left_s
"""
_PURGE = f"DELETE FROM tecnobot.cache_lease WHERE until < {NOW} - 3600"

# Without notifications a waiter asks less and less often: about a twentieth of the time that it has waited is wasted.
_MIN_POLL_S = 0.01
_MAX_POLL_S = 0.5
_POLL_GROWTH = 1.05


class PostgresLeases:
    """Leases of one process; the holder's name is made up anew for each of these.

    A lease that is acquired again by its holder is the same lease. Waiters are woken by a notification, or ask.
    """

    def __init__(
        self,
        held: HeldConnection,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._held = held
        self._monotonic = monotonic
        self._sleep = sleep
        self._holder = token_bytes(16)
        self._waiters: defaultdict[str, set[_Waiter]] = defaultdict(set)

    async def acquire(self, key: bytes, ttl_s: float) -> bool:
        return bool(await self._held.fetch(_ACQUIRE, key, self._holder, ttl_s))

    async def renew(self, key: bytes, ttl_s: float) -> bool:
        return bool(await self._held.fetch(_RENEW, key, self._holder, ttl_s))

    async def release(self, key: bytes) -> None:
        await self._held.fetch(_RELEASE, key, self._holder, _name(key))

    async def wait(self, key: bytes, timeout_s: float) -> None:
        waiter = _Waiter()
        name = _name(key)
        self._waiters[name].add(waiter)
        began_at = self._monotonic()
        try:
            # Asked only after it can be woken, so that no release falls between.
            while (pause_s := await self._pause_s(waiter, key, timeout_s - (self._monotonic() - began_at))) > 0:
                await wait_or_sleep(waiter.woken, pause_s, sleep=self._sleep)
                if waiter.is_released:
                    return
                waiter.woken.clear()
        finally:
            self._waiters[name].discard(waiter)
            if not self._waiters[name]:
                del self._waiters[name]

    async def _pause_s(self, waiter: "_Waiter", key: bytes, left_s: float) -> float:
        """How long *waiter* sleeps, who may wait for another *left_s*; 0 when the lease is no longer whose it was."""
        rows = await self._held.fetch(_AWAIT, key)
        if not rows or (waiter.holder or rows[0]["holder"]) != rows[0]["holder"]:
            return 0.0
        waiter.holder = rows[0]["holder"]
        left_s = min(left_s, rows[0]["left_s"])
        if self._held.listening:
            return left_s
        waiter.poll_s = min(max(_MIN_POLL_S, waiter.poll_s * _POLL_GROWTH), _MAX_POLL_S)
        return min(left_s, waiter.poll_s)

    def heard(self, name: str) -> None:
        """The lease with this name was given back."""
        for waiter in self._waiters.get(name, ()):
            waiter.is_released = True
            waiter.woken.set()

    def ask_again(self) -> None:
        """Something may not have been heard."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.woken.set()

    async def purge(self) -> None:
        """Delete what ran out long ago."""
        await self._held.fetch(_PURGE)


class _Waiter:
    __slots__ = ("holder", "is_released", "poll_s", "woken")

    def __init__(self) -> None:
        self.holder: bytes | None = None
        self.poll_s = 0.0
        self.is_released = False
        self.woken = asyncio.Event()


def _name(key: bytes) -> str:
    """Of one length, for a notification holds less than 8,000 bytes."""
    return blake2b(key, digest_size=16).hexdigest()
