"""Flows that live in the process: for tests, and for bots whose flows are written in code."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable

from ..errors import FlowError
from .model import Flow
from .steps import AnyStep
from .versions import version_of

_MAX_OLD = 256  # versions for each chatbot


class MemoryFlowStore:
    """A FlowStore without a database; *flows* are what every chatbot begins with.

    Of flows that were replaced or removed it keeps the last versions (KeepsVersions).
    """

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        beginning = {flow.id: flow for flow in flows}
        self._flows: defaultdict[str, dict[str, Flow]] = defaultdict(beginning.copy)
        self._versions: defaultdict[str, int] = defaultdict(int)
        self._old: defaultdict[str, OrderedDict[tuple[str, int], tuple[AnyStep, ...]]] = defaultdict(OrderedDict)

    async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
        """The flows of a chatbot by id, and one error for each that is broken."""
        flows: list[Flow] = []
        broken: list[FlowError] = []
        for _, flow in sorted(self._flows[chatbot_id].items()):
            try:
                flow.check()
                flows.append(flow)
            except FlowError as error:
                broken.append(error)
        return flows, broken

    async def version(self, chatbot_id: str) -> int:
        """How often the flows of a chatbot changed."""
        return self._versions[chatbot_id]

    async def add(self, chatbot_id: str, flow: Flow) -> bool:
        """Add *flow*; False when there is one with its id."""
        if flow.id in self._flows[chatbot_id]:
            return False
        await self.put(chatbot_id, flow)
        return True

    async def put(self, chatbot_id: str, flow: Flow) -> None:
        """Add *flow*, or replace the one with its id."""
        self._keep(chatbot_id, self._flows[chatbot_id].get(flow.id))
        self._flows[chatbot_id][flow.id] = flow
        self._versions[chatbot_id] += 1

    async def remove(self, chatbot_id: str, flow_id: str) -> bool:
        """Remove a flow; False when there was none."""
        removed = self._flows[chatbot_id].pop(flow_id, None)
        if removed is None:
            return False
        self._keep(chatbot_id, removed)
        self._versions[chatbot_id] += 1
        return True

    async def load_version(self, chatbot_id: str, flow_id: str, version: int) -> tuple[AnyStep, ...] | None:
        """The steps of a version of a flow, the current one or one of the last that were replaced or removed."""
        current = self._flows[chatbot_id].get(flow_id)
        if current is not None and version_of(current) == version:
            return current.steps
        return self._old[chatbot_id].get((flow_id, version))

    async def retire_versions(self, chatbot_id: str, flow_id: str) -> None:
        """Forget what a flow was before."""
        old = self._old[chatbot_id]
        for key in [key for key in old if key[0] == flow_id]:
            del old[key]
        self._versions[chatbot_id] += 1

    async def purge_versions(self, chatbot_id: str) -> int:
        """Nothing: which versions conversations stand on is not known here, and there are only so many."""
        return 0

    def _keep(self, chatbot_id: str, flow: Flow | None) -> None:
        if flow is None:
            return
        try:
            flow.check()
        except FlowError:
            return  # it was never served, so no conversation stands on it
        old, key = self._old[chatbot_id], (flow.id, version_of(flow))
        old[key] = flow.steps
        old.move_to_end(key)
        while len(old) > _MAX_OLD:
            old.popitem(last=False)
