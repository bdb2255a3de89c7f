"""The chatbots that share a database."""

from .database import Database
from .values import storable

_ENSURE = """
INSERT INTO tecnobot.chatbot AS chatbot (id, name, language) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, language = excluded.language
    WHERE (chatbot.name, chatbot.language) IS DISTINCT FROM (excluded.name, excluded.language)
"""


async def ensure_chatbot(database: Database, chatbot_id: str, *, name: str = "", language: str = "spanish") -> None:
    """Create the chatbot, or give the existing one this name and language. All other tables refer to it."""
    await database.execute(_ENSURE, chatbot_id, storable(name), language)
