"""What the manager tells of itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from .gauge import LimitSource
from .ports import MemoryLevel


@dataclass(frozen=True, slots=True)
class ReleaserStatistics:
    """One releaser since it was registered.

    ``estimated_bytes`` is what it said it freed, ``actual_bytes`` what the system got back when it was asked;
    ``held_bytes`` what it says it holds now, None where it does not tell. A *demoted* one is asked after the others, as
    its word was worth little three times in a row. A *late* one was cancelled, and is not asked again before it ends.
    """

    priority: int
    asked: int
    estimated_bytes: int
    actual_bytes: int
    failures: int
    demoted: bool
    late: bool
    held_bytes: int | None


@dataclass(frozen=True, slots=True)
class ReservationStatistics:
    """``reserved_bytes`` are those of leases; of them ``expected_bytes`` are not in readings yet."""

    reserved_bytes: int
    expected_bytes: int
    leases: int
    waiting: int
    waits: int
    waited_s: float
    refused: int
    leaked: int


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """One reading, and what happened since the start.

    ``used_bytes`` is what counts against ``limit_bytes``; ``released_bytes`` what releasers said they freed,
    ``returned_bytes`` what the system got back of it. ``container_bytes`` is the container's use in proportion to the
    limit. ``seconds_to_critical`` is None when memory does not grow. ``bytes_per_1000_messages`` is how much RSS grew,
    by the line through the last readings; None before there are three. ``unmanaged_bytes`` is what no releaser holds.
    ``failed_readings`` are all so far; with a ``reading_error`` the last one failed, and what is told here is older.
    """

    used_bytes: int
    limit_bytes: int
    level: MemoryLevel
    peak_bytes: int
    released_bytes: int
    limit_source: LimitSource
    rss_bytes: int
    children_bytes: int
    container_bytes: int | None
    slope_bytes_per_s: float
    seconds_to_critical: float | None
    admits_media: bool
    admits_messages: bool
    returned_bytes: int
    trims: int
    collections: int
    messages: int
    bytes_per_1000_messages: float | None
    unmanaged_bytes: int
    failed_readings: int
    reading_error: str
    reservations: ReservationStatistics
    releasers: Mapping[str, ReleaserStatistics]
