"""What happened, as frozen values, and the bus that tells those who asked."""

import asyncio
import inspect
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, overload

from .messages import ChatId, Turn
from .tasks import Tasks, is_being_cancelled

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. Past tense: an event is a fact, not a request."""


@dataclass(frozen=True, slots=True)
class MessageAccepted(Event):
    """An inbound message was journaled and will be handled."""

    chat: ChatId
    message_id: str


@dataclass(frozen=True, slots=True)
class DuplicateIgnored(Event):
    """An inbound message came again with an id that was accepted before."""

    chat: ChatId
    message_id: str


@dataclass(frozen=True, slots=True)
class TurnCommitted(Event):
    """A turn and all its effects were stored; its messages are on their way."""

    turn: Turn
    took_s: float


@dataclass(frozen=True, slots=True)
class TurnFailed(Event):
    """Handling a message raised; the chat goes on with its next message."""

    chat: ChatId
    message_id: str
    error: Exception


@dataclass(frozen=True, slots=True)
class StoodDown(Event):
    """Another process has become the owner of the chatbot; this one handles and sends nothing more."""


@dataclass(frozen=True, slots=True)
class MessageSent(Event):
    """The transport took an outgoing message."""

    chat: ChatId
    key: str


@dataclass(frozen=True, slots=True)
class SendUncertain(Event):
    """The link broke while a message was being sent; it may or may not have arrived, and is not sent again."""

    chat: ChatId
    key: str
    error: Exception


@dataclass(frozen=True, slots=True)
class SendRejected(Event):
    """A message can never be sent."""

    chat: ChatId
    key: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Connecting(Event):
    """A connection attempt began; *attempt* counts failures since the last stable connection."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """The transport is up, after *downtime_s* without it."""

    downtime_s: float


@dataclass(frozen=True, slots=True)
class Disconnected(Event):
    """The transport went down after it was up."""

    reason: str
    will_reconnect: bool


@dataclass(frozen=True, slots=True)
class ReconnectScheduled(Event):
    """The next attempt comes in *delay_s*."""

    attempt: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class HeartbeatMissed(Event):
    """The link did not answer in time."""

    missed: int


@dataclass(frozen=True, slots=True)
class ConnectionFailed(Event):
    """The connection will not be tried again without somebody's help."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ConnectionClosed(Event):
    """The connection was closed on purpose, or its input ended."""


@dataclass(frozen=True, slots=True)
class MemoryPressureChanged(Event):
    """Memory use crossed a threshold; *level* is "normal", "warning" or "critical"."""

    level: str
    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryWarningBegan(MemoryPressureChanged):
    """The level is "warning" now; parts give memory back."""


@dataclass(frozen=True, slots=True)
class MemoryCriticalBegan(MemoryPressureChanged):
    """The level is "critical" now; attachments are refused."""


@dataclass(frozen=True, slots=True)
class MemoryNormalBegan(MemoryPressureChanged):
    """The level is "normal" again."""


@dataclass(frozen=True, slots=True)
class FlowsLoaded(Event):
    """The flows of a chatbot were read; broken ones were left out and logged."""

    chatbot_id: str
    flows: int
    broken: int


@dataclass(frozen=True, slots=True)
class DatabaseAcquireSlow(Event):
    """Somebody had to wait *waited_s* for a connection to the database, and may have gone without."""

    waited_s: float


@dataclass(frozen=True, slots=True)
class BackgroundTaskFailed(Event):
    """A background task raised."""

    name: str
    error: BaseException


E = TypeVar("E", bound=Event)
Handler = Callable[[E], Awaitable[None] | None]
H = TypeVar("H", bound=Callable[..., Any])


def snake_name(kind: type[Event]) -> str:
    """``MemoryPressureChanged`` is "memory_pressure_changed"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def _all_kinds(kind: type[Event] = Event) -> Iterator[type[Event]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _all_kinds(child)


def _kind_named(name: str, kinds: Mapping[str, type[Event]]) -> type[Event]:
    try:
        return kinds[name]
    except KeyError:
        raise ValueError(f"there is no event {name!r}; there are: {', '.join(sorted(kinds))}") from None


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
        wanted = _kind_named(kind, {snake_name(k): k for k in _all_kinds()}) if isinstance(kind, str) else kind

        def subscribe(function: Any) -> Any:
            self._subscriptions.append(_Subscription(wanted, function))
            self._routes.clear()
            return function

        return subscribe if handler is None else subscribe(handler)

    def off(self, kind: type[Event] | str, handler: Callable[..., Any]) -> None:
        """Stop calling *handler* for *kind*; what waits for it is dropped. Unknown handlers are ignored."""
        wanted = _kind_named(kind, {snake_name(k): k for k in _all_kinds()}) if isinstance(kind, str) else kind
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
        kind = _kind_named(name, self.event_names)
        return self.events.on(kind) if handler is None else self.events.on(kind, handler)

    def off(self, name: str, handler: Callable[..., Any]) -> None:
        """Stop calling *handler* for the event *name*."""
        self.events.off(_kind_named(name, self.event_names), handler)
