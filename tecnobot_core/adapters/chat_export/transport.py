"""A transport whose other side is a file: the customers of a chat export write again what they wrote then."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import closing

from ...connection.ports import DisconnectReason, Lost, Opened, Sink
from ...errors import ConfigurationError, TransportError
from ...messages import ChatId, InboundMessage, MediaReference, OutboundMessage
from ...tasks import Tasks
from .content import mime_of
from .export import ChatExport
from .parser import ExportedMessage

_STEPS_BETWEEN_YIELDS = 32


class ReplayTransport:
    """Delivers the messages of *export* that are not the business's own, each sender as a chat, ids "line-<n>".

    At most *max_unacknowledged* are delivered ahead of acknowledgement. When all are acknowledged it tells
    ``Lost(ENDED)``; sending goes on working until ``close``, because answers come later than acknowledgements.
    *on_answer* hears each answer. The file is read as it is replayed, and closed by ``close``.
    """

    def __init__(
        self,
        export: ChatExport,
        *,
        prefix: str = "export:",
        max_unacknowledged: int = 256,
        on_answer: Callable[[OutboundMessage], None] | None = None,
    ) -> None:
        if max_unacknowledged < 1:
            raise ValueError(f"max_unacknowledged must be at least 1, not {max_unacknowledged}")
        self.delivered = 0
        self.sent = 0
        self._export = export
        self._prefix = prefix
        self._max_unacknowledged = max_unacknowledged
        self._on_answer = on_answer
        self._unacknowledged: dict[str, InboundMessage] = {}
        self._acknowledged = asyncio.Event()
        self._last_line = 0
        self._tasks: Tasks | None = None

    @property
    def total(self) -> int:
        """How many messages there are to deliver; ``delivered`` counts up to it, each message once."""
        return self._export.report.messages

    async def open(self, sink: Sink) -> None:
        await self.close()
        self._tasks = Tasks("replay")
        self._tasks.start(self._replay(sink), "pump")

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            with contextlib.suppress(Exception):  # close never raises; what failed was logged when it failed
                await tasks.aclose()

    async def send(self, message: OutboundMessage) -> None:
        self._check_open()
        self.sent += 1
        if self._on_answer is not None:
            self._on_answer(message)

    async def ping(self) -> None:
        self._check_open()

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            self._unacknowledged.pop(message_id, None)
        self._acknowledged.set()

    def _check_open(self) -> None:
        if self._tasks is None:
            raise TransportError("the replay is not open; open it first", reason=DisconnectReason.STOPPED)

    async def _replay(self, sink: Sink) -> None:
        sink(Opened())
        for message in tuple(self._unacknowledged.values()):
            sink(message)
        try:
            await self._deliver_rest(sink)
        except ConfigurationError as error:
            sink(Lost(DisconnectReason.UNKNOWN, str(error), retryable=False))
            return
        await self._wait_for_fewer_than(1)
        sink(Lost(DisconnectReason.ENDED, "end of file", retryable=False))

    async def _deliver_rest(self, sink: Sink) -> None:
        with closing(self._export.paced_messages()) as steps:
            for n, step in enumerate(steps):
                if step is not None and step.line > self._last_line and not step.from_me:
                    await self._wait_for_fewer_than(self._max_unacknowledged)
                    self._deliver(step, sink)
                if step is None or n % _STEPS_BETWEEN_YIELDS == 0:
                    await asyncio.sleep(0)

    def _deliver(self, exported: ExportedMessage, sink: Sink) -> None:
        message = self._inbound(exported)
        self._unacknowledged[message.id] = message
        self._last_line = exported.line
        self.delivered += 1
        sink(message)

    async def _wait_for_fewer_than(self, n_messages: int) -> None:
        while len(self._unacknowledged) >= n_messages:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    def _inbound(self, exported: ExportedMessage) -> InboundMessage:
        return InboundMessage(
            id=f"line-{exported.line}",
            chat=ChatId(self._prefix + exported.sender),
            sent_at=exported.sent_at,
            text=exported.text,
            kind=exported.kind,
            media=_media_of(exported),
            sender_name=exported.sender,
        )


def _media_of(exported: ExportedMessage) -> MediaReference | None:
    if not exported.file_name:
        return None
    return MediaReference(
        kind=exported.kind,
        address=exported.file_name,
        mime=mime_of(exported.file_name),
        file_name=exported.file_name,
    )
