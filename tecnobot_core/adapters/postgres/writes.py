"""One call of ``tecnobot.deliver``: what many writers want stored, in one round trip and one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .database import Database
from .values import to_json

_PARTS = ("accepted", "claimed", "grouped", "turns", "posted", "moved")  # of a call, in the order of its parameters
_DELIVER = f"""
SELECT * FROM tecnobot.deliver($1, $2, {", ".join(f"${number}::text::jsonb" for number in range(3, 3 + len(_PARTS)))})
"""


@dataclass(slots=True)
class Write:
    """What one writer wants stored. ``nonce`` names its call, however often it is repeated."""

    nonce: str
    accepted: Sequence[dict[str, Any]] = ()
    claimed: Sequence[dict[str, Any]] = ()
    grouped: Sequence[dict[str, Any]] = ()
    turns: Sequence[dict[str, Any]] = ()
    posted: Sequence[dict[str, Any]] = ()
    moved: Sequence[dict[str, Any]] = ()

    @property
    def needs_lease(self) -> bool:
        """Whether only the owner may store it."""
        return bool(self.claimed or self.grouped or self.turns or self.posted or self.moved)


async def deliver(
    database: Database, chatbot_id: str, epoch: int | None, writes: Sequence[Write]
) -> Sequence[Sequence[Mapping[str, Any]]]:
    """Store *writes*, all or none; the rows that each of them gets as its answer."""
    given = [to_json([row for write in writes for row in getattr(write, part)]) for part in _PARTS]
    found = await database.fetch(_DELIVER, chatbot_id, epoch, *given, idempotent=True)
    answers: dict[str, list[Any]] = {write.nonce: [] for write in writes}
    for row in found:
        answers[row["nonce"]].append(row)
    return [answers[write.nonce] for write in writes]
