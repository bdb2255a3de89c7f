"""Flows that live in the process: for tests, and for bots whose flows are written in code."""

from collections import defaultdict
from collections.abc import Iterable

from ..errors import FlowError
from .model import Flow


class MemoryFlowStore:
    """A FlowStore without a database; *flows* are what every chatbot begins with."""

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        beginning = {flow.id: flow for flow in flows}
        self._flows: defaultdict[str, dict[str, Flow]] = defaultdict(beginning.copy)
        self._versions: defaultdict[str, int] = defaultdict(int)

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
        self._flows[chatbot_id][flow.id] = flow
        self._versions[chatbot_id] += 1

    async def remove(self, chatbot_id: str, flow_id: str) -> bool:
        """Remove a flow; False when there was none."""
        if self._flows[chatbot_id].pop(flow_id, None) is None:
            return False
        self._versions[chatbot_id] += 1
        return True
