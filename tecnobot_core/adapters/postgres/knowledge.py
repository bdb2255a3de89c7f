"""What the owner wrote, found by PostgreSQL's full-text search."""

import re
from collections.abc import Sequence
from typing import Literal, get_args

from ...errors import ConfigurationError
from ...knowledge import Passage
from .database import Database
from .values import storable

Language = Literal["spanish", "portuguese", "english"]

# What people wrap a question in, and words that mean nothing but are known as such only with their accent. Full-text
# search leaves out the rest.
_FILLERS: dict[Language, str] = {
    "spanish": """
        hola buenas buenos gracias favor disculpe disculpa perdón oye quiero quisiera querría gustaría necesito puedo
        puede pueden podría podrían saber decir decirme ver tengo tiene tienen tienes hago hace hacen hay cuánto cuánta
        cuántos cuántas cuál cuáles cuándo cómo dónde quién usted ustedes algún alguna si mas estan
        tambien
    """,
    "portuguese": """
        oi olá bom boa obrigado obrigada favor desculpe quero queria gostaria preciso posso pode podem poderia saber
        dizer ver tenho tem têm faço faz há quanto quanta quantos quantas qual quais quando como onde quem você vocês
        algum alguma
    """,
    "english": """
        hi hello hey thanks thank please sorry want need like know tell see get much many would could may shall
        anything something someone
    """,
}

# Only together: "tardes" alone has the stem of "tarda".
_GREETING = re.compile(
    r"\b(?:buen[oa]s?\s+(?:d[ií]a|tarde|noche)s?|bo[am]s?\s+(?:dia|tarde|noite)s?|good\s+(?:morning|afternoon|evening))\b",
    re.IGNORECASE,
)

# A word weighs by its rarity: ln(1 + paragraphs / paragraphs that hold it). A word that no paragraph holds weighs like
# one that a single paragraph holds: it was asked for, and is not answered.
_SEARCH = """
WITH word AS MATERIALIZED (
    SELECT lexemes, tecnobot.any_of(lexemes) AS query FROM tecnobot.words($2, $3) AS lexemes
    WHERE NOT lexemes && (SELECT tsvector_to_array(tecnobot.lexemes($2, $4)))
), weighed AS MATERIALIZED (
    SELECT query, ln(1 + everything.paragraphs / greatest(holding.paragraphs, 1)) AS weight
    FROM word
    CROSS JOIN (SELECT count(*)::float8 AS paragraphs FROM tecnobot.knowledge WHERE chatbot_id = $1) AS everything
    CROSS JOIN LATERAL (
        SELECT count(*) AS paragraphs FROM tecnobot.knowledge WHERE chatbot_id = $1 AND search @@ query
    ) AS holding
)
SELECT title, body, coverage
FROM tecnobot.knowledge CROSS JOIN LATERAL (
    SELECT sum(weight) FILTER (WHERE search @@ query) / sum(weight) AS coverage,
           sum(weight * ts_rank(search, query, 1)) AS rank
    FROM weighed
) AS found
WHERE chatbot_id = $1
  AND search @@ (SELECT tecnobot.any_of(array_agg(lexeme)) FROM word, unnest(lexemes) AS lexeme)
ORDER BY coverage DESC, rank DESC, id
LIMIT $5
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

    Words are compared by their stems, written with accents or without. Words that mean nothing here ("de", "the",
    "please", "quisiera") do not count.
    """

    def __init__(self, database: Database, chatbot_id: str, language: Language = "spanish") -> None:
        if language not in get_args(Language):
            raise ConfigurationError(f"knowledge language {language!r} is unknown; use {', '.join(get_args(Language))}")
        self._database = database
        self._chatbot_id = chatbot_id
        self._language = language

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        """The *limit* paragraphs that hold most of *question*, rare words counting more, best first."""
        asked = _GREETING.sub(" ", storable(question))
        rows = await self._database.fetch(
            _SEARCH, self._chatbot_id, self._language, asked, _FILLERS[self._language], limit, idempotent=True
        )
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
        count: int = await self._database.fetchval(_COUNT, self._chatbot_id, idempotent=True)
        return count
