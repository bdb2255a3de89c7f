"""What the owner wrote, found by PostgreSQL's full-text search."""

from collections.abc import Sequence
from typing import Literal, get_args

from ...errors import ConfigurationError
from ...knowledge import Passage
from .database import Database
from .values import storable

Language = Literal["spanish", "portuguese", "english"]

# A word weighs by its rarity: ln(1 + paragraphs / paragraphs that hold it). A word that no paragraph holds weighs like
# one that a single paragraph holds: it was asked for, and is not answered.
_SEARCH = """
WITH word AS (
    SELECT tecnobot.any_of(lexemes) AS query FROM tecnobot.words($2, $3) AS lexemes
), passage AS (
    SELECT id, title, body, search FROM tecnobot.knowledge
    WHERE chatbot_id = $1
      AND search @@ (SELECT tecnobot.any_of(array_agg(lexeme)) FROM tecnobot.words($2, $3) AS l, unnest(l) AS lexeme)
), weighed AS (
    SELECT query, ln(1 + (SELECT count(*) FROM tecnobot.knowledge WHERE chatbot_id = $1)
                     / greatest(count(passage.id), 1)::float8) AS weight
    FROM word LEFT JOIN passage ON passage.search @@ query
    GROUP BY query
)
SELECT title, body, sum(weight) FILTER (WHERE search @@ query) / sum(weight) AS coverage
FROM passage CROSS JOIN weighed
GROUP BY id, title, body, search
ORDER BY coverage DESC, sum(weight * ts_rank(search, query, 1)) DESC, id
LIMIT $4
"""
_ORDERED = "SELECT 1 FROM tecnobot.chatbot WHERE id = $1 FOR NO KEY UPDATE"
_CLEAR = "DELETE FROM tecnobot.knowledge WHERE chatbot_id = $1"
_FILL = """
INSERT INTO tecnobot.knowledge (chatbot_id, language, title, body)
SELECT $1, $2, title, body FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS written (title, body, number)
ORDER BY number
"""
_COUNT = "SELECT count(*) FROM tecnobot.knowledge WHERE chatbot_id = $1"


class PostgresKnowledge:
    """The paragraphs of one chatbot, which must exist (``ensure_chatbot``), in one *language*.

    Words are compared by their stems, written with accents or without. Frequent words ("de", "the") do not count.
    """

    def __init__(self, database: Database, chatbot_id: str, language: Language = "spanish") -> None:
        if language not in get_args(Language):
            raise ConfigurationError(f"knowledge language {language!r} is unknown; use {', '.join(get_args(Language))}")
        self._database = database
        self._chatbot_id = chatbot_id
        self._language = language

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        """The *limit* paragraphs that hold most of *question*, rare words counting more, best first."""
        rows = await self._database.fetch(_SEARCH, self._chatbot_id, self._language, storable(question), limit)
        return [Passage(row["title"], row["body"], row["coverage"]) for row in rows]

    async def replace(self, passages: Sequence[Passage]) -> None:
        """Hold exactly *passages* from now on, all or nothing; searches see the old ones until then."""
        titles = [storable(passage.title) for passage in passages]
        texts = [storable(passage.text) for passage in passages]
        async with self._database.transaction() as connection:
            # One replacement at a time: two at once would leave the paragraphs of both.
            await connection.execute(_ORDERED, self._chatbot_id)
            await connection.execute(_CLEAR, self._chatbot_id)
            await connection.execute(_FILL, self._chatbot_id, self._language, titles, texts)

    async def count(self) -> int:
        """How many paragraphs there are."""
        count: int = await self._database.fetchval(_COUNT, self._chatbot_id)
        return count
