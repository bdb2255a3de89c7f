"""What is asked of a transport: whatever it raises is a loss of the link, and nothing waits for it without limit."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from ..errors import TransportError
from ..tasks import Tasks, is_being_cancelled
from .losses import loss_of
from .ports import Lost
from .reasons import DisconnectReason

logger = logging.getLogger(__package__)

T = TypeVar("T")

PATIENCE_S = 1.0  # how long a call that was cancelled is given to end


class Calls:
    """Asks each thing in a task of its own, so that a call which ignores being cancelled can be left behind."""

    def __init__(self) -> None:
        self._tasks = Tasks("connection.call")
        self._surprises: set[tuple[str, type[BaseException]]] = set()

    def __len__(self) -> int:
        """How many run, also of those that nobody waits for any more."""
        return len(self._tasks)

    def start(self, call: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T | Lost]":
        """Begin *call*; the task never fails: its result is the answer, or why there is none."""
        task = self._tasks.start(self._answer(call, name), name)
        # A task that is cancelled before its first step never awaits the call; Python would warn of that.
        task.add_done_callback(lambda _: call.close())
        return task

    async def ask(
        self, call: Coroutine[Any, Any, T], timeout_s: float, name: str, *, unless: asyncio.Event | None = None
    ) -> T | Lost:
        """The answer to *call*, or why there is none within *timeout_s* or before *unless* is set."""
        asked = self.start(call, name)
        interrupt = None if unless is None else self._tasks.start(unless.wait(), f"unless_{name}")
        try:
            await asyncio.wait(
                {asked} if interrupt is None else {asked, interrupt},
                timeout=timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for task in (asked, interrupt):
                if task is not None and not task.done():
                    task.cancel()
        if interrupt is not None:
            await asyncio.wait({interrupt})
        await asyncio.wait({asked}, timeout=PATIENCE_S)
        if asked.done() and not asked.cancelled():
            return asked.result()
        return Lost(DisconnectReason.TIMEOUT, f"no answer within {timeout_s:g} s")

    async def wait(self, timeout_s: float) -> bool:
        """Wait until all have ended or *timeout_s* is over; True when all have."""
        return await self._tasks.wait(max(timeout_s, 0.0))

    async def carry(self, call: Awaitable[None], name: str) -> None:
        """Await *call* for its caller, without limit; whatever it raises is a TransportError."""
        try:
            await call
        except TransportError:
            raise
        except BaseException as error:
            raise TransportError(self._explain(error, name).detail, sent="maybe") from error

    async def _answer(self, call: Coroutine[Any, Any, T], name: str) -> T | Lost:
        try:
            return await call
        except BaseException as error:
            return self._explain(error, name)

    def _explain(self, error: BaseException, name: str) -> Lost:
        """What *error* means; raised again where it is not about the transport but about this task, or all of them."""
        if isinstance(error, asyncio.CancelledError):
            if is_being_cancelled():
                raise error
            return Lost(detail="the transport cancelled itself")
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise error
        if (loss := loss_of(error)) is not None:
            return loss
        # Also what is no Exception, as a panic of a library in Rust. Each attempt may end so: one trace is enough.
        surprise = (name, type(error))
        trace = None if surprise in self._surprises else error
        self._surprises.add(surprise)
        logger.error("%s: a transport raised something other than a TransportError: %r", name, error, exc_info=trace)
        return Lost(detail=repr(error))
