"""The chatbots that share a database."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from ...errors import StoreError
from .database import Database
from .values import storable

_ENSURE = """
INSERT INTO tecnobot.chatbot AS chatbot (id, name, language) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, language = excluded.language
    WHERE (chatbot.name, chatbot.language) IS DISTINCT FROM (excluded.name, excluded.language)
"""
_COLUMNS = "id, name, language, settings::text"  # each is read by itself: what nobody can read must not hide the others
_LIST = f"SELECT {_COLUMNS} FROM tecnobot.chatbot ORDER BY id"
_LOAD = f"SELECT {_COLUMNS} FROM tecnobot.chatbot WHERE id = $1"
_IDS = "SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM tecnobot.chatbot"
_PUT = """
INSERT INTO tecnobot.chatbot (id, name, language, settings) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, language = excluded.language, settings = excluded.settings
"""
_REMOVE = "DELETE FROM tecnobot.chatbot WHERE id = $1 RETURNING true"


async def ensure_chatbot(database: Database, chatbot_id: str, *, name: str = "", language: str = "spanish") -> None:
    """Create the chatbot, or give the existing one this name and language. All other tables refer to it."""
    await database.execute(_ENSURE, chatbot_id, storable(name), language)


@dataclass(frozen=True, slots=True)
class StoredChatbot:
    """A chatbot as it is stored.

    ``settings`` are as somebody wrote them, perhaps not even an object: ``ChatbotProfile.read`` checks them.
    """

    id: str
    name: str = ""
    language: str = "spanish"
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)


class PostgresChatbots:
    """All chatbots of a database, each with flows, conversations, knowledge and settings of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> "list[StoredChatbot]":
        """All of them, by id."""
        return [_read(row) for row in await self._database.fetch(_LIST, idempotent=True)]

    async def load(self, chatbot_id: str) -> StoredChatbot:
        """One of them. Raises StoreError, with the ids that there are, where there is none."""
        row = await self._database.fetchrow(_LOAD, chatbot_id, idempotent=True)
        if row is None:
            known = await self._database.fetchval(_IDS, idempotent=True)
            there_are = ", ".join(known) or "none"
            raise StoreError(f"there is no chatbot {chatbot_id!r}; there are: {there_are}", retryable=False)
        return _read(row)

    async def put(self, chatbot: StoredChatbot) -> None:
        """Add *chatbot*, or replace name, language and settings of the one with its id."""
        await self._database.execute(
            _PUT, chatbot.id, storable(chatbot.name), chatbot.language, dict(chatbot.settings), idempotent=True
        )

    async def remove(self, chatbot_id: str) -> bool:
        """Remove a chatbot and all that is its own: flows, knowledge, people, what they said and entered, messages.

        False: there was none. A bot that runs for it loses its lease and stops; what it does meanwhile is refused.
        """
        return await self._database.fetchval(_REMOVE, chatbot_id) or False


def _read(row: asyncpg.Record) -> StoredChatbot:
    id, name, language, settings = row
    try:
        return StoredChatbot(id, name, language, json.loads(settings))
    except (ValueError, RecursionError):  # JSON to PostgreSQL, but too deep or with too long a number for Python
        return StoredChatbot(id, name, language, settings)
