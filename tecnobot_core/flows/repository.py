"""Holds the flows of a chatbot in memory, and keeps them as the store has them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

from ..errors import FlowError, LifecycleError, StoreError
from ..events import EventBus, FlowsLoaded
from .matching import MatchIndex, RegexEngine
from .model import Flow, FlowEvent, FlowMatch, FlowStore
from .program import Program
from .suggestions import Suggestions

logger = logging.getLogger(__name__)

_BUILD_IN_A_THREAD = 500  # flows; arranging so many takes longer than the event loop should wait


class FlowRepository:
    """The conversations that the owner wrote; finds the right one in microseconds.

    Matching never waits: it looks into an index that ``load`` builds and that is swapped as a whole. A store that fails
    later, or a flow that is broken, leaves the rest answering. Flows with regular expressions need an *engine*
    (``adapters.regular_expressions.Re2Set``); with *suggestions* a mistyped keyword can be asked back.
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
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._chatbot_id = chatbot_id
        self._events = events
        self._engine = engine
        self._suggestions = suggestions
        self._programs: dict[str, Program] = {}
        self._poll_s = poll_s
        self._sleep = sleep
        self._index: MatchIndex | None = None
        self._version: int | None = None
        # One load at a time: an older answer of the store must not replace a newer one.
        self._loading = asyncio.Lock()
        self._failing = False

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._index)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._loaded())

    def get(self, flow_id: str) -> Flow | None:
        """The flow of that id."""
        return self._loaded().get(flow_id)

    def program(self, flow_id: str, version: int | None = None) -> Program | None:
        """The steps of a flow, of *version* or as they are now; None where there is no such flow or version."""
        flow = self._loaded().get(flow_id)
        if flow is None or version not in (None, self._version):
            return None
        if (program := self._programs.get(flow_id)) is None:
            program = self._programs[flow_id] = Program(flow_id, self._version or 0, flow.steps)
        return program

    def match(self, text: str, *, interrupting_only: bool = False) -> FlowMatch | None:
        """The flow that *text* starts, of all or of those that interrupt; see MatchIndex for what wins."""
        return self._loaded().find(text, interrupting_only=interrupting_only)

    def suggest(self, text: str) -> FlowMatch | None:
        """The flow of which *text* looks like a mistyped keyword. Ask ``match`` first."""
        return self._loaded().suggest(text)

    def event(self, name: FlowEvent) -> FlowMatch | None:
        """The flow that the event *name* starts: something other than text came, or nothing else fits."""
        return self._loaded().event(name)

    async def load(self) -> None:
        """Read all flows of the chatbot. Raises StoreError, and keeps what was loaded before."""
        async with self._loading:
            # The version first: a change in between is then seen as one by the next refresh, never missed.
            version = await self._store.version(self._chatbot_id)
            flows, broken = await self._store.load(self._chatbot_id)
            self._index = index = await self._arrange(flows)
            self._version = version
            self._programs = {}
        broken = [*broken, *index.broken]
        for error in broken:
            logger.warning("chatbot %s goes on without a flow: %s", self._chatbot_id, error)
        if self._events is not None:
            self._events.publish(FlowsLoaded(self._chatbot_id, len(index), len(broken)))

    async def refresh(self) -> bool:
        """Load when the store has another version; True when it had. A failing store is logged once, then awaited."""
        try:
            changed = await self._store.version(self._chatbot_id) != self._version
            if changed:
                await self.load()
        except StoreError as error:
            if not self._failing:
                logger.warning("the flows of %s cannot be read, the last ones stay: %s", self._chatbot_id, error)
            self._failing = True
            return False
        self._failing = False
        return changed

    async def watch(self) -> None:
        """Refresh every ``poll_s`` until cancelled."""
        while True:
            await self.refresh()
            await self._sleep(self._poll_s)

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

    async def _arrange(self, flows: list[Flow]) -> MatchIndex:
        def arrange() -> MatchIndex:
            return MatchIndex(flows, engine=self._engine, suggestions=self._suggestions)

        return await asyncio.to_thread(arrange) if len(flows) > _BUILD_IN_A_THREAD else arrange()

    def _loaded(self) -> MatchIndex:
        if self._index is None:
            raise LifecycleError("the flows are not loaded yet; await load() first")
        return self._index
