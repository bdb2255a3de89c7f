"""Messages of which only the arrival is known yet, so that a kill in that moment is noticed by the next process."""

from collections import OrderedDict
from collections.abc import Sequence

MAX_ARRIVALS = 500

# What comes to nothing has done so by then: of no interest, or of a kind that the library keeps to itself.
SETTLED_AFTER_S = 30.0


class Arrivals:
    """What began to arrive and was not taken in, by id: chat and time.

    Those of an earlier process are ``left``: the server sends them again, or they are lost.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._before: set[str] = set()

    def note(self, message_id: str, chat: str, at: float) -> None:
        """It arrives."""
        self._waiting[message_id] = (chat, at)
        if len(self._waiting) > MAX_ARRIVALS:
            self.forget(next(iter(self._waiting)))

    def forget(self, message_id: str) -> None:
        """It was taken in, or comes to nothing."""
        self._waiting.pop(message_id, None)
        self._before.discard(message_id)

    def begin(self) -> None:
        """All that is known now is of an earlier process."""
        self._before = set(self._waiting)

    def left(self) -> Sequence[tuple[str, str]]:
        """Ids and chats of what an earlier process did not take in."""
        return [
            (message_id, self._waiting[message_id][0]) for message_id in self._waiting if message_id in self._before
        ]

    def settled(self, now: float) -> Sequence[str]:
        """Ids of this process's that arrived so long ago that nothing more will come of them."""
        old = (name for name, (_, at) in self._waiting.items() if now - at > SETTLED_AFTER_S)
        return [name for name in old if name not in self._before]

    def records(self) -> Sequence[dict[str, object]]:
        """What is to be kept of it in a file."""
        return [{"arr": [name, *waiting]} for name, waiting in self._waiting.items()]
