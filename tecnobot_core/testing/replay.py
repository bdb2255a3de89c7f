"""What became of each message of a replayed conversation."""

from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from ..events import DuplicateIgnored, EventBus, MessageAccepted, MessageSent, TurnCommitted
from ..messages import ChatId, Turn


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """``lost``: accepted, but no turn finished them. ``out_of_order``: finished before an earlier one of their chat."""

    messages: int
    duplicates: int
    chats: int
    by: dict[str, int]
    lost: int
    out_of_order: int
    sent: int
    unsent: int
    p50_ms: float
    p99_ms: float


class ReplayReport:
    """Follows the messages of a bot through its *events*; *on_turn* hears each turn when it is committed."""

    def __init__(self, events: EventBus, *, on_turn: Callable[[Turn], object] | None = None) -> None:
        self._on_turn = on_turn
        self._messages = 0
        self._duplicates = 0
        self._out_of_order = 0
        self._decided = 0
        self._sent = 0
        self._chats: defaultdict[ChatId, deque[str]] = defaultdict(deque)
        self._by: Counter[str] = Counter()
        self._took_ms = array("f")
        events.on(MessageAccepted, self._accepted)
        events.on(DuplicateIgnored, self._duplicate)
        events.on(TurnCommitted, self._committed)
        events.on(MessageSent, self._was_sent)

    def summary(self) -> ReplaySummary:
        """What is known now."""
        took_ms = sorted(self._took_ms)
        return ReplaySummary(
            messages=self._messages,
            duplicates=self._duplicates,
            chats=len(self._chats),
            by=dict(self._by.most_common()),
            lost=sum(map(len, self._chats.values())),
            out_of_order=self._out_of_order,
            sent=self._sent,
            unsent=self._decided - self._sent,
            p50_ms=_quantile(took_ms, 0.50),
            p99_ms=_quantile(took_ms, 0.99),
        )

    def _accepted(self, event: MessageAccepted) -> None:
        self._messages += 1
        self._chats[event.chat].append(event.message_id)

    def _duplicate(self, event: DuplicateIgnored) -> None:
        self._duplicates += 1

    def _committed(self, event: TurnCommitted) -> None:
        turn, open_ids = event.turn, self._chats.get(event.turn.chat)
        if open_ids is None or not all(id in open_ids for id in turn.inbound):
            return  # accepted before this report began
        self._out_of_order += list(turn.inbound) != [open_ids[n] for n in range(min(len(turn.inbound), len(open_ids)))]
        for id in turn.inbound:
            open_ids.remove(id)
        self._by[turn.answered_by] += 1
        self._decided += len(turn.outgoing)
        self._took_ms.append(event.took_s * 1000)
        if self._on_turn is not None:
            self._on_turn(turn)

    def _was_sent(self, event: MessageSent) -> None:
        self._sent += 1


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
