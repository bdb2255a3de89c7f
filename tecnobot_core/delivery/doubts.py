"""Whether a person can read what is sent, after an older session took the place of a damaged one."""

from collections import OrderedDict

from ..errors import TransportError
from ..messages import ChatId

MAX_CERTAIN = 10_000  # chats that are remembered as certain; one that is forgotten is doubted again


class Doubts:
    """Doubts every chat from ``begin`` on, until the person writes.

    An end-to-end session that was set back uses steps a second time, and the person's app drops, without a word, what
    was encrypted with one that it knows. How many of them there are nobody knows; with what the person writes next both
    sides agree on new ones.
    """

    def __init__(self) -> None:
        self._certain: OrderedDict[ChatId, None] | None = None

    def begin(self) -> None:
        """The session was set back."""
        self._certain = OrderedDict()

    def note_inbound(self, chat: ChatId) -> None:
        """The person has written something that could be read."""
        if self._certain is not None:
            self._certain[chat] = None
            self._certain.move_to_end(chat)
            if len(self._certain) > MAX_CERTAIN:
                self._certain.popitem(last=False)

    def about(self, chat: ChatId) -> TransportError | None:
        """Why it is uncertain that the person can read what is sent to *chat* now; None where it is not."""
        if self._certain is None or chat in self._certain:
            return None
        return TransportError(
            "it was sent with a session that was restored from an older copy, and the person has not written since",
            reason="session_restored",
            sent="maybe",
        )
