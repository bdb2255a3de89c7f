"""Bytes are asked for before they come, so that a burst cannot arrive between two readings."""

import weakref
from types import TracebackType

from ..errors import LifecycleError
from .budget import Budget


class Lease:
    """Bytes that its holder may fill; given back by ``close``, by leaving ``async with``, or when nobody holds it."""

    __slots__ = ("__weakref__", "_budget", "_holding", "_number")

    def __init__(self, budget: Budget, kind: str) -> None:
        self._budget = budget
        self._number, self._holding = budget.open(kind)
        weakref.finalize(self, budget.leak, self._number).atexit = False

    @property
    def reserved_bytes(self) -> int:
        """Bytes that may be filled."""
        return self._holding.n_bytes

    def landed(self, n_bytes: int) -> None:
        """*n_bytes* more are in memory, where readings show them; until told, they would count twice."""
        if n_bytes < 0:
            raise ValueError(f"n_bytes must be at least 0, not {n_bytes}")
        self._holding.landed_bytes += n_bytes

    def covers(self, pid: int) -> None:
        """The child process *pid*, just started, is what these bytes are for; it is registered if it is not.

        While it lives the lease counts only what readings do not show of it yet; when it has ended all counts again,
        for the next. One that has ended already, or a lease that was given back, is no error. With a *probe*, which may
        or may not see the child, the lease counts in full.
        """
        self._budget.cover(self._holding, pid)

    async def grow(self, n_bytes: int) -> None:
        """Ask for *n_bytes* more, before those that hold nothing; MemoryBusyError as ``reserve``."""
        if n_bytes < 0:
            raise ValueError(f"n_bytes must be at least 0, not {n_bytes}")
        if self._number < 0:
            raise LifecycleError("this reservation was given back; reserve anew")
        await self._budget.acquire(self._holding, n_bytes)

    def shrink(self, n_bytes: int) -> None:
        """Give back *n_bytes* that will not be filled, or, when all have landed, are free again; at most all."""
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
        self._lease = lease = Lease(self._budget, self._kind)
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
