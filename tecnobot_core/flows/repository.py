"""Holds the flows of a chatbot in memory, and keeps them as the store has them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

from ..errors import FlowError, LifecycleError, StoreError
from ..events import EventBus, FlowsLoaded
from ..messages import Position
from ..tasks import wait_or_sleep
from .loading import Loaded, load
from .matching import MatchIndex, RegexEngine
from .model import Flow, FlowEvent, FlowMatch
from .ports import FlowStore, KeepsVersions, TellsChanges
from .program import Program
from .suggestions import Suggestions
from .versions import Programs

logger = logging.getLogger(__name__)


PURGE_EVERY_S = 3600.0


class FlowRepository:
    """The conversations that the owner wrote; finds the right one in microseconds.

    Matching never waits: it looks into an index that ``load`` builds and that is swapped as a whole. A store that fails
    later, or a flow that is broken, leaves the rest answering; a flow that breaks is served as it was before. Flows
    with regular expressions need an *engine* (``adapters.regular_expressions.Re2Set``); with *suggestions* a mistyped
    keyword can be asked back.
    """

    def __init__(
        self,
        store: FlowStore,
        chatbot_id: str,
        *,
        events: EventBus | None = None,
        engine: RegexEngine | None = None,
        suggestions: Suggestions | None = None,
        poll_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._chatbot_id = chatbot_id
        self._events = events
        self._engine = engine
        self._suggestions = suggestions
        self._poll_s = poll_s
        self._clock = clock
        self._sleep = sleep
        self._loaded: Loaded | None = None
        self._programs = self._no_programs()
        self._used_at = clock()
        # One load at a time: an older answer of the store must not replace a newer one.
        self._loading = asyncio.Lock()
        self._released = False
        self._failing = False

    def __len__(self) -> int:
        return 0 if self._loaded is None else len(self._loaded.index)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._index())

    @property
    def used_bytes(self) -> int:
        """About what the flows and their index take in memory."""
        return 0 if self._loaded is None else self._loaded.used_bytes

    @property
    def idle_s(self) -> float:
        """For how long nobody asked for a flow."""
        return self._clock() - self._used_at

    def get(self, flow_id: str) -> Flow | None:
        """The flow of that id."""
        return self._index().get(flow_id)

    def program(self, flow_id: str, version: int | None = None) -> Program | None:
        """The steps of a flow, as they are now or of *version*; None where there is no such flow or version.

        An older version is found once ``load_versions`` has read it.
        """
        flow = self._index().get(flow_id)
        current = None if flow is None else self._programs.current(flow)
        if version is None or (current is not None and current.version == version):
            return current
        return self._programs.old(flow_id, version)

    def match(self, text: str, *, interrupting_only: bool = False) -> FlowMatch | None:
        """The flow that *text* starts, of all or of those that interrupt; see MatchIndex for what wins."""
        return self._index().find(text, interrupting_only=interrupting_only)

    def suggest(self, text: str) -> FlowMatch | None:
        """The flow of which *text* looks like a mistyped keyword. Ask ``match`` first."""
        return self._index().suggest(text)

    def event(self, name: FlowEvent) -> FlowMatch | None:
        """The flow that the event *name* starts: something other than text came, or nothing else fits."""
        return self._index().event(name)

    async def ready(self) -> None:
        """Load, unless that is done and was not released. Costs nothing then, so await it for every message.

        Raises StoreError.
        """
        self._used_at = self._clock()
        if self._loaded is None:
            async with self._loading:
                if self._loaded is None:
                    await self._load(await self._store.version(self._chatbot_id))

    async def load(self) -> None:
        """Read all flows of the chatbot. Raises StoreError, and keeps what was loaded before."""
        async with self._loading:
            version = await self._store.version(self._chatbot_id)
            await self._load(version, changes_only=False)

    async def load_versions(self, position: Position) -> None:
        """Make ``program`` find the versions that *position* stands on, as far as they are kept. Raises StoreError."""
        await self.ready()
        frames = [(position.flow, position.version), *((flow, version) for flow, _, version in position.stack)]
        # Also builds the current ones, so that a change before they are asked for finds them in use.
        old = [frame for frame in frames if all(frame) and not self._is_current(*frame)]
        if old and self._loaded is not None:
            await self._programs.load(old, self._loaded.version)

    async def move_conversations(self, flow_id: str) -> None:
        """Let conversations in older versions of a flow go on in the current one now, at the step with the same id.

        Other processes notice it as they notice a change. Raises StoreError.
        """
        if isinstance(self._store, KeepsVersions):
            await self._store.retire_versions(self._chatbot_id, flow_id)
        self._programs.forget(flow_id)
        await self.refresh()

    def release(self) -> int:
        """Drop what ``ready`` loads again; about how many bytes that were."""
        freed_bytes = self.used_bytes
        self._released = self._loaded is not None
        self._loaded, self._programs = None, self._no_programs()
        return freed_bytes

    async def refresh(self) -> bool:
        """Load when the store has another version; True when it had. A failing store is logged once, then awaited."""
        try:
            changed = await self._follow()
        except StoreError as error:
            if not self._failing:
                logger.warning("the flows of %s cannot be read, the last ones stay: %s", self._chatbot_id, error)
            self._failing = True
            return False
        self._failing = False
        return changed

    async def watch(self) -> None:
        """Refresh as soon as the store tells of a change, and every ``poll_s``, until cancelled.

        After loading it pauses for as long as that took, so that many changes in a row cost half of the time. What was
        released stays so until it is used. Every hour versions that nobody needs any more are deleted.
        """
        purged_at = self._clock()
        async with self._changes() as changed:
            while True:
                if self._clock() - purged_at >= PURGE_EVERY_S:
                    purged_at = self._clock()
                    await self.purge_versions()
                if changed is not None:
                    changed.clear()
                began_at = self._clock()
                if not self._released and await self.refresh() and changed is not None:
                    await self._sleep(self._clock() - began_at)
                if changed is None:
                    await self._sleep(self._poll_s)
                else:
                    await wait_or_sleep(changed, self._poll_s, sleep=self._sleep)

    async def purge_versions(self) -> int:
        """Delete old versions on which no conversation stands; return how many. A failing store waits for the next."""
        if not isinstance(self._store, KeepsVersions):
            return 0
        try:
            return await self._store.purge_versions(self._chatbot_id)
        except StoreError as error:
            logger.warning("old versions of the flows of %s stay for now: %s", self._chatbot_id, error)
            return 0

    async def add(self, flow: Flow) -> None:
        """Store a new flow and serve it. Raises FlowError when it is wrong or its id is taken."""
        self._check(flow)
        if not await self._store.add(self._chatbot_id, flow):
            raise FlowError(f"flow {flow.id!r}: there is one with this id already; replace it, or choose another id")
        await self.refresh()

    async def replace(self, flow: Flow) -> None:
        """Store *flow* in the place of the one with its id, if there is one, and serve it. Raises FlowError."""
        self._check(flow)
        await self._store.put(self._chatbot_id, flow)
        await self.refresh()

    async def remove(self, flow: Flow | str) -> bool:
        """Remove a flow, given itself or its id; False when there was none."""
        removed = await self._store.remove(self._chatbot_id, flow if isinstance(flow, str) else flow.id)
        await self.refresh()
        return removed

    def _check(self, flow: Flow) -> None:
        flow.check()
        if errors := MatchIndex([flow], engine=self._engine).broken:
            raise errors[0]

    def _index(self) -> MatchIndex:
        self._used_at = self._clock()
        if self._loaded is None:
            raise LifecycleError("the flows are not loaded yet; await load() first, or ready() before each use")
        return self._loaded.index

    def _is_current(self, flow_id: str, version: int) -> bool:
        flow = self._index().get(flow_id)
        return flow is not None and self._programs.current(flow).version == version

    def _no_programs(self) -> Programs:
        return Programs(self._chatbot_id, self._store if isinstance(self._store, KeepsVersions) else None)

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[asyncio.Event | None]:
        if isinstance(self._store, TellsChanges):
            async with self._store.changes(self._chatbot_id) as changed:
                yield changed
        else:
            yield None

    async def _follow(self) -> bool:
        async with self._loading:
            version = await self._store.version(self._chatbot_id)
            changed = self._loaded is None or self._loaded.version != version
            if changed:
                await self._load(version)
            return changed

    async def _load(self, version: int, *, changes_only: bool = True) -> None:
        before = self._loaded
        self._loaded = loaded = await load(
            self._store, self._chatbot_id, version, self._arrange, before, changes_only=changes_only
        )
        self._released = False
        self._programs.follow(loaded.index)
        for id, error in loaded.broken.items():
            if before is None or before.broken.get(id) is not error:
                goes_on = "with the last good version of" if loaded.index.get(id) is not None else "without"
                logger.warning("chatbot %s goes on %s a flow: %s", self._chatbot_id, goes_on, error)
        if self._events is not None:
            self._events.publish(FlowsLoaded(self._chatbot_id, len(loaded.index), len(loaded.broken)))

    def _arrange(self, flows: Iterable[Flow]) -> MatchIndex:
        return MatchIndex(flows, engine=self._engine, suggestions=self._suggestions)
