"""The bytes that were granted, and those who wait for some."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from ..errors import MemoryBusyError
from ..tasks import wait_or_sleep
from .ports import Clock, Sleep
from .reading import Child
from .statistics import ReservationStatistics

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.02  # as soon as a releaser may be asked again: whoever waits first holds up all others


@dataclass(slots=True, eq=False)
class Holding:
    """What one lease holds. Apart from the lease, so that a lease that nobody holds any more can be noticed."""

    kind: str
    n_bytes: int = 0
    landed_bytes: int = 0
    children: list[Child] = field(default_factory=list)

    @property
    def expected_bytes(self) -> int:
        """What readings do not show yet."""
        shown_bytes = self.landed_bytes + sum(child.shown_bytes for child in self.children)
        return max(self.n_bytes - shown_bytes, 0)


@dataclass(slots=True, eq=False)
class Waiter:
    holding: Holding
    n_bytes: int
    grows: bool
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    granted: bool = False


class Budget:
    """Grants bytes first come, first served; what cannot be granted waits at most *max_wait_s*.

    *room* tells how many bytes may be used beyond those that readings show. *make_room* is asked while somebody waits:
    without that, two that wait for memory which only a releaser could give would wait for ever. *measure* has readings
    show a child process from now on.
    """

    def __init__(
        self,
        room: Callable[[], int],
        *,
        max_bytes: int,
        make_room: Callable[[int], Awaitable[None]],
        on_refused: Callable[[int, float, str], None],
        on_freed: Callable[[int], None],
        measure: Callable[[int], Child | None],
        clock: Clock,
        sleep: Sleep,
        max_wait_s: float,
    ) -> None:
        self._room = room
        self._max_bytes = max_bytes
        self._make_room = make_room
        self._on_refused = on_refused
        self._on_freed = on_freed
        self._measure = measure
        self._clock = clock
        self._sleep = sleep
        self._max_wait_s = max_wait_s
        self._numbers = count()
        self._holdings: dict[int, Holding] = {}
        self._waiters: deque[Waiter] = deque()
        self._waits = self._refused = self._leaked = 0
        self._waited_s = 0.0

    @property
    def expected_bytes(self) -> int:
        """Granted, and not in memory yet. Exactly 0 without leases: it is a sum over them, not a running count."""
        return sum(holding.expected_bytes for holding in tuple(self._holdings.values()))

    def open(self, kind: str) -> tuple[int, Holding]:
        """Begin with 0 bytes, which grow from there; and the number under which they are given back."""
        number, holding = next(self._numbers), Holding(kind)
        self._holdings[number] = holding
        return number, holding

    async def acquire(self, holding: Holding, n_bytes: int) -> None:
        """Add *n_bytes* to *holding*, when there is room and it is its turn; MemoryBusyError otherwise."""
        if not n_bytes:
            return  # however full memory is, and whoever waits
        if holding.n_bytes + n_bytes > self._max_bytes:
            raise self._refusal(holding, n_bytes, 0.0, "too_big")
        waiter = Waiter(holding, n_bytes, grows=holding.n_bytes > 0)
        if not self._is_behind_others(waiter) and n_bytes <= self._free_bytes():
            holding.n_bytes += n_bytes
            return
        await self._wait(waiter)

    def cover(self, holding: Holding, pid: int) -> None:
        """Measure *pid*, and count what it shows to *holding*, and to no other."""
        if (child := self._measure(pid)) is None:
            return
        for other in tuple(self._holdings.values()):
            if child in other.children:
                other.children.remove(child)
        holding.children.append(child)

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

    def leak(self, number: int) -> None:
        """Nobody can give that back any more. Wakes nobody, as it may run in any thread: those who wait look again."""
        if holding := self._holdings.pop(number, None):
            self._leaked += 1
            logger.warning("a reservation of %d bytes for %s was never given back", holding.n_bytes, holding.kind)

    async def _wait(self, waiter: Waiter) -> None:
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

    async def _until_granted(self, waiter: Waiter, began: float) -> None:
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

    def _wanted_bytes(self, waiter: Waiter) -> int:
        """For those behind it too, up to a quarter of what one may have: one round each would hold up a burst."""
        return max(waiter.n_bytes, min(sum(other.n_bytes for other in self._waiters), self._max_bytes // 4))

    def _queue(self, waiter: Waiter) -> None:
        """At the end; who grows goes before those who hold nothing yet, as only he can give something back."""
        if not waiter.grows:
            self._waiters.append(waiter)
            return
        growing = sum(other.grows for other in self._waiters)
        self._waiters.insert(growing, waiter)

    def _is_behind_others(self, waiter: Waiter) -> bool:
        return any(other.grows or not waiter.grows for other in self._waiters)

    def _all_wait_to_grow(self) -> bool:
        holding = sum(one.n_bytes > 0 for one in self._holdings.values())
        return 1 < holding == sum(waiter.grows for waiter in self._waiters)

    def _free_bytes(self) -> int:
        return self._room() - self.expected_bytes

    def _refusal(self, holding: Holding, n_bytes: int, waited_s: float, reason: str) -> MemoryBusyError:
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
