"""When things were, and when they are to be done."""

import heapq
from collections.abc import Collection

from ..messages import ChatId, InboundMessage, Position


def latest(known: float | None, new: float | None) -> float | None:
    """The later of two times, to the microsecond, as every store keeps it. None is none."""
    times = [round(at, 6) for at in (known, new) if at is not None]
    return max(times, default=None)


def is_due_signal(message: InboundMessage) -> bool:
    """Whether *message* says that a conversation is due."""
    return message.kind == "signal" and message.text == "due"


class DueTimes:
    """When conversations are due, in memory. One that was taken is not due before it stands somewhere else."""

    def __init__(self) -> None:
        self._times: dict[ChatId, float | None] = {}  # None: taken

    def after(self, until: float) -> float | None:
        """When the first is due that is not at *until*; None: never."""
        return min((at for at in self._times.values() if at is not None and at > until), default=None)

    def note(self, chat: ChatId, position: Position | None) -> None:
        """*chat* stands at *position* now."""
        self.forget(chat)
        if position is not None and position.due_at is not None:
            self._times[chat] = position.due_at

    def forget(self, chat: ChatId) -> None:
        """Nothing is due in *chat*."""
        self._times.pop(chat, None)

    def move(self, alias: ChatId, chat: ChatId) -> None:
        """What is due in *alias* is due in *chat*."""
        if alias in self._times:
            self._times[chat] = self._times.pop(alias)

    def take(self, until: float, limit: int, *, without: Collection[ChatId]) -> list[tuple[float, ChatId]]:
        """The first *limit* that are due at *until*, with their times, in order; but for those *without*."""
        times = ((at, chat) for chat, at in self._times.items() if at is not None and at <= until)
        due = (item for item in times if item[1] not in without)
        taken = heapq.nsmallest(limit, due)
        self._times.update((chat, None) for _, chat in taken)
        return taken

    def postpone(self, chat: ChatId, at: float) -> None:
        """*chat*, which was taken and stands where it stood, is due again *at*."""
        if chat in self._times and self._times[chat] is None:
            self._times[chat] = at
