"""Loading: once for everybody who waits, in this process and in all others, and a stale value when it fails."""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tecnobot_core import CachePolicy, HybridCache
from tecnobot_core.cache import Uncached
from tecnobot_core.errors import CompletionError, ConfigurationError, LifecycleError, StoreError
from tecnobot_core.testing.tier import FakeTier, SharedStore
from tests.virtual_time import VirtualLoop, run_virtually

SECRET = bytes(range(32))


class Loader:
    """A loader that takes its time and counts; its value is how often it was called."""

    def __init__(self, takes_s: float = 0.0, fails: BaseException | None = None) -> None:
        self.takes_s = takes_s
        self.fails = fails
        self.calls = 0
        self.cancelled = 0

    async def __call__(self) -> int:
        self.calls += 1
        value = self.calls
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails is not None:
            raise self.fails
        return value


def now() -> float:
    return asyncio.get_running_loop().time()


def cache_with(policy: CachePolicy, store: SharedStore | None = None, **options: Any) -> HybridCache:
    tier = None if store is None else FakeTier(store)
    return HybridCache(
        store=tier, secret=SECRET, clock=asyncio.get_running_loop().time, policies={"p": policy}, **options
    )


def wait_until(condition: Callable[[], bool]) -> Awaitable[None]:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    return wait()


@pytest.mark.parametrize("takes_s", [0.5, 3.0, 30.0])
def test_a_hundred_callers_load_once(takes_s: float) -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(60)), Loader(takes_s)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        values = await asyncio.gather(*(cache.get_or_load("k", loader, policy="p") for _ in range(100)))
        took_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        assert (values, loader.calls, now()) == ([1] * 100, 1, takes_s)
        assert took_s < 1  # nobody polls: a hundred pollers would take seconds; one collection of garbage takes 0.1
        counts = cache.statistics()
        assert [counts[f"p.{name}"] for name in ("loads", "misses", "waits", "saved_calls")] == [1, 1, 99, 99]
        assert await cache.get_or_load("k", loader, policy="p") == 1
        assert (counts["p.memory_hits"], counts["p.saved_s"], counts["p.load_s"]) == (1, takes_s, takes_s)

    run_virtually(main())


def test_an_error_reaches_everyone_who_waits_once_and_is_not_remembered() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(60)), Loader(1, RuntimeError("no answer"))
        callers = [cache.get_or_load("k", loader, policy="p") for _ in range(5)]
        assert await asyncio.gather(*callers, return_exceptions=True) == [loader.fails] * 5
        assert (loader.calls, cache.statistics()["p.load_errors"]) == (1, 1)
        assert await cache.get_or_load("k", Loader(), policy="p") == 1

    run_virtually(main())


def test_cancelling_the_one_who_asked_first_cancels_nobody_else() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(60)), Loader(1)
        first, second = (asyncio.ensure_future(cache.get_or_load("k", loader, policy="p")) for _ in range(2))
        await asyncio.sleep(0.5)
        first.cancel()
        assert await second == 1
        assert (first.cancelled(), loader.calls, loader.cancelled) == (True, 1, 0)

    run_virtually(main())


def test_a_load_that_nobody_waits_for_is_cancelled_and_the_next_caller_loads_anew() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(60)), Loader(1)
        callers = [asyncio.ensure_future(cache.get_or_load("k", loader, policy="p")) for _ in range(3)]
        await asyncio.sleep(0.5)
        for caller in callers:
            caller.cancel()
        late = asyncio.ensure_future(cache.get_or_load("k", loader, policy="p"))  # before the load has ended
        await asyncio.wait(callers)
        assert loader.cancelled == 1
        assert await late == 2
        assert cache.statistics()["loading"] == 0

    run_virtually(main())


def test_the_last_caller_is_cancelled_when_its_load_has_cleaned_up() -> None:
    async def main() -> None:
        steps = []

        async def load() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(1)
                steps.append("cleaned up")

        caller = asyncio.ensure_future(cache_with(CachePolicy(60)).get_or_load("k", load, policy="p"))
        await asyncio.sleep(1)
        caller.cancel()
        await asyncio.wait((caller,))
        assert (steps, now()) == (["cleaned up"], 2)

    run_virtually(main())


def test_a_loader_that_hangs_is_given_up_and_the_next_caller_loads_anew() -> None:
    async def stubborn() -> int:
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.sleep(1000)
                return 1

    async def main() -> None:
        cache = cache_with(CachePolicy(60, hard_timeout_s=5))
        callers = [cache.get_or_load("k", stubborn, policy="p") for _ in range(3)]
        errors = await asyncio.gather(*callers, return_exceptions=True)
        assert [str(error) for error in errors] == ["loading took longer than 5 s"] * 3
        assert isinstance(errors[0], TimeoutError)
        assert now() == 5
        assert await cache.get_or_load("k", Loader(), policy="p") == 1

    run_virtually(main())


def test_a_loader_that_cancels_itself_cancels_no_caller() -> None:
    async def main() -> None:
        cache = cache_with(CachePolicy(60))
        with pytest.raises(LifecycleError, match="loading was cancelled"):
            await cache.get_or_load("k", Loader(0, asyncio.CancelledError()), policy="p")

    run_virtually(main())


def test_closing_ends_loads_and_tells_those_who_wait() -> None:
    async def main() -> None:
        cache = cache_with(CachePolicy(60))
        async with cache:
            caller = asyncio.ensure_future(cache.get_or_load("k", Loader(100), policy="p"))
            await asyncio.sleep(1)
        with pytest.raises(LifecycleError, match="closing the cache"):
            await caller
        assert await cache.get_or_load("k", Loader(), policy="p") == 1  # as aiocache's caches do

    run_virtually(main())


def test_what_must_not_be_kept_is_given_to_those_who_wait() -> None:
    async def main() -> None:
        calls = []

        async def load() -> str | Uncached[str]:
            calls.append(1)
            await asyncio.sleep(1)
            return Uncached("cut answ")

        cache = cache_with(CachePolicy(60))
        assert await asyncio.gather(*(cache.get_or_load("k", load, policy="p") for _ in range(3))) == ["cut answ"] * 3
        await cache.get_or_load("k", load, policy="p")
        assert (len(calls), cache.statistics()["p.unkept"]) == (2, 2)

    run_virtually(main())


@pytest.mark.parametrize(("negative_ttl_s", "calls"), [(None, [1, 1, 2]), (0, [1, 2, 3]), (5, [1, 1, 2])])
def test_nothing_is_kept_as_long_as_the_policy_says(negative_ttl_s: float | None, calls: list[int]) -> None:
    async def main() -> None:
        made: list[int] = []

        async def load() -> str | None:
            made.append(1)
            return None

        seen = []
        cache = cache_with(CachePolicy(10, negative_ttl_s=negative_ttl_s, stale_if_error_s=50))
        for pause_s in (0, 4, 7):
            await asyncio.sleep(pause_s)
            assert await cache.get_or_load("k", load, policy="p") is None
            seen.append(len(made))
        assert seen == calls

    run_virtually(main())


def test_what_is_too_big_is_not_kept() -> None:
    async def main() -> None:
        async def load() -> str:
            return "x" * 2000

        cache = cache_with(CachePolicy(60, max_item_bytes=1000))
        assert len(await cache.get_or_load("k", load, policy="p")) == 2000
        assert (cache.statistics()["entries"], cache.statistics()["p.unkept"]) == (0, 1)

    run_virtually(main())


def test_jitter_takes_a_share_of_the_time_away() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(100, jitter=0.2), uniform=lambda: 0.5), Loader()
        await cache.get_or_load("k", loader, policy="p")
        await asyncio.sleep(89.9)
        await cache.get_or_load("k", loader, policy="p")
        assert loader.calls == 1
        await asyncio.sleep(0.2)
        await cache.get_or_load("k", loader, policy="p")
        assert loader.calls == 2

    run_virtually(main())


# Stale values

STALE = CachePolicy(10, stale_while_revalidate_s=20, stale_if_error_s=100)


def test_an_open_cache_gives_what_is_stale_and_loads_again_in_the_background() -> None:
    async def main() -> None:
        cache, loader = cache_with(STALE), Loader(1)
        async with cache:
            await cache.get_or_load("k", loader, policy="p")
            await asyncio.sleep(15)
            began = now()
            assert await asyncio.gather(*(cache.get_or_load("k", loader, policy="p") for _ in range(9))) == [1] * 9
            assert now() == began
            await asyncio.sleep(2)
            assert await cache.get_or_load("k", loader, policy="p") == 2
            assert loader.calls == 2
            counts = cache.statistics()
            assert (counts["p.refreshes"], counts["p.stale_served"]) == (1, 9)

    run_virtually(main())


def test_an_unopened_cache_lets_one_caller_load_again_and_gives_the_others_what_is_stale() -> None:
    async def main() -> None:
        cache, loader = cache_with(STALE), Loader(1)
        await cache.get_or_load("k", loader, policy="p")
        await asyncio.sleep(15)
        assert await asyncio.gather(*(cache.get_or_load("k", loader, policy="p") for _ in range(4))) == [2, 1, 1, 1]

    run_virtually(main())


def test_what_is_too_stale_is_waited_for() -> None:
    async def main() -> None:
        cache, loader = cache_with(STALE), Loader(1)
        async with cache:
            await cache.get_or_load("k", loader, policy="p")
            await asyncio.sleep(32)
            assert await cache.get_or_load("k", loader, policy="p") == 2

    run_virtually(main())


def test_a_stale_value_is_given_when_loading_fails_and_not_after_its_window() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(10, stale_if_error_s=100)), Loader()
        await cache.get_or_load("k", loader, policy="p")
        loader.fails = CompletionError("down", kind="unavailable")
        await asyncio.sleep(50)
        assert await cache.get_or_load("k", loader, policy="p") == 1
        assert await cache.get_or_load("k", loader, policy="p") == 1
        assert loader.calls == 2  # for a few seconds nobody tries again
        await asyncio.sleep(6)
        assert await cache.get_or_load("k", loader, policy="p") == 1
        assert loader.calls == 3
        await asyncio.sleep(60)
        with pytest.raises(CompletionError):
            await cache.get_or_load("k", loader, policy="p")

    run_virtually(main())


def test_a_stale_value_is_given_after_the_soft_timeout_and_the_load_goes_on() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(10, stale_if_error_s=100, soft_timeout_s=1)), Loader()
        async with cache:
            await cache.get_or_load("k", loader, policy="p")
            await asyncio.sleep(11)
            loader.takes_s, began = 4, now()
            assert await cache.get_or_load("k", loader, policy="p") == 1
            assert now() == began + 1
            await asyncio.sleep(4)
            assert await cache.get_or_load("k", loader, policy="p") == 2
            assert loader.calls == 2

    run_virtually(main())


def test_a_load_that_goes_on_after_the_soft_timeout_is_nobodys_to_cancel() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(10, stale_if_error_s=100, soft_timeout_s=1)), Loader()
        async with cache:
            await cache.get_or_load("k", loader, policy="p")
            await asyncio.sleep(11)
            loader.takes_s = 4
            assert await cache.get_or_load("k", loader, policy="p") == 1
            late = asyncio.ensure_future(cache.get_or_load("k", loader, policy="p"))
            await asyncio.sleep(0.5)
            late.cancel()
            await asyncio.sleep(4)
            assert (loader.calls, loader.cancelled) == (2, 0)

    run_virtually(main())


def test_the_window_for_errors_is_its_own() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(10, stale_while_revalidate_s=100, stale_if_error_s=20)), Loader()
        await cache.get_or_load("k", loader, policy="p")
        loader.fails = RuntimeError("down")
        await asyncio.sleep(50)
        with pytest.raises(RuntimeError):
            await cache.get_or_load("k", loader, policy="p")

    run_virtually(main())


def test_that_there_was_nothing_is_never_stale() -> None:
    async def main() -> None:
        async def nothing() -> int | None:
            return None

        cache = cache_with(CachePolicy(10, stale_if_error_s=100, negative_ttl_s=5))
        await cache.get_or_load("k", nothing, policy="p")
        await asyncio.sleep(6)
        with pytest.raises(RuntimeError):
            await cache.get_or_load("k", Loader(0, RuntimeError("down")), policy="p")

    run_virtually(main())


def test_a_failure_is_remembered_with_a_value_that_was_written_down() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(10, stale_if_error_s=100), max_bytes=2**16), Loader()
        await cache.get_or_load("k", loader, policy="p")
        for number in range(60):
            await cache.set(str(number), "x" * 400)
        loader.fails = RuntimeError("down")
        await asyncio.sleep(50)
        for _ in range(3):
            assert await cache.get_or_load("k", loader, policy="p") == 1
            cache._memory.entries.copies.trim(0)  # what was read is an object as well, for a while
        assert loader.calls == 2

    run_virtually(main())


def test_without_a_stale_value_the_soft_timeout_waits_on() -> None:
    async def main() -> None:
        cache, loader = cache_with(CachePolicy(10, stale_if_error_s=100, soft_timeout_s=1)), Loader(4)
        async with cache:
            assert await cache.get_or_load("k", loader, policy="p") == 1

    run_virtually(main())


def test_what_was_invalidated_is_not_given_as_stale() -> None:
    async def main() -> None:
        cache, loader = cache_with(STALE), Loader()
        await cache.get_or_load("k", loader, policy="p", tags=("menu",))
        await asyncio.sleep(15)
        await cache.invalidate(tag="menu")
        loader.fails = RuntimeError("down")
        with pytest.raises(RuntimeError):
            await cache.get_or_load("k", loader, policy="p", tags=("menu",))

    run_virtually(main())


def test_a_background_load_that_fails_is_logged_and_fails_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        cache, loader = cache_with(STALE), Loader()
        async with cache:
            await cache.get_or_load("k", loader, policy="p")
            await asyncio.sleep(15)
            loader.fails = RuntimeError("down")
            assert await cache.get_or_load("k", loader, policy="p") == 1
            await asyncio.sleep(1)

    run_virtually(main())
    assert "loading again in the background failed: RuntimeError('down')" in caplog.text


# Several processes


def test_two_processes_load_once_and_the_other_is_told_at_once() -> None:
    async def main() -> None:
        store = SharedStore(now)
        loader = Loader(30)
        ended: list[float] = []

        async def ask(cache: HybridCache) -> int:
            value = await cache.get_or_load("k", loader, policy="p")
            ended.append(now())
            return value

        async with cache_with(CachePolicy(60), store) as one, cache_with(CachePolicy(60), store) as two:
            values = await asyncio.gather(*(ask(cache) for cache in (one, two) for _ in range(50)))
            assert (values, loader.calls) == ([1] * 100, 1)
            assert max(ended) - min(ended) < 0.025
            counts = [cache.statistics() for cache in (one, two)]
            assert sorted(c["p.loads"] for c in counts) == [0, 1]
            assert sorted(c["p.store_hits"] for c in counts) == [0, 1]
        assert not store.leases

    run_virtually(main())


def test_a_leader_that_was_killed_is_replaced_when_its_lease_ends() -> None:
    async def main() -> None:
        store, loader = SharedStore(now), Loader(0.5)
        dead = FakeTier(store)
        async with cache_with(CachePolicy(60), store, lease_s=3) as cache:
            digest = cache._engine.digest("", "k", cache._engine.rules["p"], None)
            assert await dead.acquire(digest, 3)
            assert await cache.get_or_load("k", loader, policy="p") == 1
            assert now() == pytest.approx(3.5, abs=0.1)

    run_virtually(main())


def test_those_here_need_not_wait_until_the_store_has_it() -> None:
    async def main() -> None:
        store = SharedStore(now)
        tier = FakeTier(store)
        clock = asyncio.get_running_loop().time
        async with HybridCache(store=tier, secret=SECRET, clock=clock, policies={"p": CachePolicy(60)}) as cache:
            tier.takes_s = 0.2
            assert await cache.get_or_load("k", Loader(1), policy="p") == 1
            assert now() == pytest.approx(1.4)  # two looks, and no write
            assert not store.records
            await asyncio.sleep(0.3)
            assert len(store.records) == 1

    run_virtually(main())


def test_what_is_invalidated_before_the_loader_begins_does_not_concern_it() -> None:
    async def main() -> None:
        store, loader = SharedStore(now), Loader()
        dead = FakeTier(store)
        async with cache_with(CachePolicy(60), store) as cache:
            await dead.acquire(cache._engine.digest("", "k", cache._engine.rules["p"], None), 3)
            caller = asyncio.ensure_future(cache.get_or_load("k", loader, policy="p"))
            await asyncio.sleep(1)
            await cache.invalidate(namespace="p")
            assert await caller == 1
            assert await cache.get_or_load("k", loader, policy="p") == 1

    run_virtually(main())


def test_a_leader_that_fails_lets_the_other_process_load() -> None:
    async def main() -> None:
        store = SharedStore(now)
        fails, works = Loader(1, RuntimeError("down")), Loader(1)
        async with cache_with(CachePolicy(60), store) as one, cache_with(CachePolicy(60), store) as two:
            first = asyncio.ensure_future(one.get_or_load("k", fails, policy="p"))
            await asyncio.sleep(0.1)
            assert await two.get_or_load("k", works, policy="p") == 1
            with pytest.raises(RuntimeError):
                await first
            assert now() == pytest.approx(2, abs=0.1)

    run_virtually(main())


def test_nobody_waits_again_and_again_for_what_cannot_be_stored() -> None:
    async def main() -> None:
        store = SharedStore(now)

        async def load() -> object:
            await asyncio.sleep(1)
            return (1, 2)  # JSON would give back a list

        caches = [cache_with(CachePolicy(60), store) for _ in range(8)]
        for cache in caches:
            await cache.__aenter__()
        values = await asyncio.gather(*(cache.get_or_load("k", load, policy="p") for cache in caches))
        assert values == [(1, 2)] * 8
        assert now() <= 3.1  # two waits at most, and not one after the other
        assert sum(cache.statistics()["p.memory_only"] for cache in caches) == 8
        for cache in caches:
            await cache.aclose()

    run_virtually(main())


def test_with_a_store_that_fails_each_process_loads_once_for_itself() -> None:
    async def main() -> None:
        store, loader = SharedStore(now), Loader(1)
        async with cache_with(CachePolicy(60), store) as one, cache_with(CachePolicy(60), store) as two:
            store.is_down = True
            await asyncio.gather(*(c.get_or_load("k", loader, policy="p") for c in (one, two) for _ in range(50)))
            assert loader.calls == 2
            assert now() == pytest.approx(1, abs=0.1)
            store.is_down = False

    run_virtually(main())


def test_an_error_of_a_store_that_the_loader_asks_is_the_callers() -> None:
    async def main() -> None:
        loader = Loader(1, StoreError("the orders are away", retryable=True))
        async with cache_with(CachePolicy(60), SharedStore(now)) as cache:
            with pytest.raises(StoreError, match="orders"):
                await cache.get_or_load("k", loader, policy="p")
        assert loader.calls == 1

    run_virtually(main())


def test_a_database_that_is_gone_costs_hits_only_and_is_used_when_it_is_back() -> None:
    async def main() -> None:
        store, loader = SharedStore(now), Loader()
        async with cache_with(CachePolicy(3600), store) as cache, cache_with(CachePolicy(3600), store) as other:
            await cache.get_or_load("before", loader, policy="p")
            store.is_down = True
            for number in range(10):
                assert await cache.get_or_load(f"k{number}", loader, policy="p") == number + 2
            assert cache.statistics()["store_is_broken"] == 1
            began = now()
            await cache.get_or_load("quick", loader, policy="p")
            assert now() - began < 0.001
            store.is_down = False
            await wait_until(lambda: not cache.statistics()["store_is_broken"])
            assert await other.get_or_load("before", Loader(), policy="p") == 1
            await cache.get_or_load("after", loader, policy="p")
            assert await other.get_or_load("after", Loader(), policy="p") == 13

    run_virtually(main())


def test_what_another_process_loaded_is_as_fresh_as_there() -> None:
    async def main() -> None:
        store, loader = SharedStore(now), Loader()
        async with cache_with(CachePolicy(60), store) as one, cache_with(CachePolicy(60), store) as two:
            await one.get_or_load("k", loader, policy="p")
            await asyncio.sleep(59)
            assert await two.get_or_load("k", loader, policy="p") == 1
            await asyncio.sleep(2)
            assert await two.get_or_load("k", loader, policy="p") == 2

    run_virtually(main())


def test_a_stale_value_in_the_store_is_given_at_once_and_loaded_again() -> None:
    async def main() -> None:
        store, loader = SharedStore(now), Loader()
        async with cache_with(STALE, store) as one, cache_with(STALE, store) as two:
            await one.get_or_load("k", loader, policy="p")
            await asyncio.sleep(15)
            loader.takes_s, began = 1, now()
            assert await two.get_or_load("k", loader, policy="p") == 1
            assert now() == began
            await asyncio.sleep(2)
            assert await two.get_or_load("k", loader, policy="p") == 2
            assert loader.calls == 2

    run_virtually(main())


def test_a_policy_that_is_not_stored_never_asks_the_store() -> None:
    async def main() -> None:
        tier = FakeTier(SharedStore(now))
        policies = {"p": CachePolicy(60, store=False)}
        async with HybridCache(store=tier, secret=SECRET, policies=policies, clock=now) as cache:
            await cache.get_or_load("k", Loader(), policy="p")
        assert tier.calls == []

    run_virtually(main())


def test_clocks_of_machines_that_jump_make_nothing_live_longer() -> None:
    async def main() -> None:
        wall = [1_000_000.0]
        store = SharedStore(lambda: wall[0] + now())
        loader = Loader()
        policy = CachePolicy(60)
        async with cache_with(policy, store) as one, cache_with(policy, store) as two:
            await one.get_or_load("k", loader, policy="p")
            await asyncio.sleep(1)
            wall[0] -= 86_400
            assert await one.get_or_load("k", loader, policy="p") == 1  # memory has a clock of its own
            assert await two.get_or_load("k", loader, policy="p") == 2
            await asyncio.sleep(60)
            assert await one.get_or_load("k", loader, policy="p") == 3
            await one.invalidate(namespace="p")
            assert await one.get_or_load("k", loader, policy="p") == 4  # loaded after the mark, though the clock is not
            assert await one.get_or_load("k", loader, policy="p") == 4
            wall[0] += 10 * 86_400
            assert await one.get_or_load("k", loader, policy="p") == 4
            await two.invalidate(namespace="p")
            assert await one.get_or_load("k", loader, policy="p") == 5
            assert await one.get_or_load("k", loader, policy="p") == 5

    run_virtually(main())


def test_a_store_needs_a_secret_and_an_open_cache() -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="needs secret="):
            HybridCache(store=FakeTier(SharedStore(now)))
        cache = cache_with(CachePolicy(60), SharedStore(now))
        for use in (
            cache.get_or_load("k", Loader(), policy="p"),
            cache.get("k"),
            cache.set("k", 1),
            cache.erase("ana"),
        ):
            with pytest.raises(LifecycleError, match="async with"):
                await use
        async with cache:
            with pytest.raises(LifecycleError, match="open already"):
                await cache.__aenter__()

    run_virtually(main())


def test_virtual_time_does_not_wait_for_ever() -> None:
    loop = VirtualLoop()
    try:
        with pytest.raises(RuntimeError, match="nothing will happen"):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()
