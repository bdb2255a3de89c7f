"""What of the bot gives memory back, and in which order."""

from ..cache import HybridCache
from ..delivery.tail import HistoryTail
from ..flows import FlowRepository
from ..memory import MemoryManager, Priority

SPARE_FLOWS_S = 120.0  # flows that were used a moment ago may be needed in the middle of a turn


def register_parts(
    memory: MemoryManager,
    *,
    tail: HistoryTail | None,
    cache: HybridCache | None,
    flows: FlowRepository | None,
) -> None:
    """Have *memory* ask them: answers first, which can be asked for again, histories last, and only at critical."""
    if cache is not None:
        statistics = cache.statistics()
        memory.register(
            "cache",
            cache.release_slowly,
            priority=Priority.REPLIES,
            held=lambda: int(statistics["used_bytes"]),
        )
    if flows is not None:
        memory.register(
            "flows",
            lambda wanted_bytes: flows.release() if flows.idle_s >= SPARE_FLOWS_S else 0,
            priority=Priority.REPLIES,
            held=lambda: flows.used_bytes,
        )
    if tail is not None:
        memory.register("history", tail.release, priority=Priority.HISTORIES, held=lambda: tail.used_bytes)
