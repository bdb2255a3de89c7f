"""Why a lookup hits or misses."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import StoreError
from .envelope import Entry
from .memory import MISSING

if TYPE_CHECKING:
    from .engine import Engine
    from .rules import Rules


@dataclass(frozen=True, slots=True)
class Explanation:
    """What ``memory`` and ``store`` have of a key now; ``digest`` is its name in the store."""

    is_hit: bool
    digest: str
    memory: str
    store: str
    is_loading: bool

    def __str__(self) -> str:
        loading = "; it is being loaded" if self.is_loading else ""
        return f"{'hit' if self.is_hit else 'miss'}: memory {self.memory}; the store {self.store}{loading}"


async def explain(engine: "Engine", full_key: str, digest: bytes, rules: "Rules") -> Explanation:
    """What a lookup of *full_key* would find."""
    in_memory, memory = _memory(engine, engine.memory.get(full_key, MISSING))
    in_store, store = await _store(engine, digest, rules)
    is_loading = engine.flights.get(full_key) is not None
    return Explanation(in_memory or in_store, digest.hex(), memory, store, is_loading)


def _memory(engine: "Engine", held: object) -> tuple[bool, str]:
    if held is MISSING:
        return False, "does not have it: it was never kept here, has expired, or had to go"
    if not isinstance(held, Entry):
        return True, "has it"
    if (tag := engine.marks.outdated_by(held.began_at, held.tags)) is not None:
        if engine.marks.is_overwritten(tag):
            return False, "has one that was written over by another process, or invalidated by its key"
        return False, "has one that was invalidated by its key, namespace, scope or a tag"
    if (left_s := held.fresh_until - engine.clock()) <= 0:
        return False, f"has one that is stale for {-left_s:.1f} s"
    return True, "has it"


async def _store(engine: "Engine", digest: bytes, rules: "Rules") -> tuple[bool, str]:
    if engine.guarded is None or engine.stored is None:
        return False, "does not exist"
    if not rules.policy.store:
        return False, f"is not used by the policy {rules.name!r}"
    if not engine.is_open:
        return False, "is not open"
    if engine.guarded.is_broken:
        return False, "is broken and left alone"
    if not engine.stored.trusted:
        return False, "is not read before its marks are known"
    try:
        record = await engine.guarded.look(digest)
    except StoreError as error:
        return False, f"does not answer: {error}"
    if record is None:
        return False, "does not have it"
    judged = engine.stored.judge(record, rules.policy)
    if isinstance(judged, str):
        return False, judged
    if (left_s := judged.entry.fresh_until - engine.clock()) <= 0:
        return False, f"has one that is stale for {-left_s:.1f} s"
    return True, f"has it for {judged.expires_at - engine.clock():.1f} s, {len(record.data)} bytes"
