"""What a hit and a set cost, in CPU of the thread, as ratios of one run."""

import gc
import random
import time
from collections.abc import Sequence
from statistics import median

from benchmarks._cache import peers
from benchmarks._cache.peers import TTL_S, Peer
from benchmarks._report import Report

N_KEYS = (
    4_000  # of 1 KB: they are objects in a budget of 64 MB, most are written down in one of 16, few fit in one of 4
)
ROUNDS = 15
WORDS = ("quiero", "ver", "el", "menú", "de", "hoy", "por", "favor", "cuánto", "cuesta", "pizza", "grande", "gracias")

GOALS = (("plain", 2.0), ("namespace", 3.5), ("policy", 3.5), ("policy and person", 3.5))
AIOCACHE = "aiocache, timeout=0"
CASHEWS = "cashews"
CACHETOOLS = "cachetools.TTLCache in async def"
WRITTEN_DOWN = "most values written down (16 MB budget)"
EVICTING = "evicting (4 MB budget)"


async def report_operations(report: Report) -> None:
    """Hits and sets of everybody over those of the floor."""
    caches = {
        "floor": peers.floor(),
        "plain": peers.ours(),
        "namespace": peers.ours(namespace="shop"),
        "policy": peers.ours_by_policy(),
        "policy and person": peers.ours_by_policy("34600000000"),
        WRITTEN_DOWN: peers.ours(16),
        EVICTING: peers.ours(4),
        AIOCACHE: peers.aiocache(timeout=0),
        "aiocache": peers.aiocache(),
        CASHEWS: peers.cashews(),
        CACHETOOLS: peers.cachetools_ttl(),
    }
    costs = await _costs({name: cache for name, cache in caches.items() if cache is not None})
    _report_hits(report, {name: hit for name, (hit, _) in costs.items()})
    _report_sets(report, {name: put for name, (_, put) in costs.items()})


def _report_hits(report: Report, ns: dict[str, float]) -> None:
    floor = ns["floor"]
    report.add("1 floor, hit of a dict in async def", ns["floor"], "ns")
    for name, limit in GOALS:
        ratio = ns[name] / floor
        report.add(f"1 hit, {name}", ratio, "× floor", f"at most {limit}", ratio <= limit)
    ratio = ns[AIOCACHE] / ns["plain"]
    report.add(f"1 hit, {AIOCACHE}, over ours", ratio, "×", "at least 5", ratio >= 5)
    _report_others(report, "1 hit", ns, (WRITTEN_DOWN, "aiocache", CASHEWS, CACHETOOLS))


def _report_sets(report: Report, ns: dict[str, float]) -> None:
    floor = ns["floor"]
    report.add("2 floor, set of a dict in async def", ns["floor"], "ns")
    for name in ("plain", WRITTEN_DOWN):
        ratio = ns[name] / floor
        report.add(f"2 set, {name}", ratio, "× floor", "at most 12", ratio <= 12)
        ratio = ns[AIOCACHE] / ns[name]
        report.add(f"2 set, {AIOCACHE}, over ours {name}", ratio, "×", "at least 4", ratio >= 4)
    _report_others(report, "2 set", ns, (EVICTING, "aiocache", CASHEWS, CACHETOOLS))


def _report_others(report: Report, what: str, ns: dict[str, float], names: Sequence[str]) -> None:
    for name in names:
        report.add(
            f"{what}, {name}", ns[name] / ns["floor"] if name in ns else "not installed", "× floor" * (name in ns)
        )


async def _costs(caches: dict[str, Peer]) -> dict[str, tuple[float, float]]:
    """Nanoseconds of a hit and of a set; caches take turns, so that the machine's moods reach all."""
    rng = random.Random(1)
    keys = [f"reply:{number:08x}{rng.getrandbits(64):016x}" for number in range(N_KEYS)]
    pairs = [(key, " ".join(rng.choices(WORDS, k=200))[:1000]) for key in keys]
    asked = rng.choices(keys, k=N_KEYS)
    for cache in caches.values():
        await _set_ns(cache, pairs)
        for _ in range(3):
            await _get_ns(cache, asked)
    gc.collect()
    gc.freeze()
    try:
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in caches}
        loops = []
        for _ in range(ROUNDS):
            loops.append(_loop_ns(asked))
            for name, cache in rng.sample(list(caches.items()), len(caches)):  # no one is always behind the same
                took[name].append((await _get_ns(cache, asked), await _set_ns(cache, pairs)))
                await _get_ns(cache, asked)  # the next round finds what is read often
    finally:
        gc.unfreeze()
    loop = median(loops)
    return {name: (median(g for g, _ in both) - loop, median(s for _, s in both) - loop) for name, both in took.items()}


async def _get_ns(cache: Peer, keys: Sequence[str]) -> float:
    began = time.thread_time_ns()
    await cache.read(keys)
    return (time.thread_time_ns() - began) / len(keys)


async def _set_ns(cache: Peer, pairs: Sequence[tuple[str, str]]) -> float:
    put = cache.set
    began = time.thread_time_ns()
    for key, value in pairs:
        await put(key, value, TTL_S)
    return (time.thread_time_ns() - began) / len(pairs)


def _loop_ns(keys: Sequence[str]) -> float:
    began = time.thread_time_ns()
    for _ in keys:
        pass
    return (time.thread_time_ns() - began) / len(keys)
