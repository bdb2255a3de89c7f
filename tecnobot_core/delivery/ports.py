"""Where messages wait and conversations are remembered."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from ..messages import ChatId, Conversation, InboundMessage, OutboundMessage, Turn

SendState = Literal["waiting", "taken", "sent", "uncertain", "rejected", "expired"]
MAX_PINNED = 3  # pinned rows that a load adds to the last ones; as many as a history window keeps by default
# What a link may know of a message, by its key: "no" was surely not sent, "maybe" is all that it knows.
Outcome = Literal["sent", "no", "maybe"]
# None: the link does not know. TransportError: it could not be asked now.
AskOutcome = Callable[[str], Awaitable[Outcome | None]]
OPEN_STATES: frozenset[SendState] = frozenset({"waiting", "taken"})


@dataclass(frozen=True, slots=True)
class Group:
    """Messages that are one turn: its id, and how many they are."""

    id: str
    size: int


@dataclass(frozen=True, slots=True)
class Pending:
    """An accepted message that is not done.

    ``seq`` counts what the chatbot has accepted, whichever process did: one by one, and whoever sees one sees all that
    came before it. ``group`` is what ``record_groups`` told of it; None when it may still be grouped.
    """

    seq: int
    message: InboundMessage
    group: Group | None = None


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An outgoing message that is to be sent; ``id`` is the store's.

    ``id`` is above 0, and whoever sees an entry sees all with a lower one. ``state`` is "waiting", or "taken" when it
    was marked as being sent. ``age_s`` is how long ago it was decided.
    """

    id: int
    message: OutboundMessage
    state: SendState
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Due:
    """Signals that were journaled for conversations whose time had come; ``next_at``: when the next one's comes."""

    pending: Sequence[Pending] = ()
    next_at: float | None = None


class Inbox(Protocol):
    """Keeps what was accepted until a turn has done it. A message id is accepted once."""

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
        """Journal *messages*; the ``seq`` of each new one, None for each known one. Waits while the inbox is full."""
        ...

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        """The first *limit* messages that are not done, of those with ``seq`` above *after*, in order.

        Fewer only where there are no more. What cannot be read any more is left out and logged.
        """
        ...

    async def record_groups(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Record which messages are one turn: by its id, theirs. A message that has a group keeps it."""
        ...

    async def claim_due(self, until: float, limit: int) -> Due:
        """Journal a signal "due" for each of the first *limit* conversations whose ``Position.due_at`` has come.

        That is at most *until*, in Unix seconds. A conversation is claimed once for each position that is stored, and
        not while an earlier signal of its own is not done. ``sent_at`` of a signal is when it was due; where a store
        rounds times, not before the position says so.
        """
        ...

    async def commit(
        self, turns: Sequence[Turn], *, taken: Collection[str] = (), again_at: float | None = None
    ) -> Sequence[OutboxEntry]:
        """Store the effects of *turns*, each as a whole, and end their messages; what is now to be sent, in order.

        A turn whose messages are done already has no effect. Outgoing messages whose key is in *taken* are marked as
        being sent in the same transaction. Only an answered turn changes the conversation; that of a failed one, if it
        was claimed and stands where it stood, is due again at *again_at*.
        """
        ...


class Outbox(Protocol):
    """Keeps what was decided until it is sent. A key is sent once."""

    async def post(self, messages: Sequence[OutboundMessage]) -> Sequence[OutboxEntry]:
        """Put messages that answer nobody into the outbox; known keys are left out."""
        ...

    async def move(self, states: Mapping[int, SendState], *, urgent: bool = True) -> None:
        """Record what becomes of entries, by their id; what is not *urgent* may wait a moment for another write."""
        ...

    async def interrupted(self) -> Sequence[OutboxEntry]:
        """What earlier processes were sending when they ended; it may or may not have arrived.

        As "taken" where ``move`` is still to tell what became of it; until then it is handed out to whoever owns next.
        Or once, as "uncertain" and thereby ended, by a store that keeps nothing of it to be sent again.
        """
        ...

    async def unsent(self, after: int, limit: int) -> Sequence[OutboxEntry]:
        """The first *limit* entries that are "waiting", of those with an id above *after*, in order.

        Fewer only where there are no more. What cannot be read any more is rejected and logged.
        """
        ...


class DeliveryStore(Inbox, Outbox, Protocol):
    """An inbox and an outbox that commit together, owned by one process at a time.

    Entering takes the ownership. From then on the writes of an earlier owner raise LeaseLostError, but for ``accept``:
    what is journaled is answered by whoever owns. Everything else that goes wrong is StoreError.
    """

    async def confirm(self) -> None:
        """Raise LeaseLostError when another process has become the owner."""
        ...

    async def purge(self, older_than_s: float, batch: int = 5000) -> int:
        """Forget the ids of messages that are done, and entries that ended, after *older_than_s*; return how many.

        At most *batch* are deleted at once. What is forgotten could be accepted or said again.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Conversations(Protocol):
    """Remembers each chat. Failures are StoreError."""

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        """The last *limit* rows of *chat*, up to MAX_PINNED older ones that are pinned before them, and its position.

        Oldest first; empty for an unknown chat. ``welcomed_at`` is the latest of all turns, to the microsecond.
        """
        ...

    async def record(self, turns: Sequence[Turn]) -> None:
        """Append the history and forms of *turns*, set positions and when they welcomed, all or nothing."""
        ...

    async def delete(self, chat: ChatId) -> int:
        """Forget everything about *chat*; return how many history rows that were."""
        ...

    async def export(self, chat: ChatId) -> Mapping[str, object]:
        """Everything held about *chat*, in JSON types."""
        ...
