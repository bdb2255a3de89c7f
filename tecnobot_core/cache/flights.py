"""Loads that many wait for."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from ..errors import LifecycleError
from ..tasks import Tasks

logger = logging.getLogger(__package__)


class Flight:
    """One load in a task of its own, so that whoever asked first may leave.

    It ends when its last waiter leaves, unless it is ``detached``: then it goes on for those who come later.
    ``began_at`` is the stamp of what it loads.
    """

    __slots__ = ("_answer", "_waiting", "began_at", "detached", "expiry", "give_up", "task")

    task: asyncio.Task[None]

    def __init__(self, began_at: float, *, detached: bool, give_up: Callable[["Flight"], None]) -> None:
        self.began_at = began_at
        self.detached = detached
        self.give_up = give_up
        self.expiry: asyncio.TimerHandle | None = None
        self._answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting = 0

    @property
    def done(self) -> bool:
        """Whether the answer, or its error, is known."""
        return self._answer.done()

    def result(self) -> Any:
        """The answer; raises the error of the load."""
        return self._answer.result()

    def land(self, value: object) -> None:
        """Give everyone who waits *value*; what comes later changes nothing."""
        if not self._answer.done():
            self._answer.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Give everyone who waits *error*."""
        if not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # nobody may be waiting

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for *timeout_s*; True when it is done. When the last one who waits is cancelled, so is the load."""
        self._waiting += 1
        try:
            await asyncio.wait((self._answer,), timeout=timeout_s)
        except asyncio.CancelledError:
            if self._waiting == 1 and not self.detached and not self.done:
                self.give_up(self)
                await asyncio.wait((self.task,))  # as when it had awaited the loader itself
            raise
        finally:
            self._waiting -= 1
        return self.done


class Flights:
    """The loads that are under way, one for each key, owned by *tasks*."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self._flights: dict[str, Flight] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: str) -> Flight | None:
        """The load of *key* that is under way."""
        self.leave_other_loops()
        return self._flights.get(key)

    def leave_other_loops(self) -> bool:
        """Forget what another event loop was loading, as it may never go on; whether there was another loop."""
        before, self._loop = self._loop, asyncio.get_running_loop()
        if before is None or before is self._loop:
            return False
        self._flights.clear()
        return True

    def start(
        self,
        key: str,
        load: Callable[[Flight], Coroutine[Any, Any, object]],
        began_at: float,
        *,
        timeout_s: float | None = None,
        detached: bool = False,
    ) -> Flight:
        """Begin to load *key*, in place of a load of it that does not count any more.

        After *timeout_s* everyone who waits gets a TimeoutError, even when the loader does not let itself be cancelled.
        """
        self.leave_other_loops()
        flight = Flight(began_at, detached=detached, give_up=partial(self._give_up, key))
        # The name must not show the key, which may be personal.
        flight.task = self.tasks.start(self._fly(flight, load), "load")
        flight.task.add_done_callback(lambda _: self._ended(key, flight))
        self._flights[key] = flight
        if timeout_s is not None:
            flight.expiry = asyncio.get_running_loop().call_later(timeout_s, self._expire, key, flight, timeout_s)
        return flight

    def forget(self, key: str) -> None:
        """What loads *key* now is given to those who wait, and not kept."""
        self._flights.pop(key, None)

    def forget_where(self, is_meant: Callable[[str], bool]) -> None:
        """As ``forget`` for every key that *is_meant*."""
        for key in [key for key in self._flights if is_meant(key)]:
            del self._flights[key]

    async def _fly(self, flight: Flight, load: Callable[[Flight], Coroutine[Any, Any, object]]) -> None:
        try:
            flight.land(await load(flight))
        except Exception as error:
            if flight.detached:  # often nobody waits
                logger.warning("loading again in the background failed: %r", error)
            flight.fail(error)

    def _ended(self, key: str, flight: Flight) -> None:
        if flight.expiry is not None:
            flight.expiry.cancel()
        self._remove(key, flight)
        # Never a CancelledError: whoever waits was not cancelled.
        flight.fail(LifecycleError("loading was cancelled: by closing the cache, or by what the loader awaited"))

    def _expire(self, key: str, flight: Flight, timeout_s: float) -> None:
        flight.fail(TimeoutError(f"loading took longer than {timeout_s:g} s"))
        self._give_up(key, flight)

    def _give_up(self, key: str, flight: Flight) -> None:
        # Removed first: whoever comes now must not join what is ending.
        self._remove(key, flight)
        flight.task.cancel()

    def _remove(self, key: str, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
