"""What the database holds of a WhatsApp session."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ..adapters.postgres import Database
from ..adapters.postgres.flow_changes import list_chatbots
from ..adapters.postgres.sessions import PostgresSessions, StoredCopy, session_copies, stored_copies
from ..config import Settings
from ..errors import ConfigurationError

_HAS_COPIES = "SELECT to_regclass('tecnobot.session_copy') IS NOT NULL"
_HAS_DEVICES = "SELECT to_regclass('whatsmeow_device') IS NOT NULL"  # the library's own table
_DEVICES = "SELECT jid FROM whatsmeow_device"


@asynccontextmanager
async def open_copies(settings: Settings, chatbot_id: str | None) -> AsyncIterator[PostgresSessions | None]:
    """The copies of a chatbot in DATABASE_URL, to be read and written. Raises ConfigurationError."""
    async with _open(settings.database_url.reveal()) as database:
        yield session_copies(settings, database, await _find_chatbot(database, chatbot_id))


async def list_copies(url: str, chatbot_id: str | None) -> Sequence[StoredCopy]:
    """What copies of a chatbot there are; needs no key. Raises ConfigurationError."""
    async with _open(url) as database:
        return await stored_copies(database, await _find_chatbot(database, chatbot_id))


async def list_accounts(url: str) -> Sequence[str]:
    """The accounts of a session that is itself in PostgreSQL."""
    async with _open(url) as database:
        if not await database.fetchval(_HAS_DEVICES, idempotent=True):
            return []
        return [row["jid"] for row in await database.fetch(_DEVICES, idempotent=True)]


def _open(url: str) -> Database:
    return Database(url, min_size=1, max_size=1, open_timeout_s=10)


async def _find_chatbot(database: Database, wanted: str | None) -> str:
    """The chatbot *wanted*, or the only one that there is. Raises ConfigurationError."""
    if not await database.fetchval(_HAS_COPIES, idempotent=True):
        raise ConfigurationError(
            f"{database!r} has no table for copies of sessions yet: start the bot once, which makes it, "
            "or unset DATABASE_URL"
        )
    chatbots = await list_chatbots(database)
    if wanted is None and len(chatbots) == 1:
        return chatbots[0]
    if wanted in chatbots:
        return wanted
    known = ", ".join(chatbots) or "none; the bot makes its own when it starts"
    asked = "say with --chatbot which" if wanted is None else f"there is no chatbot {wanted!r}"
    raise ConfigurationError(f"{asked}; in {database!r} there are {known}")
