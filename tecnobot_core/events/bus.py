"""Tells events to those who asked."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, overload

from ..tasks import Tasks, is_being_cancelled
from .kinds import BackgroundTaskFailed, Event
from .names import all_kinds, kind_named, snake_name

logger = logging.getLogger(__package__)

E = TypeVar("E", bound=Event)
Handler = Callable[[E], Awaitable[None] | None]
H = TypeVar("H", bound=Callable[..., Any])


@dataclass(slots=True)
class _Subscription:
    kind: type[Event]
    handler: Callable[[Any], Awaitable[None] | None]
    # Events that an async handler has not begun: one at a time, in order, so that a slow one delays only itself.
    waiting: deque[Event] = field(default_factory=deque)
    running: bool = False


class EventBus:
    """Tells each event to the handlers of its class and its base classes, in the order in which they subscribed.

    Publishing never waits. Plain handlers run at once; each async handler gets its events one after the other in a task
    of the bus. A failing handler is logged and counted in ``failures``, and stops nobody. An async handler that is
    *max_waiting* events behind loses its oldest ones, counted in ``dropped``. What a handler publishes is told before
    the handlers behind it hear the event that it handles.
    """

    def __init__(self, *, max_waiting: int = 1000) -> None:
        self.failures = 0
        self.dropped = 0
        self._max_waiting = max_waiting
        self._subscriptions: list[_Subscription] = []
        self._routes: dict[type[Event], tuple[_Subscription, ...]] = {}
        self._tasks = Tasks("events")

    @overload
    def on(self, kind: type[E], handler: Handler[E]) -> Handler[E]: ...
    @overload
    def on(self, kind: str, handler: Handler[Any]) -> Handler[Any]: ...
    @overload
    def on(self, kind: type[E]) -> Callable[[Callable[[E], Any]], Callable[[E], Any]]: ...
    @overload
    def on(self, kind: str) -> Callable[[H], H]: ...

    def on(self, kind: type[Event] | str, handler: Any = None) -> Any:
        """Call *handler*, plain or async, for every *kind*: an event class, or its name in snake case.

        Without a handler it is a decorator. A class also hears its subclasses; ``Event`` hears everything.
        """
        wanted = kind_named(kind, {snake_name(k): k for k in all_kinds()}) if isinstance(kind, str) else kind

        def subscribe(function: Any) -> Any:
            self._subscriptions.append(_Subscription(wanted, function))
            self._routes.clear()
            return function

        return subscribe if handler is None else subscribe(handler)

    def off(self, kind: type[Event] | str, handler: Callable[..., Any]) -> None:
        """Stop calling *handler* for *kind*; what waits for it is dropped. Unknown handlers are ignored."""
        wanted = kind_named(kind, {snake_name(k): k for k in all_kinds()}) if isinstance(kind, str) else kind
        for subscription in self._subscriptions:
            if subscription.kind is wanted and subscription.handler == handler:
                self._subscriptions.remove(subscription)
                subscription.waiting.clear()
                break
        self._routes.clear()

    def publish(self, event: Event) -> None:
        """Tell *event* to everyone who asked."""
        kind = type(event)
        route = self._routes.get(kind)
        if route is None:
            route = self._routes[kind] = tuple(s for s in self._subscriptions if issubclass(kind, s.kind))
        for subscription in route:
            if subscription.running:
                self._queue(subscription, event)
                continue
            try:
                result = subscription.handler(event)
            except (Exception, asyncio.CancelledError) as error:
                self._failed(event, error)
                continue
            if inspect.isawaitable(result):
                subscription.running = True
                self._tasks.start(self._deliver(subscription, event, result), f"deliver_{snake_name(kind)}")

    def task_failed(self, name: str, error: BaseException) -> None:
        """Publish that a background task failed; give this to ``Tasks(on_failure=…)``."""
        self.publish(BackgroundTaskFailed(name, error))

    async def drain(self) -> None:
        """Wait until async handlers have finished what was published."""
        while len(self._tasks):
            await self._tasks.wait()

    async def aclose(self, *, patience_s: float = 0.5) -> None:
        """Cancel async handlers that have not finished after *patience_s*, and drop what waits for them.

        The last events are often those that matter. The bus can be used again afterwards.
        """
        await self._tasks.wait(patience_s)
        for subscription in self._subscriptions:
            subscription.waiting.clear()
        await self._tasks.aclose()
        self._tasks = Tasks("events")

    def _queue(self, subscription: _Subscription, event: Event) -> None:
        if len(subscription.waiting) >= self._max_waiting:
            subscription.waiting.popleft()
            self.dropped += 1
        subscription.waiting.append(event)

    async def _deliver(self, subscription: _Subscription, event: Event, result: Awaitable[None]) -> None:
        try:
            while True:
                try:
                    await result
                except Exception as error:
                    self._failed(event, error)
                except asyncio.CancelledError as error:
                    if is_being_cancelled():
                        raise
                    self._failed(event, error)
                if not subscription.waiting:
                    return
                event = subscription.waiting.popleft()
                result = self._call(subscription, event)
        finally:
            subscription.running = False

    async def _call(self, subscription: _Subscription, event: Event) -> None:
        result = subscription.handler(event)
        if inspect.isawaitable(result):
            await result

    def _failed(self, event: Event, error: BaseException) -> None:
        self.failures += 1
        logger.error("a handler of %s failed", snake_name(type(event)), exc_info=error)


class Observable:
    """Gives a part its own ``on("short_name", handler)`` over the bus that it publishes to."""

    event_names: ClassVar[Mapping[str, type[Event]]] = {}
    events: EventBus

    @overload
    def on(self, name: str, handler: Handler[Any]) -> Handler[Any]: ...
    @overload
    def on(self, name: str) -> Callable[[H], H]: ...

    def on(self, name: str, handler: Any = None) -> Any:
        """Call *handler*, plain or async, on the event *name* of this part; a decorator without a handler."""
        kind = kind_named(name, self.event_names)
        return self.events.on(kind) if handler is None else self.events.on(kind, handler)

    def off(self, name: str, handler: Callable[..., Any]) -> None:
        """Stop calling *handler* for the event *name*."""
        self.events.off(kind_named(name, self.event_names), handler)
