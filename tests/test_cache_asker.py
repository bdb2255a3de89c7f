"""An answer for everybody is forgotten with who asked for it."""

import asyncio

from tecnobot_core import HybridCache
from tecnobot_core.cache.scopes import OfScope
from tecnobot_core.testing import FakeClock
from tecnobot_core.testing.tier import FakeTier, SharedStore

ANA, LUIS = "34600@s.example", "34601@s.example"


async def ask(cache: HybridCache, key: str, user: str, answer: str) -> str:
    async def load() -> str:
        return answer

    return await cache.get_or_load(key, load, policy="faq", tags=(OfScope(user),))


async def test_erasing_a_person_forgets_what_everybody_is_given_because_they_asked() -> None:
    cache = HybridCache()
    for key, user in (("a", ANA), ("b", LUIS)):
        await ask(cache, key, user, "old")
    assert await ask(cache, "a", LUIS, "new") == "old"
    assert await cache.erase(ANA) == 1
    assert cache.statistics()["entries"] == 1
    assert await ask(cache, "b", ANA, "new") == "old"
    assert await ask(cache, "a", LUIS, "new") == "new"


async def test_it_leaves_the_store_and_the_memory_of_other_processes_too() -> None:
    store = SharedStore(FakeClock(1e9))
    one, two = (HybridCache(store=FakeTier(store), secret=bytes(16)) for _ in range(2))
    async with one, two:
        await ask(one, "a", ANA, "old")
        await one.aclose()
        assert await ask(two, "a", LUIS, "new") == "old"
        async with one:
            assert await one.erase(ANA) == 1
            assert not store.records
            async with asyncio.timeout(10):
                while two.statistics()["entries"]:
                    await asyncio.sleep(0)
            assert await ask(two, "a", LUIS, "new") == "new"
