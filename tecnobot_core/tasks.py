"""The one way to own a background task."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from .errors import LifecycleError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Tasks:
    """Background tasks of one owner: named, referenced, and never failing in silence.

    A failure is logged at once, told to *on_failure* (usually ``EventBus.task_failed``), and raised again by
    ``aclose``: alone as itself, several as an ExceptionGroup. Not a TaskGroup: that would cancel and wrap the errors of
    whoever holds it open.
    """

    def __init__(self, owner: str, *, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        self._owner = owner
        self._on_failure = on_failure
        self._running: set[asyncio.Task[Any]] = set()
        self._failures: list[Exception] = []
        self._closed = False

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run *work* in the background as ``owner.name``; the task is kept until it ends."""
        if self._closed:
            work.close()
            raise LifecycleError(f"{self._owner} is closed; open it again before starting {name}")
        task = asyncio.create_task(work, name=f"{self._owner}.{name}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        logger.error("background task %s failed", task.get_name(), exc_info=error)
        if isinstance(error, Exception):
            self._failures.append(error)
        if self._on_failure is not None:
            self._on_failure(task.get_name(), error)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing runs, or *timeout_s* is over; True when nothing runs."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
        return not self._running

    async def aclose(self) -> None:
        """Cancel what still runs, wait for it, and raise what failed before."""
        await self._end()
        failures, self._failures = self._failures, []
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ExceptionGroup(f"background tasks of {self._owner} failed", failures)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close; a failure, which was told when it happened, takes the place of no error that is under way."""
        if exc is None:
            await self.aclose()
        else:
            await self._end()

    async def _end(self) -> None:
        self._closed = True
        running = [task for task in self._running if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


class TimeLimit:
    """Cancels what takes longer than *limit_s*: ``with limit() as running: await …`` raises TimeoutError then.

    As ``asyncio.timeout``, with one timer for all that run: arming and disarming one for every message costs as much as
    matching it does. ``running.expired`` tells whether the limit was reached.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._running: dict[Running, None] = {}  # in the order in which they end
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> "Running":
        return Running(self)

    def begin(self, running: "Running") -> None:
        """Count *running*'s time from now."""
        loop = asyncio.get_running_loop()
        running.ends_at = loop.time() + self.limit_s
        self._running[running] = None
        if self._timer is None:
            self._timer = loop.call_at(running.ends_at, self._look)

    def end(self, running: "Running") -> None:
        """*running* has ended, in time or not."""
        del self._running[running]

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for running in self._running:
            if running.ends_at > loop.time():
                self._timer = loop.call_at(running.ends_at, self._look)
                return
            running.expire()


class Running:
    """One thing that runs under a TimeLimit, in the task that entered it."""

    __slots__ = ("_cancelling", "_limit", "_task", "ends_at", "expired")

    def __init__(self, limit: TimeLimit) -> None:
        self.expired = False
        self.ends_at = 0.0
        self._limit = limit
        self._cancelling = 0

    def expire(self) -> None:
        """Cancel the task, once."""
        if not self.expired:
            self.expired = True
            self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # whoever awaits runs in one
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        self._limit.begin(self)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._limit.end(self)
        # Somebody else may have cancelled the task at the same time; then it is theirs.
        if self.expired and self._task.uncancel() <= self._cancelling and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc


async def in_thread(work: Callable[[], T]) -> T:
    """The result of *work*, run in a worker thread; when this ends, cancelled or not, *work* has ended too.

    ``asyncio.to_thread`` leaves at once when it is cancelled, and its thread goes on with files that are being removed.
    What was opened by *work* is lost by a cancellation: have *work* put it where somebody closes it.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return running.result()
    if not running.cancelled():
        running.exception()  # seen, or the loop would tell of an error that nobody asked for
    try:
        raise cancelled
    finally:
        del cancelled  # it holds this frame, which would hold it


def is_being_cancelled() -> bool:
    """Whether somebody cancelled the current task; if not, a CancelledError comes from something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@asynccontextmanager
async def stop_signals(stop: Callable[[], object]) -> AsyncIterator[None]:
    """Call *stop* on the first SIGINT or SIGTERM while inside; a second one goes to whoever listened before.

    Main thread only. May be nested: the inner one gets the first signal, the outer one the next.
    """
    loop = asyncio.get_running_loop()
    # Not loop.add_signal_handler: it forgets who listened before, so the inner of two would silence the outer.
    before: dict[int, Any] = {}

    def listen_as_before() -> None:
        while before:
            signal.signal(*before.popitem())

    def stopping(number: int, frame: FrameType | None) -> None:
        listen_as_before()
        loop.call_soon_threadsafe(stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, stopping)
    try:
        yield
    finally:
        listen_as_before()


async def wait_or_sleep(
    event: asyncio.Event, seconds: float, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> bool:
    """Return when *event* is set or *seconds* of *sleep* are over; True when it is set."""
    waits = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(sleep(seconds))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return event.is_set()
