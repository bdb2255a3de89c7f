"""Which messages of a chat are one turn."""

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise, takewhile
from typing import Any

from ..messages import ChatId, InboundMessage
from ..tasks import Tasks
from .ports import Group

# In 1970 nobody sent a message: a time of that year is a test's, and has no age.
FIRST_TIME_S = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message in a lane; ``at`` is when it came there."""

    message: InboundMessage
    group: Group | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPolicy:
    """Which messages of a chat are one turn, and when it is too late for one. All in seconds; 0 turns a rule off.

    *quiet_s* waits for fragments: texts of one chat with less than that between them are one message, for at most
    *max_wait_s*. *collapse_after_s*: where the oldest message that waits is older, the newest is answered, and the
    others count as said before it. *expire_after_s*: where even the newest is older, nothing is said. Ages are those
    of ``InboundMessage.sent_at`` by this machine's clock.
    """

    quiet_s: float = 0.0
    max_wait_s: float = 10.0
    collapse_after_s: float = 900.0
    expire_after_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("quiet_s", "max_wait_s", "collapse_after_s", "expire_after_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more seconds, not {getattr(self, name)}")
        if self.quiet_s > self.max_wait_s:
            raise ValueError(f"quiet_s ({self.quiet_s}) must be at most max_wait_s ({self.max_wait_s})")


class Grouping:
    """Says of a lane how many of its messages are the next turn, and makes one message of them.

    A signal is a turn of its own, whatever its age, and what came before it is not grouped with what came after.
    What was recorded as a group stays one: ``is_complete`` tells whether all that is in the store is in lanes.
    *wake* is called when a chat that was told to wait has been quiet.
    """

    def __init__(
        self,
        policy: TurnPolicy,
        *,
        is_complete: Callable[[], bool],
        wake: Callable[[ChatId], object],
        tasks: Tasks,
        clock: Callable[[], float],
        sleep: Callable[[float], Coroutine[Any, Any, object]],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._policy = policy
        self._is_complete = is_complete
        self._wake = wake
        self._tasks = tasks
        self._clock = clock
        self._sleep = sleep
        self._wall_clock = wall_clock
        self._waiting: set[ChatId] = set()
        self._in_haste = False

    def hurry(self) -> None:
        """Wait for no more fragments."""
        self._in_haste = True

    def take(self, lane: Sequence[Arrived]) -> int:
        """How many messages from the first are the next turn; 0 when it is not known yet."""
        first = lane[0]
        if _is_signal(first):
            return 1
        if first.group is not None:
            return self._recorded(lane, first.group)
        if self._is_backlog(lane):
            return sum(1 for _ in takewhile(lambda arrived: arrived.group is None and not _is_signal(arrived), lane))
        n = self._fragments(lane)
        if n == len(lane) and (wait_s := self._wait_s(first, lane[n - 1])) > 0:
            self._wait(first.message.chat, wait_s)
            return 0
        return n

    def must_be_recorded(self, taken: Sequence[Arrived]) -> bool:
        """Whether a process that does this turn again could group it in another way."""
        if taken[0].group is not None or _is_signal(taken[0]):
            return False
        return len(taken) > 1 or self._policy.quiet_s > 0

    def split(self, taken: Sequence[Arrived]) -> tuple[InboundMessage, tuple[InboundMessage, ...]]:
        """The message to answer, fragments joined, and the others of a backlog.

        Fragments have the id of the first. Of a backlog the newest with words is answered, with the id of the last; if
        the last was written by the owner, who has answered in person, it is that one.
        """
        group = taken[0].group
        # Not by the clock again: it may have been set since these were taken.
        is_backlog = len(taken) > self._fragments(taken) if group is None else group.id != taken[0].message.id
        messages = [arrived.message for arrived in taken]
        if len(taken) == 1 or not is_backlog:
            return _joined(messages), ()
        end = len(taken)
        if not messages[-1].from_me:
            end = max((n for n, message in enumerate(messages, 1) if _has_words(message)), default=end)
        begin = end - self._last_fragments(taken[:end])
        answered = replace(_joined(messages[begin:end]), id=messages[-1].id)
        return answered, tuple(messages[:begin] + messages[end:])

    def is_too_late(self, message: InboundMessage) -> bool:
        """Whether nothing is to be said to *message* any more."""
        return message.kind != "signal" and self._is_older(message, self._policy.expire_after_s)

    def _recorded(self, lane: Sequence[Arrived], group: Group) -> int:
        n = sum(1 for _ in takewhile(lambda arrived: arrived.group == group, lane))
        return 0 if n < group.size and not self._is_complete() else n

    def _is_backlog(self, lane: Sequence[Arrived]) -> bool:
        return len(lane) > 1 and self._is_older(lane[0].message, self._policy.collapse_after_s)

    def _is_older(self, message: InboundMessage, age_s: float) -> bool:
        return 0 < age_s < self._wall_clock() - message.sent_at and message.sent_at > FIRST_TIME_S

    def _fragments(self, lane: Sequence[Arrived]) -> int:
        """How many messages from the first were typed together, whether or not more are to come."""
        if not _is_typed(lane[0].message):
            return 1
        n, began_at = 1, lane[0].message.sent_at
        for before, arrived in pairwise(islice(lane, len(lane))):
            if arrived.group is not None or not self._follows(before.message, arrived.message, began_at):
                break
            n += 1
        return n

    def _last_fragments(self, taken: Sequence[Arrived]) -> int:
        at = 0
        while at + (n := self._fragments(taken[at:])) < len(taken):
            at += n
        return n

    def _follows(self, before: InboundMessage, message: InboundMessage, began_at: float) -> bool:
        policy = self._policy
        # Of two messages the later one may have the earlier time: phones are not set alike.
        gap_s, since_first_s = abs(message.sent_at - before.sent_at), abs(message.sent_at - began_at)
        return _is_typed(message) and gap_s < policy.quiet_s and since_first_s < policy.max_wait_s

    def _wait_s(self, first: Arrived, last: Arrived) -> float:
        if self._in_haste or not self._policy.quiet_s or not _is_typed(first.message):
            return 0.0
        return min(last.at + self._policy.quiet_s, first.at + self._policy.max_wait_s) - self._clock()

    def _wait(self, chat: ChatId, wait_s: float) -> None:
        if chat not in self._waiting:
            self._waiting.add(chat)
            self._tasks.start(self._wake_later(chat, wait_s), "gather")

    async def _wake_later(self, chat: ChatId, wait_s: float) -> None:
        await self._sleep(wait_s)
        self._waiting.discard(chat)
        self._wake(chat)


def _is_signal(arrived: Arrived) -> bool:
    return arrived.message.kind == "signal"


def _is_typed(message: InboundMessage) -> bool:
    return message.kind == "text" and message.media is None and not message.from_me


def _has_words(message: InboundMessage) -> bool:
    return bool(message.text.strip()) or message.kind in ("voice", "audio")


def _joined(messages: Sequence[InboundMessage]) -> InboundMessage:
    """One message with all texts as lines, the first one's id and the last one's time."""
    if len(messages) == 1:
        return messages[0]
    return replace(messages[0], text="\n".join(m.text for m in messages), sent_at=messages[-1].sent_at)
