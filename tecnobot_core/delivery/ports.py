"""Where messages wait and conversations are remembered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..messages import ChatId, Conversation, InboundMessage, OutboundMessage, Turn

SendOutcome = Literal["sent", "uncertain", "rejected"]


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An outgoing message that waits to be sent; ``id`` is the store's."""

    id: int
    message: OutboundMessage


class DeliveryStore(Protocol):
    """Keeps what was accepted until it is done, and what was decided until it is sent.

    A message id is accepted once. A turn is committed as a whole or not at all, and again without effect when its
    inbound messages are done already. Entries come back in the order in which their turn held them.
    """

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[InboundMessage]:
        """Journal *messages*; return the new ones, in order. Waits while the store is full."""
        ...

    async def commit(self, turns: Sequence[Turn]) -> Sequence[OutboxEntry]:
        """Store the effects of *turns* and mark their messages done; return what is now to be sent."""
        ...

    async def post(self, messages: Sequence[OutboundMessage]) -> Sequence[OutboxEntry]:
        """Put messages that answer nobody into the outbox; known keys are left out."""
        ...

    async def settle(self, outcomes: Mapping[int, SendOutcome]) -> None:
        """Record how sending ended, by entry id."""
        ...


class Conversations(Protocol):
    """Remembers each chat. Failures are StoreError."""

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        """The last *limit* rows of *chat*, oldest first, and its position; empty for an unknown chat."""
        ...

    async def record(self, turns: Sequence[Turn]) -> None:
        """Append the history and set the positions of *turns*, all or nothing."""
        ...

    async def delete(self, chat: ChatId) -> int:
        """Forget everything about *chat*; return how many history rows that were."""
        ...

    async def export(self, chat: ChatId) -> Mapping[str, object]:
        """Everything held about *chat*, in JSON types."""
        ...
