"""The same tables written as most bots do: each statement is a transaction of its own."""

from collections.abc import Collection, Mapping, Sequence
from itertools import count

from tecnobot_core.adapters.postgres import Database, PostgresDelivery
from tecnobot_core.adapters.postgres.encoding import encode
from tecnobot_core.adapters.postgres.values import to_json
from tecnobot_core.delivery.ports import OutboxEntry, SendState
from tecnobot_core.messages import InboundMessage, OutboundMessage, Turn

_ACCEPT = """
WITH new_chat AS (
    INSERT INTO tecnobot.chat (chatbot_id, phone_number) VALUES ($1, $5)
    ON CONFLICT (chatbot_id, phone_number) DO UPDATE SET last_seen = now()
), new_key AS (
    INSERT INTO tecnobot.inbox_key (chatbot_id, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING message_id
)
INSERT INTO tecnobot.inbox (chatbot_id, message_id, body, nonce, seq)
SELECT $1, $2, $3::text::jsonb, $4, $6 FROM new_key
RETURNING seq
"""
_APPEND = """
INSERT INTO tecnobot.chat_history (chat_id, role, content)
SELECT id, $3, $4 FROM tecnobot.chat WHERE chatbot_id = $1 AND phone_number = $2
"""
_POST = """
INSERT INTO tecnobot.outbox (chatbot_id, key, body, state, nonce) VALUES ($1, $2, $3::text::jsonb, 'waiting', $4)
ON CONFLICT DO NOTHING RETURNING id
"""
_DONE = "DELETE FROM tecnobot.inbox WHERE chatbot_id = $1 AND message_id = $2"
_END = "UPDATE tecnobot.outbox SET state = $3, body = NULL, changed_at = now() WHERE chatbot_id = $1 AND id = $2"


class NaiveDelivery(PostgresDelivery):
    """Six statements for a message and its answer: inbox, two rows of history, outbox, done, sent.

    It keeps no mark of what is being sent, so a kill doubles or loses more than ours, and writes less than it should.
    """

    def __init__(self, database: Database, chatbot_id: str) -> None:
        super().__init__(database, chatbot_id)
        self._through = database
        self._chatbot = chatbot_id
        self._nonce_of_all = "1-12345"  # as long as ours
        self._seqs = count(1)

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
        return [await self._accept(message) for message in messages]

    async def commit(
        self, turns: Sequence[Turn], *, taken: Collection[str] = (), again_at: float | None = None
    ) -> Sequence[OutboxEntry]:
        entries: list[OutboxEntry] = []
        for turn in turns:
            for row in turn.history:
                await self._ask(_APPEND, turn.chat.reveal(), row.role, row.content)
            entries += await self.post(turn.outgoing)
            for message_id in turn.inbound:
                await self._ask(_DONE, message_id)
        return entries

    async def post(self, messages: Sequence[OutboundMessage]) -> Sequence[OutboxEntry]:
        entries = [await self._post(message) for message in messages]
        return [entry for entry in entries if entry is not None]

    async def move(self, states: Mapping[int, SendState], *, urgent: bool = True) -> None:
        for id, state in states.items():
            if state != "taken":
                await self._ask(_END, id, state)

    async def _accept(self, message: InboundMessage) -> int | None:
        body = to_json(encode(message))
        seq = next(self._seqs)
        return await self._ask(_ACCEPT, message.id, body, self._nonce_of_all, message.chat.reveal(), seq)

    async def _post(self, message: OutboundMessage) -> OutboxEntry | None:
        id = await self._ask(_POST, message.key, to_json(encode(message)), self._nonce_of_all)
        return None if id is None else OutboxEntry(id, message, "waiting")

    async def _ask(self, statement: str, *arguments: object) -> int | None:
        """The number that *statement* gives."""
        number: int | None = await self._through.fetchval(statement, self._chatbot, *arguments)
        return number
