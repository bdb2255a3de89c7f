"""Which addresses are one person's, in PostgreSQL: one round trip for each batch."""

from collections.abc import Mapping, Sequence

from ...delivery.addresses import Sighting
from ...messages import ChatId
from .database import Database
from .values import storable

_LEARN = "SELECT alias, phone_number FROM tecnobot.learn_aliases($1, $2::text[], $3::text[], $4::boolean[])"
_LAST_USED = """
SELECT alias FROM tecnobot.chat_alias
WHERE chatbot_id = $1 AND phone_number = $2 AND seen_at IS NOT NULL ORDER BY seen_at DESC LIMIT 1
"""
_FORGET = "DELETE FROM tecnobot.chat_alias WHERE chatbot_id = $1 AND phone_number = $2"


class PostgresAliases:
    """The AliasStore of one chatbot, which must exist (``ensure_chatbot``).

    A chat that is held under an alias becomes a part of the person's chat, in the transaction that keeps the alias.
    """

    def __init__(self, database: Database, chatbot_id: str) -> None:
        self._database = database
        self._chatbot_id = chatbot_id

    async def learn(self, sightings: Sequence[Sighting]) -> Mapping[ChatId, ChatId]:
        rows = await self._database.fetch(
            _LEARN,
            self._chatbot_id,
            [_text(seen.alias) for seen in sightings],
            [None if seen.chat is None else _text(seen.chat) for seen in sightings],
            [seen.wrote for seen in sightings],
            idempotent=True,
        )
        return {ChatId(row["alias"]): ChatId(row["phone_number"]) for row in rows}

    async def last_used(self, chat: ChatId) -> ChatId | None:
        alias = await self._database.fetchval(_LAST_USED, self._chatbot_id, _text(chat), idempotent=True)
        return None if alias is None else ChatId(alias)

    async def forget(self, chat: ChatId) -> None:
        await self._database.execute(_FORGET, self._chatbot_id, _text(chat), idempotent=True)


def _text(address: ChatId) -> str:
    return storable(address.reveal())
