"""Bytes are asked for before they come, so that a burst cannot arrive between two readings."""

import asyncio
import logging
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType

from ..errors import LifecycleError, MemoryBusyError
from ..tasks import wait_or_sleep
from .ports import Clock, Sleep
from .statistics import ReservationStatistics

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.02  # as soon as a releaser may be asked again: whoever waits first holds up all others
MIB = 1024 * 1024


@dataclass(slots=True, eq=False)
class _Holding:
    """What one lease holds. Apart from the lease, so that a lease that nobody holds any more can be noticed."""

    kind: str
    n_bytes: int = 0
    landed_bytes: int = 0


@dataclass(slots=True, eq=False)
class _Waiter:
    holding: _Holding
    n_bytes: int
    grows: bool
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    granted: bool = False


class Budget:
    """Grants bytes first come, first served; what cannot be granted waits at most *max_wait_s*.

    *room* tells how many bytes may be used beyond those that readings show. *make_room* is asked while somebody waits:
    without that, two that wait for memory which only a releaser could give would wait for ever.
    """

    def __init__(
        self,
        room: Callable[[], int],
        *,
        max_bytes: int,
        make_room: Callable[[int], Awaitable[None]],
        on_refused: Callable[[int, float, str], None],
        on_freed: Callable[[int], None],
        clock: Clock,
        sleep: Sleep,
        max_wait_s: float,
    ) -> None:
        self._room = room
        self._max_bytes = max_bytes
        self._make_room = make_room
        self._on_refused = on_refused
        self._on_freed = on_freed
        self._clock = clock
        self._sleep = sleep
        self._max_wait_s = max_wait_s
        self._numbers = count()
        self._holdings: dict[int, _Holding] = {}
        self._waiters: deque[_Waiter] = deque()
        self._waits = self._refused = self._leaked = 0
        self._waited_s = 0.0

    @property
    def expected_bytes(self) -> int:
        """Granted, and not in memory yet. Exactly 0 without leases: it is a sum over them, not a running count."""
        return sum(max(holding.n_bytes - holding.landed_bytes, 0) for holding in tuple(self._holdings.values()))

    def open(self, kind: str) -> "Lease":
        """A lease of 0 bytes; it grows from there."""
        number, holding = next(self._numbers), _Holding(kind)
        self._holdings[number] = holding
        lease = Lease(self, number, holding)
        # Runs in whichever thread lets go of it last, so it wakes nobody: those who wait look by themselves.
        weakref.finalize(lease, self._leak, number).atexit = False
        return lease

    async def acquire(self, holding: _Holding, n_bytes: int) -> None:
        """Add *n_bytes* to *holding*, when there is room and it is its turn; MemoryBusyError otherwise."""
        if holding.n_bytes + n_bytes > self._max_bytes:
            raise self._refusal(holding, n_bytes, 0.0, "too_big")
        waiter = _Waiter(holding, n_bytes, grows=holding.n_bytes > 0)
        if not self._is_behind_others(waiter) and n_bytes <= self._free_bytes():
            holding.n_bytes += n_bytes
            return
        await self._wait(waiter)

    def give_back(self, number: int) -> None:
        """All bytes of a lease are free; again is no error."""
        if (holding := self._holdings.pop(number, None)) is not None:
            self._on_freed(min(holding.landed_bytes, holding.n_bytes))
            self.serve()

    def serve(self) -> None:
        """Grant what can be granted; to be called when there may be more room."""
        while self._waiters and self._waiters[0].n_bytes <= self._free_bytes():
            waiter = self._waiters.popleft()
            waiter.holding.n_bytes += waiter.n_bytes
            waiter.granted = True
            waiter.woken.set()
        if self._waiters:
            self._waiters[0].woken.set()  # it asks for release from now on

    def statistics(self) -> ReservationStatistics:
        """As it is now."""
        holdings = tuple(self._holdings.values())
        return ReservationStatistics(
            reserved_bytes=sum(holding.n_bytes for holding in holdings),
            expected_bytes=self.expected_bytes,
            leases=len(holdings),
            waiting=len(self._waiters),
            waits=self._waits,
            waited_s=self._waited_s,
            refused=self._refused,
            leaked=self._leaked,
        )

    async def _wait(self, waiter: _Waiter) -> None:
        began = self._clock()
        self._waits += 1
        self._queue(waiter)
        try:
            async with asyncio.timeout(self._max_wait_s):
                await self._until_granted(waiter, began)
        except TimeoutError:
            if not waiter.granted:
                raise self._refusal(waiter.holding, waiter.n_bytes, self._clock() - began, "busy") from None
        except BaseException:
            if waiter.granted:  # cancelled before it could hear of it
                waiter.holding.n_bytes -= waiter.n_bytes
            raise
        finally:
            self._waited_s += self._clock() - began
            if not waiter.granted:
                self._waiters.remove(waiter)
            self.serve()

    async def _until_granted(self, waiter: _Waiter, began: float) -> None:
        while not waiter.granted:
            waiter.woken.clear()
            left_s = began + self._max_wait_s - self._clock()
            if left_s <= 0:
                raise TimeoutError
            if self._waiters[0] is not waiter:
                await wait_or_sleep(waiter.woken, left_s, sleep=self._sleep)
                continue
            await self._make_room(self._wanted_bytes(waiter) + self.expected_bytes)
            self.serve()
            if waiter.granted:
                return
            if waiter.grows and self._all_wait_to_grow():
                raise TimeoutError  # nobody will give back anything: one of them has to go
            waiter.woken.clear()
            await wait_or_sleep(waiter.woken, min(LOOK_AGAIN_S, left_s), sleep=self._sleep)

    def _wanted_bytes(self, waiter: _Waiter) -> int:
        """For those behind it too, up to a quarter of what one may have: one round each would hold up a burst."""
        return max(waiter.n_bytes, min(sum(other.n_bytes for other in self._waiters), self._max_bytes // 4))

    def _queue(self, waiter: _Waiter) -> None:
        """At the end; who grows goes before those who hold nothing yet, as only he can give something back."""
        if not waiter.grows:
            self._waiters.append(waiter)
            return
        growing = sum(other.grows for other in self._waiters)
        self._waiters.insert(growing, waiter)

    def _is_behind_others(self, waiter: _Waiter) -> bool:
        return any(other.grows or not waiter.grows for other in self._waiters)

    def _all_wait_to_grow(self) -> bool:
        holding = sum(one.n_bytes > 0 for one in self._holdings.values())
        return 1 < holding == sum(waiter.grows for waiter in self._waiters)

    def _free_bytes(self) -> int:
        return self._room() - self.expected_bytes

    def _refusal(self, holding: _Holding, n_bytes: int, waited_s: float, reason: str) -> MemoryBusyError:
        self._refused += 1
        self._on_refused(n_bytes, waited_s, reason)
        if reason == "too_big":
            return MemoryBusyError(
                f"{holding.n_bytes + n_bytes:,} bytes for {holding.kind} are never granted; wanted are at most"
                f" {self._max_bytes:,}, half of the memory limit"
            )
        return MemoryBusyError(
            f"no room for {n_bytes:,} bytes of {holding.kind} within {waited_s:.1f} s; try again later",
            retry_after_s=self._max_wait_s,
        )

    def _leak(self, number: int) -> None:
        if holding := self._holdings.pop(number, None):
            self._leaked += 1
            logger.warning("a reservation of %d bytes for %s was never given back", holding.n_bytes, holding.kind)


class Lease:
    """Bytes that its holder may fill; given back by ``close``, by leaving ``async with``, or when nobody holds it."""

    __slots__ = ("__weakref__", "_budget", "_holding", "_number")

    def __init__(self, budget: Budget, number: int, holding: _Holding) -> None:
        self._budget = budget
        self._number = number
        self._holding = holding

    @property
    def reserved_bytes(self) -> int:
        """Bytes that may be filled."""
        return self._holding.n_bytes

    def landed(self, n_bytes: int) -> None:
        """*n_bytes* more are in memory, where readings show them; until told, they would count twice."""
        self._holding.landed_bytes += n_bytes

    async def grow(self, n_bytes: int) -> None:
        """Ask for *n_bytes* more, before those that hold nothing; MemoryBusyError as ``reserve``."""
        if n_bytes < 0:
            raise ValueError(f"n_bytes must be at least 0, not {n_bytes}")
        if self._number < 0:
            raise LifecycleError("this reservation was given back; reserve anew")
        await self._budget.acquire(self._holding, n_bytes)

    def shrink(self, n_bytes: int) -> None:
        """Give back *n_bytes* that will not be filled, or are free again; at most all."""
        if n_bytes < 0:
            raise ValueError(f"n_bytes must be at least 0, not {n_bytes}")
        self._holding.n_bytes = max(self._holding.n_bytes - n_bytes, 0)
        self._holding.landed_bytes = min(self._holding.landed_bytes, self._holding.n_bytes)
        self._budget.serve()

    def close(self) -> None:
        """Give all of it back; again is no error."""
        self._budget.give_back(self._number)
        self._number = -1


class Reservation:
    """``async with``: the lease, when there is room for it; given back at the end, whatever happens."""

    def __init__(self, budget: Budget, n_bytes: int, kind: str) -> None:
        if n_bytes < 0:
            raise ValueError(f"n_bytes must be at least 0, not {n_bytes}")
        self._budget = budget
        self._n_bytes = n_bytes
        self._kind = kind
        self._lease: Lease | None = None

    async def __aenter__(self) -> Lease:
        if self._lease is not None:
            raise LifecycleError("a reservation is entered once; reserve again")
        self._lease = lease = self._budget.open(self._kind)
        try:
            await lease.grow(self._n_bytes)
        except BaseException:
            lease.close()
            raise
        return lease

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lease is not None:
            self._lease.close()
