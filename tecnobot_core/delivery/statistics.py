"""What a Delivery counts."""

from dataclasses import dataclass
from typing import Protocol


class Counts(Protocol):
    """Where the sender counts how messages ended."""

    sent: int
    uncertain: int
    rejected: int
    expired: int


@dataclass(slots=True)
class DeliveryStatistics:
    """Counts since the start; ``waiting`` and ``unsent`` are of this moment, in memory.

    Every accepted message, and every conversation that was ``due``, is in ``committed`` in the end. Of these,
    ``collapsed`` were answered with a newer one, and ``expired_turns`` came too late to be answered. Every outgoing one
    is sent, uncertain, rejected or expired. ``missed`` were lost on their way, and never accepted.
    """

    accepted: int = 0
    duplicates: int = 0
    missed: int = 0
    due: int = 0
    committed: int = 0
    collapsed: int = 0
    expired_turns: int = 0
    failed: int = 0
    store_retries: int = 0
    sent: int = 0
    uncertain: int = 0
    rejected: int = 0
    expired: int = 0
    waiting: int = 0
    unsent: int = 0
