"""The web chat page as a transport: what browsers write goes to the bot, what the bot says goes to their streams."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from ...connection.ports import Opened, Sink
from ...errors import TecnobotError, TransportError
from ...events import DuplicateIgnored, EventBus, TurnCommitted
from ...messages import ChatId, ChatMessage, InboundMessage, OutboundMessage
from .feed import MIB, Feed, FeedReader
from .mailbox import Mailbox

logger = logging.getLogger(__name__)

History = Callable[[ChatId], Awaitable[Sequence[ChatMessage]]]
_PREFIX = "web:"


class WebChat:
    """A Transport, with typing, between the bot and the browsers that a WebServer serves.

    The page names a chat by an id of its own; for the bot it is ``web:`` and that id. A page is told that its message
    arrived when the bot acknowledged it, at the latest after *acknowledge_within_s*. What is not acknowledged is kept,
    at most *max_unacknowledged* messages and *max_unacknowledged_bytes* of text, and delivered again after the next
    ``open``. *history* gives the rows of a chat, oldest first, so that a page that is loaded finds its conversation;
    without it only what happens next is shown. *clock* is in Unix seconds.
    """

    def __init__(
        self,
        history: History | None = None,
        *,
        clock: Callable[[], float] = time.time,
        max_unacknowledged: int = 1000,
        max_unacknowledged_bytes: int = 8 * MIB,
        acknowledge_within_s: float = 5.0,
    ) -> None:
        self._history = history
        self._clock = clock
        self._acknowledge_within_s = acknowledge_within_s
        self._sink: Sink | None = None
        self._feed = Feed(epoch=f"{int(clock() * 1000):x}")
        self._unacknowledged = Mailbox(max_unacknowledged, max_unacknowledged_bytes)
        # Shown again to a page that is reloaded while the bot still thinks; history has them when their turn is done.
        self._unanswered = Mailbox(max_unacknowledged, max_unacknowledged_bytes)
        self._settled: dict[str, asyncio.Event] = {}
        self._watching = False

    # The bot's side: Transport and ShowsTyping.

    async def open(self, sink: Sink) -> None:
        """Begin; messages that were not acknowledged are delivered again, oldest first."""
        self._sink = sink
        sink(Opened())
        for message in self._unacknowledged:
            sink(message)

    async def close(self) -> None:
        """Deliver nothing more. Pages stay connected: their server ends their streams."""
        self._sink = None

    async def send(self, message: OutboundMessage) -> None:
        """Show *message* in its chat; pages that are not there find it in the history."""
        self._require_open()
        if (chat := _page_name(message.chat)) is None:
            raise TransportError(f"{message.chat} is not a chat of the web page", retryable=False)
        self._feed.append(
            chat,
            {
                "type": "message",
                "role": "assistant",
                "id": message.key,
                "at": self._clock(),
                "text": message.text,
                "buttons": message.buttons,
                "media": None if message.media is None else [message.media.kind, message.media.file_name],
            },
        )

    async def ping(self) -> None:
        """There is no other side to lose: open is reachable."""
        self._require_open()

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        """Tell the pages that wait for these messages that they arrived."""
        self._forget(self._unacknowledged, message_ids)
        if not self._watching:
            self._forget(self._unanswered, message_ids)
        for message_id in message_ids:
            if settled := self._settled.pop(message_id, None):
                settled.set()

    async def set_typing(self, chat: ChatId, typing: bool) -> None:
        """Show or hide the sign in *chat*."""
        if (name := _page_name(chat)) is not None:
            self._feed.append(name, {"type": "typing", "typing": typing})

    def watch(self, events: EventBus) -> None:
        """Show in the page what became of each message: outcome, who answered, every stage and its milliseconds."""
        self._watching = True
        events.on(TurnCommitted, self._on_turn_committed)
        events.on(DuplicateIgnored, self._on_duplicate_ignored)

    # The pages' side, used by WebServer.

    async def receive(self, chat: str, message_id: str, text: str) -> bool:
        """Hand a page's message to the bot; True once it is journaled.

        False: there is no room, or no acknowledgement within the time; the page sends it again with the same id.
        """
        message = InboundMessage(id=message_id, chat=ChatId(_PREFIX + chat), sent_at=self._clock(), text=text)
        if message_id not in self._unacknowledged and not self._take_in(chat, message):
            return False
        return await self._acknowledged(message_id)

    async def conversation(self, chat: str) -> dict[str, object]:
        """The conversation so far, in JSON types: ``messages`` (None when history failed) and those ``unanswered``."""
        address = ChatId(_PREFIX + chat)
        try:
            rows = await self._history(address) if self._history else ()
            messages = [{"role": row.role, "text": row.content} for row in rows if _is_shown(row)]
        except TecnobotError:
            logger.warning("the history of %s cannot be shown", address, exc_info=True)
            messages = None
        unanswered = [{"id": m.id, "text": m.text, "at": m.sent_at} for m in self._unanswered.of(address)]
        return {"type": "conversation", "chat": chat, "messages": messages, "unanswered": unanswered}

    def resume(self, chats: Iterable[str], seen_id: str, drop: Callable[[], object]) -> tuple[FeedReader, bool]:
        """A reader of what happens in *chats* after *seen_id*; False beside it when it can only begin now.

        *drop* is called when the reader falls behind what is kept.
        """
        position = self._feed.position_of(seen_id)
        reader = self._feed.read(frozenset(chats), self._feed.end if position is None else position, drop)
        return reader, position is not None

    def event_id(self, position: int) -> str:
        """What a page gives as ``seen_id`` to go on after *position*."""
        return self._feed.id_of(position)

    def hang_up(self) -> None:
        """End every open stream and every wait for an acknowledgement."""
        self._feed.end_all()
        waiting, self._settled = self._settled, {}
        for settled in waiting.values():
            settled.set()

    def _require_open(self) -> None:
        if self._sink is None:
            raise TransportError("the web chat is not open", reason="stopped")

    def _take_in(self, chat: str, message: InboundMessage) -> bool:
        if not self._unacknowledged.add(message):
            return False
        self._unanswered.add(message)
        event = {"type": "message", "role": "user", "id": message.id, "at": message.sent_at, "text": message.text}
        self._feed.append(chat, event)
        if self._sink is not None:
            self._sink(message)
        return True

    async def _acknowledged(self, message_id: str) -> bool:
        settled = self._settled.setdefault(message_id, asyncio.Event())
        try:
            async with asyncio.timeout(self._acknowledge_within_s):
                await settled.wait()
        except TimeoutError:
            return False
        return message_id not in self._unacknowledged

    def _on_turn_committed(self, event: TurnCommitted) -> None:
        turn = event.turn
        if (chat := _page_name(turn.chat)) is None:
            return
        self._forget(self._unanswered, turn.inbound)
        self._feed.append(
            chat,
            {
                "type": "turn",
                "ids": turn.inbound,
                "outcome": turn.outcome,
                "answered_by": turn.answered_by,
                "took_ms": round(event.took_s * 1000, 3),
                "steps": [{"stage": step.stage, "detail": step.detail, "ms": step.ms} for step in turn.trace],
            },
        )

    def _on_duplicate_ignored(self, event: DuplicateIgnored) -> None:
        self._unanswered.take(event.message_id)

    @staticmethod
    def _forget(mailbox: Mailbox, message_ids: Iterable[str]) -> None:
        for message_id in message_ids:
            mailbox.take(message_id)


def _page_name(chat: ChatId) -> str | None:
    address = chat.reveal()
    return address.removeprefix(_PREFIX) if address.startswith(_PREFIX) else None


def _is_shown(row: ChatMessage) -> bool:
    return row.role in ("user", "assistant") and row.content != ""
