"""Copies of a session in the database, encrypted, for machines that keep no files."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ...config import Settings, secret_key
from ...errors import ConfigurationError, StoreError
from .database import Database

logger = logging.getLogger(__package__)

KEEP = 3
MAX_BYTES = 64 * 1024 * 1024  # in memory three times for a moment; what is larger is hardly a session

_PURPOSE = b"tecnobot session copy 1"  # so that the key is of no use for anything else made of the same secret

# Repeatable: a call whose answer was lost finds its own row. That is among those to be kept, though not seen here.
_PUT = """
WITH old AS (
    DELETE FROM tecnobot.session_copy WHERE id IN (
        SELECT id FROM tecnobot.session_copy
        WHERE chatbot_id = $1 AND taken_at <> $2 AND revoked_at IS NULL ORDER BY id DESC OFFSET $4
    )
)
INSERT INTO tecnobot.session_copy (chatbot_id, taken_at, content) VALUES ($1, $2, $3)
ON CONFLICT (chatbot_id, taken_at) DO UPDATE SET content = excluded.content
"""
_USABLE = """
SELECT id, taken_at FROM tecnobot.session_copy WHERE chatbot_id = $1 AND revoked_at IS NULL ORDER BY id DESC
"""
_CONTENT = "SELECT content FROM tecnobot.session_copy WHERE id = $1"
_REVOKE = "UPDATE tecnobot.session_copy SET revoked_at = now() WHERE chatbot_id = $1 AND revoked_at IS NULL"
_LIST = """
SELECT taken_at, length(content) AS size_bytes, revoked_at IS NOT NULL AS revoked
FROM tecnobot.session_copy WHERE chatbot_id = $1 ORDER BY id DESC
"""


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """What can be known of a copy without its key. *taken_at* is in Unix seconds."""

    taken_at: float
    size_bytes: int
    revoked: bool


class PostgresSessions:
    """The three newest copies of one chatbot's session; it must exist (``ensure_chatbot``).

    *secret* is at least 32 random bytes, as of ``secret_key``. What was written with another one is not readable, and
    neither is a row that was moved from another chatbot, or to another time.
    """

    def __init__(self, database: Database, chatbot_id: str, secret: bytes) -> None:
        from .sealing import Seal  # noqa: PLC0415 - needs an extra, which not every wiring of this module has

        self._database = database
        self._chatbot_id = chatbot_id
        self._seal = Seal(secret, _PURPOSE)

    async def put(self, content: bytes, taken_at: float) -> None:
        """Keep a copy; the oldest of more than three goes. StoreError when it is above 64 MiB."""
        if len(content) > MAX_BYTES:
            raise StoreError(f"a copy of {len(content)} bytes is too large, at most {MAX_BYTES} go", retryable=False)
        # In a thread, as are all of these: several milliseconds for each MiB.
        sealed = await asyncio.to_thread(self._seal.close, content, self._label(taken_at))
        await self._database.execute(_PUT, self._chatbot_id, taken_at, sealed, KEEP - 1, idempotent=True)

    async def latest(self) -> tuple[bytes, float] | None:
        """The newest copy that can be read and was not revoked, and when it was taken (Unix seconds)."""
        rows = await self._database.fetch(_USABLE, self._chatbot_id, idempotent=True)
        for id, taken_at in rows:
            sealed = await self._database.fetchval(_CONTENT, id, idempotent=True)
            try:
                content = await asyncio.to_thread(self._seal.open, sealed or b"", self._label(taken_at))
            except ValueError:
                logger.warning("a copy of the session in the database is damaged, or made with another SECRET_KEY")
            else:
                return content, taken_at
        return None

    async def revoke(self) -> None:
        """Let no copy be used again, as the account took them back; nothing is deleted."""
        await self._database.execute(_REVOKE, self._chatbot_id, idempotent=True)

    def _label(self, taken_at: float) -> bytes:
        return f"{taken_at!r} {self._chatbot_id}".encode()


def session_copies(settings: Settings, database: Database, chatbot_id: str) -> PostgresSessions | None:
    """The copies of a chatbot whose database outlives this machine; None where it does not, or holds the session.

    Raises ConfigurationError when SECRET_KEY is unset: one that is made here would be gone when it is needed.
    """
    if not settings.database_url.reveal() or settings.whatsapp_session_url.reveal():
        return None
    if not settings.secret_key.reveal():
        raise ConfigurationError(
            "SECRET_KEY must be set when DATABASE_URL is: copies of the WhatsApp session are kept there, encrypted "
            "with it; wanted is 32 or more characters, the same on every machine"
        )
    return PostgresSessions(database, chatbot_id, secret_key(settings))


async def stored_copies(database: Database, chatbot_id: str) -> Sequence[StoredCopy]:
    """All copies of a chatbot, newest first; no key is needed for that."""
    rows = await database.fetch(_LIST, chatbot_id, idempotent=True)
    return [StoredCopy(*row) for row in rows]
