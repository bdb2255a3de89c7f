"""What the link lost, which nobody else can tell: messages on their way, and the last steps of its session."""

import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from ..connection import ConnectionManager
from ..delivery import Delivery
from ..delivery.addresses import is_group
from ..errors import TecnobotError
from ..events import MessageMissed, SessionRestored
from ..messages import ChatId
from ..tasks import Tasks

logger = logging.getLogger(__name__)

MISSED = "missed"
OWNER_MISSED = "owner_missed"


class Losses:
    """While entered, counts what *connection* tells as missed, and with *asks* has each person asked to repeat it.

    Where the owner wrote it, nobody is asked: the owner took over, whatever was said.

    *signal* journals a signal of a chat under an id that is known once: so each message is asked for once, also when it
    is told again after a restart, and the pipeline sees in the chat's turn whether a person has taken over. When the
    session was restored from a copy, *delivery* doubts what it sends.
    """

    def __init__(
        self,
        connection: ConnectionManager,
        delivery: Delivery,
        signal: Callable[[ChatId, str, str], Awaitable[None]],
        *,
        asks: bool,
        tasks: Tasks,
    ) -> None:
        self._connection = connection
        self._delivery = delivery
        self._signal = signal
        self._asks = asks
        self._tasks = tasks

    def __enter__(self) -> Self:
        self._connection.on("message_missed", self._take)
        self._connection.on("session_restored", self._doubt)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.off("message_missed", self._take)
        self._connection.off("session_restored", self._doubt)

    def _take(self, event: MessageMissed) -> None:
        self._delivery.statistics().missed += 1
        logger.warning("message %s of %s was lost on its way", event.message_id, event.chat)
        if (self._asks or event.from_me) and not is_group(event.chat):
            self._tasks.start(self._tell(event), "tell_of_loss")

    async def _tell(self, event: MessageMissed) -> None:
        try:
            await self._signal(event.chat, OWNER_MISSED if event.from_me else MISSED, event.message_id)
        except TecnobotError as error:
            logger.warning("the loss of a message in %s could not be noted: %s", event.chat, error)

    def _doubt(self, event: SessionRestored) -> None:
        self._delivery.doubt_sends()
