"""Which conversations are due, and the signals that tell them so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...messages import ChatId, InboundMessage
from .database import Database
from .encoding import encode
from .values import until_us

# One whose signal waits is left alone until that is done. OFFSET 0: asked for each through the index, whatever the
# statistics say of an inbox that was empty. The last row is the first that is not due yet.
_DUE = """
(
    SELECT chat_id, tecnobot.us_of(due_at) AS due_us, phone_number
    FROM tecnobot.conversation JOIN tecnobot.chat ON chat.id = chat_id
    WHERE conversation.chatbot_id = $1 AND due_at <= tecnobot.at_us($2) AND NOT EXISTS (
        SELECT FROM tecnobot.inbox
        WHERE inbox.chatbot_id = $1 AND body ->> 'chat' = phone_number
            AND body ->> 'kind' = 'signal' AND body ->> 'text' = 'due'
        OFFSET 0
    )
    ORDER BY due_at LIMIT $3
) UNION ALL (
    SELECT NULL, tecnobot.us_of(due_at), NULL FROM tecnobot.conversation
    WHERE chatbot_id = $1 AND due_at > tecnobot.at_us($2) ORDER BY due_at LIMIT 1
)
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A signal for the conversation ``chat_id``, if that is still due at ``due_us``."""

    signal: InboundMessage
    chat_id: int
    due_us: int

    def encode(self, nonce: str) -> dict[str, Any]:
        """As ``tecnobot.deliver`` takes it."""
        signal = self.signal
        return {
            "id": signal.id, "nonce": nonce, "body": encode(signal), "chat_id": self.chat_id, "due_us": self.due_us
        }  # fmt: skip


async def find_due(
    database: Database, chatbot_id: str, until: float, limit: int, nonce: str
) -> tuple[Sequence[Claim], float | None]:
    """Claims of the first *limit* conversations that are due, and when more are to be looked for; None: never.

    Signals are named after the call, by its *nonce*: a conversation may be due at the same time more than once.
    """
    rows = await database.fetch(_DUE, chatbot_id, until_us(until), limit, idempotent=True)
    found = [row for row in rows if row["chat_id"] is not None]
    claims = [
        Claim(_signal(f"due/{nonce}/{number}", row["phone_number"], row["due_us"]), row["chat_id"], row["due_us"])
        for number, row in enumerate(found)
    ]
    if len(found) == limit:
        return claims, claims[-1].signal.sent_at
    return claims, rows[-1]["due_us"] / 1_000_000 if len(rows) > len(found) else None


def _signal(id: str, chat: str, due_us: int) -> InboundMessage:
    return InboundMessage(id=id, chat=ChatId(chat), sent_at=due_us / 1_000_000, text="due", kind="signal")
