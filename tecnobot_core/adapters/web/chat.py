"""The web chat page as a transport: what browsers write goes to the bot, what the bot says goes to their streams."""

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ...connection.ports import Opened, Sink
from ...errors import TecnobotError, TransportError
from ...events import DuplicateIgnored, EventBus, TurnCommitted
from ...messages import ChatId, ChatMessage, InboundMessage, MediaReference, MessageKind, OutboundMessage
from ...tasks import Tasks
from .feed import MIB, Feed, FeedReader
from .mailbox import Mailbox
from .uploads import UploadError, UploadKind, Uploads, owner_of

logger = logging.getLogger(__name__)

History = Callable[[ChatId], Awaitable[Sequence[ChatMessage]]]
_PREFIX = "web:"


class WebChat:
    """A Transport, with typing and media, between the bot and the browsers that a WebServer serves.

    The page names a chat by an id of its own; for the bot it is ``web:`` and that id. A page is told that its message
    arrived when the bot acknowledged it, at the latest after *acknowledge_within_s*. What is not acknowledged is kept,
    at most *max_unacknowledged* messages and *max_unacknowledged_bytes* of text, and delivered again after the next
    ``open``. *history* gives the rows of a chat, oldest first, so that a page that is loaded finds its conversation;
    without it only what happens next is shown. With *uploads* pages may send recordings and images. *clock* is in Unix
    seconds.
    """

    def __init__(
        self,
        history: History | None = None,
        *,
        uploads: Uploads | None = None,
        clock: Callable[[], float] = time.time,
        max_unacknowledged: int = 1000,
        max_unacknowledged_bytes: int = 8 * MIB,
        acknowledge_within_s: float = 5.0,
    ) -> None:
        self.uploads = uploads
        self._history = history
        self._clock = clock
        self._acknowledge_within_s = acknowledge_within_s
        self._opening: Sink | None = None
        self._sink: Sink | None = None
        self._sweeping = Tasks("web_uploads")
        self._feed = Feed(epoch=f"{int(clock() * 1000):x}")
        self._unacknowledged = Mailbox(max_unacknowledged, max_unacknowledged_bytes)
        # Shown again to a page that is reloaded while the bot still thinks; history has them when their turn is done.
        self._unanswered = Mailbox(max_unacknowledged, max_unacknowledged_bytes)
        self._settled: dict[str, asyncio.Event] = {}
        self._watching = False

    # The bot's side: Transport, ShowsTyping and FetchesMedia.

    async def open(self, sink: Sink) -> None:
        """Begin; messages that were not acknowledged are delivered again, oldest first."""
        self._opening = sink
        if self.uploads is not None:
            await self.uploads.open()
            if self._opening is not sink:  # closed meanwhile
                return
            if not len(self._sweeping):
                self._sweeping = Tasks("web_uploads")
                self._sweeping.start(self.uploads.run(), "sweep")
        self._sink = sink
        sink(Opened())
        for message in self._unacknowledged:
            sink(message)

    async def close(self) -> None:
        """Deliver nothing more. Pages stay connected: their server ends their streams."""
        self._opening = self._sink = None
        with suppress(Exception):  # it was logged when it happened
            await self._sweeping.aclose()

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
                "media": _shown_media(message.media),
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

    @asynccontextmanager
    async def fetch(self, media: MediaReference) -> AsyncIterator[Path]:
        """The file of *media* itself, which stays until the turn of its message is done. TransportError: it is gone."""
        yield self._path_of(media)

    async def fetch_media(self, media: MediaReference, target: Path, *, max_bytes: int) -> int:
        """Copy the file of *media* to *target*; return its size in bytes."""
        path = self._path_of(media)
        try:
            if (size_bytes := path.stat().st_size) > max_bytes:
                raise TransportError(f"the file has {size_bytes} bytes, more than {max_bytes}", retryable=False)
            await asyncio.to_thread(shutil.copyfile, path, target)
        except OSError as error:
            raise TransportError(f"the uploaded file cannot be copied: {error.strerror}") from error
        return size_bytes

    def watch(self, events: EventBus) -> None:
        """Show in the page what became of each message: outcome, who answered, every stage and its milliseconds."""
        self._watching = True
        events.on(TurnCommitted, self._on_turn_committed)
        events.on(DuplicateIgnored, self._on_duplicate_ignored)
        events.on(TurnCommitted, self._discard_uploads)

    # The pages' side, used by WebServer.

    async def receive(self, chat: str, message_id: str, text: str) -> bool:
        """Hand a page's message to the bot; True once it is journaled.

        False: there is no room, or no acknowledgement within the time; the page sends it again with the same id.
        """
        return await self._hand_over(chat, self._message(chat, message_id, text=text))

    async def receive_media(
        self, chat: str, message_id: str, kind: UploadKind, chunks: AsyncIterable[bytes], *, file_name: str = ""
    ) -> bool:
        """Keep the file that *chunks* give and hand it to the bot, as ``receive`` does with text.

        What is known already is not kept twice, and *chunks* not read. Raises UploadError when it cannot be taken.
        """
        if self.uploads is None:
            raise UploadError(404, "this web chat takes no files")
        owner = owner_of(chat, message_id)
        if self.uploads.is_done(owner):
            return True
        media = self.uploads.stored(owner) or await self.uploads.store(owner, kind, chunks, file_name=file_name)
        return await self._hand_over(chat, self._message(chat, message_id, kind=kind, media=media))

    def _message(
        self,
        chat: str,
        message_id: str,
        *,
        text: str = "",
        kind: MessageKind = "text",
        media: MediaReference | None = None,
    ) -> InboundMessage:
        address = ChatId(_PREFIX + chat)
        return InboundMessage(id=message_id, chat=address, sent_at=self._clock(), text=text, kind=kind, media=media)

    async def _hand_over(self, chat: str, message: InboundMessage) -> bool:
        if message.id not in self._unacknowledged and not self._take_in(chat, message):
            return False
        return await self._acknowledged(message.id)

    async def conversation(self, chat: str) -> dict[str, object]:
        """The conversation so far, in JSON types: ``messages`` (None when history failed) and those ``unanswered``."""
        address = ChatId(_PREFIX + chat)
        try:
            rows = await self._history(address) if self._history else ()
            messages = [{"role": row.role, "text": row.content} for row in rows if _is_shown(row)]
        except TecnobotError:
            logger.warning("the history of %s cannot be shown", address, exc_info=True)
            messages = None
        unanswered = [_shown(message) for message in self._unanswered.of(address)]
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

    def _path_of(self, media: MediaReference) -> Path:
        if self.uploads is None:
            raise TransportError("this web chat keeps no files", retryable=False)
        return self.uploads.path_of(media)

    def _require_open(self) -> None:
        if self._sink is None:
            raise TransportError("the web chat is not open", reason="stopped")

    def _take_in(self, chat: str, message: InboundMessage) -> bool:
        if not self._unacknowledged.add(message):
            return False
        self._unanswered.add(message)
        self._feed.append(chat, {"type": "message", "role": "user", **_shown(message)})
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

    def _discard_uploads(self, event: TurnCommitted) -> Awaitable[None] | None:
        chat = _page_name(event.turn.chat)
        if self.uploads is None or chat is None:
            return None
        return self.uploads.discard([owner_of(chat, message_id) for message_id in event.turn.inbound])

    @staticmethod
    def _forget(mailbox: Mailbox, message_ids: Iterable[str]) -> None:
        for message_id in message_ids:
            mailbox.take(message_id)


def _page_name(chat: ChatId) -> str | None:
    address = chat.reveal()
    return address.removeprefix(_PREFIX) if address.startswith(_PREFIX) else None


def _is_shown(row: ChatMessage) -> bool:
    return row.role in ("user", "assistant") and row.content != ""


def _shown(message: InboundMessage) -> dict[str, object]:
    """What a page shows of a message that a person wrote."""
    shown: dict[str, object] = {"id": message.id, "at": message.sent_at, "text": message.text}
    if message.media is not None:
        shown["media"] = _shown_media(message.media)
    return shown


def _shown_media(media: MediaReference | None) -> tuple[str, str] | None:
    return None if media is None else (media.kind, media.file_name)
