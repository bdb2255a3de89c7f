"""What a guarded store was asked, and what became of it."""

from dataclasses import dataclass


@dataclass(slots=True)
class StoreStatistics:
    """Counts since the start; all numbers are of records or keys where nothing else is said.

    ``reads`` were asked of the store in ``queries``; ``unanswered`` of them were misses because it failed, was too slow
    or is broken. ``written`` records went out in ``batches``; ``replaced`` ones were written over, or deleted, before
    that; ``dropped`` ones could not be written. ``failures`` are failed calls, ``openings`` how often the breaker
    opened. ``forgotten_deletes`` were too many to be kept until it is back.
    """

    reads: int = 0
    queries: int = 0
    unanswered: int = 0
    written: int = 0
    batches: int = 0
    replaced: int = 0
    dropped: int = 0
    deleted: int = 0
    failures: int = 0
    openings: int = 0
    forgotten_deletes: int = 0
