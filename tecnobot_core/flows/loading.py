"""Reads the flows of a chatbot: all of them, or what changed since."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..errors import FlowError
from .matching import MatchIndex
from .model import Flow
from .ports import FlowStore, LoadsChanges
from .sizes import estimate_bytes

_BUILD_IN_A_THREAD = 500  # flows; arranging so many takes longer than the event loop should wait

Arrange = Callable[[Iterable[Flow]], MatchIndex]
Found = Mapping[str, Flow | FlowError]  # by id: a flow, or why it is broken


@dataclass(frozen=True, slots=True)
class Loaded:
    """The flows of a chatbot as they were at *version*; ``broken`` tells why some are not, by id where that is known.

    A flow that is broken now is served as it was before, as long as the process remembers.
    """

    version: int
    index: MatchIndex
    broken: Mapping[str, FlowError]
    used_bytes: int


async def load(
    store: FlowStore, chatbot_id: str, version: int, arrange: Arrange, before: Loaded | None, *, changes_only: bool
) -> Loaded:
    """What the store has now; with *changes_only* what did not change is taken from *before*. Raises StoreError.

    *version* was read before, so that a change in between is seen as one by the next look, never missed.
    """
    found = None
    if changes_only and before is not None and before.version < version and isinstance(store, LoadsChanges):
        found = await _changed(store, chatbot_id, before)
    if found is None:
        flows, errors = await store.load(chatbot_id)
        found = {flow.id: flow for flow in flows} | {_id(error): error for error in errors}

    def work() -> Loaded:
        return _arranged(version, found, before, arrange)

    return await asyncio.to_thread(work) if len(found) > _BUILD_IN_A_THREAD else work()


async def _changed(store: LoadsChanges, chatbot_id: str, before: Loaded) -> Found | None:
    known: dict[str, Flow | FlowError] = {flow.id: flow for flow in before.index}
    known |= before.broken
    changes = await store.load_changes(chatbot_id, before.version, known.keys())
    if changes is None:
        return None
    for id, change in changes.items():
        if change is None:
            known.pop(id, None)
        else:
            known[id] = change
    return known


def _arranged(version: int, found: Found, before: Loaded | None, arrange: Arrange) -> Loaded:
    flows = {id: flow for id, flow in found.items() if isinstance(flow, Flow)}
    broken = {id: error for id, error in found.items() if isinstance(error, FlowError)}
    index = arrange(flows.values())
    refused = (id for id in flows if index.get(id) is None)
    broken |= zip(refused, index.broken, strict=True)
    good = [flow for id in broken if before is not None and (flow := before.index.get(id)) is not None]
    if good:
        index = arrange([*(flow for id, flow in flows.items() if id not in broken), *good])
    return Loaded(version, index, broken, estimate_bytes(index))


def _id(error: FlowError) -> str:
    return error.problems[0].flow_id if error.problems else str(error)
