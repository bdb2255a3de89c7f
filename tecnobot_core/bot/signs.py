"""What a person sees of the bot beside its words: that it read, and that it writes."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from ..connection import SendsReceipts, ShowsTyping
from ..delivery.clearance import SIGN_TIMEOUT_S, try_to_show
from ..messages import ChatId, InboundMessage
from ..tasks import Tasks, TimeLimit
from .people import People

logger = logging.getLogger(__name__)


class Signs:
    """Shows the signs that *transport* can show, to where the person can be reached; one that fails harms nothing.

    Without *marks_read* messages stay unread, as for an owner who reads along on the phone.
    """

    def __init__(self, transport: object, people: People, tasks: Tasks, *, marks_read: bool) -> None:
        self._typing = transport if isinstance(transport, ShowsTyping) else None
        self._receipts = transport if marks_read and isinstance(transport, SendsReceipts) else None
        self._people = people
        self._tasks = tasks
        self._limit = TimeLimit(SIGN_TIMEOUT_S)

    @property
    def set_typing(self) -> Callable[[ChatId, bool], Awaitable[object]] | None:
        """Shows or hides the sign of typing; None where there is none."""
        return None if self._typing is None else self._typing.set_typing

    async def show_typing(self, chat: ChatId, typing: bool) -> None:
        """Show or hide the sign of typing, if there is one."""
        if self._typing is not None:
            await try_to_show(self._typing.set_typing, chat, typing)

    def mark_read(self, messages: Sequence[InboundMessage]) -> None:
        """Begin to show *messages*, all of one chat, as read. What the answer is made of does not wait for it."""
        if self._receipts is not None and messages:
            self._tasks.start(self._mark_read(self._receipts, messages), "mark_read")

    async def _mark_read(self, receipts: SendsReceipts, messages: Sequence[InboundMessage]) -> None:
        try:
            with self._limit():
                await receipts.mark_read(await self._people.as_written(messages))
        except Exception:
            logger.warning("messages could not be marked as read", exc_info=True)
