"""A transport without a network that can do all that a transport may do."""

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ..connection.ports import Outcome
from ..errors import TransportError
from ..events import PairingOffered
from ..messages import InboundMessage, MediaReference, OutboundMessage
from .transport import FakeTransport, raise_next


class FakeMessenger(FakeTransport):
    """As FakeTransport, with presence, receipts, attachments, pairing and a session, all in memory.

    ``presence_errors`` and ``save_errors`` are raised one for each call. ``copy_age_s`` is the age of the saved copy,
    None without one; ``media`` holds attachments by address; with ``is_reachable`` False no attempt makes sense.
    ``outcomes`` tells by key what became of messages: "sent" after a send, and whatever else is put there.
    ``outcome_errors`` are raised one for each question, and ``asked`` are the keys of all questions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.presence: list[bool] = []
        self.read: list[str] = []
        self.media: dict[str, bytes] = {}
        self.is_reachable = True
        self.logged_out = False
        self.session = b"session"
        self.copy_age_s: float | None = None
        self.saves = 0
        self.restores = 0
        self.quarantined = 0
        self.presence_errors: deque[TransportError | None] = deque()
        self.save_errors: deque[TransportError | None] = deque()
        self.outcomes: dict[str, Outcome] = {}
        self.outcome_errors: deque[TransportError | None] = deque()
        self.asked: list[str] = []
        self._saved = b""

    async def send(self, message: OutboundMessage) -> None:
        await super().send(message)
        self.outcomes[message.key] = "sent"

    async def outcome(self, key: str) -> Outcome | None:
        self._check_open()
        self.asked.append(key)
        await self._hang("outcome")
        raise_next(self.outcome_errors)
        return self.outcomes.get(key)

    async def set_presence(self, available: bool) -> None:
        await self._hang("set_presence")
        raise_next(self.presence_errors)
        self.presence.append(available)

    async def mark_read(self, messages: Sequence[InboundMessage]) -> None:
        self.read.extend(message.id for message in messages)

    async def fetch_media(self, media: MediaReference, target: Path, *, max_bytes: int) -> int:
        content = self.media.get(media.address)
        if content is None:
            raise TransportError("the attachment is gone", retryable=False)
        if len(content) > max_bytes:
            raise TransportError(f"{len(content)} bytes are more than {max_bytes}", retryable=False)
        return await asyncio.to_thread(target.write_bytes, content)

    async def pair_by_code(self, phone_number: str) -> None:
        self.tell(PairingOffered("code", f"CODE-{phone_number[-4:]}", 160.0))

    async def log_out(self) -> None:
        self.logged_out = True

    async def save_session(self) -> int | None:
        self.saves += 1
        await self._hang("save_session")
        raise_next(self.save_errors)
        if self._saved == self.session:
            return None
        self._saved, self.copy_age_s = self.session, 0.0
        return len(self._saved)

    async def restore_session(self) -> float | None:
        self.restores += 1
        return self.copy_age_s

    async def quarantine_session(self) -> None:
        self.quarantined += 1
        self.copy_age_s = None

    async def reachable(self) -> bool:
        return self.is_reachable
