"""Where flows are kept, and what some of these places can do besides."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from ..errors import FlowError
from .model import Flow
from .steps import AnyStep


class FlowStore(Protocol):
    """Where flows are kept. Failures are StoreError."""

    async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
        """The active flows of a chatbot, and one error for each that is broken."""
        ...

    async def version(self, chatbot_id: str) -> int:
        """A number that grows with every change of the chatbot's flows."""
        ...

    async def add(self, chatbot_id: str, flow: Flow) -> bool:
        """Add *flow*; False, and nothing changed, when there is one with its id."""
        ...

    async def put(self, chatbot_id: str, flow: Flow) -> None:
        """Add *flow*, or replace the one with its id."""
        ...

    async def remove(self, chatbot_id: str, flow_id: str) -> bool:
        """Remove a flow; False when there was none."""
        ...


@runtime_checkable
class KeepsVersions(Protocol):
    """A FlowStore that keeps what flows were before, for the conversations that began with it."""

    async def load_version(self, chatbot_id: str, flow_id: str, version: int) -> tuple[AnyStep, ...] | None:
        """The steps of one version of a flow, the current one or an older; None where it is not kept (any more).

        Raises FlowError when it cannot be read any more.
        """
        ...

    async def retire_versions(self, chatbot_id: str, flow_id: str) -> None:
        """Forget all versions of a flow but the current one. It counts as a change of the chatbot's flows."""
        ...

    async def purge_versions(self, chatbot_id: str) -> int:
        """Forget versions that no conversation stands on; how many that were."""
        ...


@runtime_checkable
class LoadsChanges(Protocol):
    """A FlowStore that can tell what changed, so that the rest is not read again."""

    async def load_changes(
        self, chatbot_id: str, since: int, known: Collection[str]
    ) -> Mapping[str, Flow | FlowError | None] | None:
        """By id, what became of flows after the version *since*: the flow, why it is broken, None where it is gone.

        *known* are the ids that were told before. None where it cannot be told: then all are to be read.
        """
        ...


@runtime_checkable
class TellsChanges(Protocol):
    """A FlowStore that tells when flows change, where it can."""

    def changes(self, chatbot_id: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """Inside, the event is set by each change, and whenever one may have been missed; who waits for it clears it.

        Where nothing can be told it is never set, so look at the version now and then as well.
        """
        ...
