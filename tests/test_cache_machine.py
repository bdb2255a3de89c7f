"""Two processes with one store that fails, against a dict, in any order of things."""

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tecnobot_core import CachePolicy, HybridCache
from tecnobot_core.errors import StoreError
from tecnobot_core.testing import TellingStore, TellingTier
from tests.virtual_time import VirtualLoop

SECRET = bytes(range(32))
KEYS, SCOPES, TAGS, FACE = (
    st.sampled_from("ab"),
    st.sampled_from(["ana", "ann"]),
    st.sampled_from("xy"),
    st.integers(0, 9),
)


class CacheMachine(RuleBasedStateMachine):
    """Two processes, a store that fails, time that passes: no answer is ever of another key, or older than it may be.

    The model is a dict of versions: a load gives the version of its source, and after an invalidation, a set or a
    delete an older version must not come any more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        asyncio.set_event_loop(None)
        self.store = TellingStore(self.loop.time)
        self.version = 0
        self.oldest: dict[tuple[Any, ...], int] = {}  # of each place, what must not be undercut
        self.loaded_at: dict[int, float] = {}
        self.values: dict[str, Any] = {}

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        policies = {
            "p": CachePolicy(60),
            "mine": CachePolicy(60, scope="user"),
            "stale": CachePolicy(10, stale_while_revalidate_s=10, stale_if_error_s=30),
        }
        self.caches = [
            HybridCache(
                2**16, TellingTier(self.store), secret=SECRET, policies=policies, clock=self.loop.time, lease_s=3
            )
            for _ in range(2)
        ]
        for cache in self.caches:
            self.run(cache.__aenter__())

    def teardown(self) -> None:
        self.store.is_down = False
        for cache in getattr(self, "caches", ()):
            self.run(cache.aclose())
        self.loop.close()

    @rule(
        which=st.integers(0, 1), key=KEYS, policy=st.sampled_from(["p", "mine", "stale"]), scope=SCOPES, tag=TAGS,
        takes_s=st.sampled_from([0.0, 2.0]), fails=st.booleans(), callers=st.integers(1, 3),
    )  # fmt: skip
    def get_or_load(
        self, which: int, key: str, policy: str, scope: str, tag: str, takes_s: float, fails: bool, callers: int
    ) -> None:
        place = (policy, scope if policy == "mine" else None, key, tag)
        calls = 0

        async def load() -> list[Any]:
            nonlocal calls
            calls += 1
            self.version += 1
            self.loaded_at[self.version] = self.loop.time()
            loaded = [*place, self.version]
            await asyncio.sleep(takes_s)
            if fails:
                raise RuntimeError("down")
            return loaded

        async def ask() -> list[Any]:
            answers = await asyncio.gather(
                *(
                    self.caches[which].get_or_load(
                        f"{key}{tag}", load, policy=policy, scope=place[1], tags=(tag, f"only{tag}")
                    )
                    for _ in range(callers)
                ),
                return_exceptions=True,
            )
            for answer in answers:
                if isinstance(answer, BaseException):
                    assert fails
                    assert str(answer) == "down"
                    continue
                assert answer[:4] == list(place)
                assert answer[4] > self.oldest_of(place)
                max_age_s = {"stale": 40.0}.get(policy, 60.0)
                assert self.loop.time() - self.loaded_at[answer[4]] <= max_age_s + takes_s
            return answers

        self.run(ask())
        assert calls <= 1

    def oldest_of(self, place: tuple[Any, ...]) -> int:
        policy, scope, _, tag = place
        places = [("namespace", policy), ("scope", scope), ("tag", tag), place, ("all",)]
        return max(self.oldest.get(each, 0) for each in places)

    @rule(which=st.integers(0, 1), key=KEYS, policy=st.sampled_from(["p", "mine", "stale"]), scope=SCOPES, tag=TAGS)
    def invalidate_key(self, which: int, key: str, policy: str, scope: str, tag: str) -> None:
        place = (policy, scope if policy == "mine" else None, key, tag)
        self.run(self.caches[which].invalidate(key=f"{key}{tag}", policy=policy, scope=place[1]))
        self.settled(place)

    @rule(which=st.integers(0, 1), kind=st.sampled_from(["tag", "namespace", "scope"]), tag=TAGS, scope=SCOPES)
    def invalidate(self, which: int, kind: str, tag: str, scope: str) -> None:
        given = {"tag": tag, "namespace": "stale", "scope": scope}[kind]
        self.run(self.caches[which].invalidate(**{kind: given}))
        self.settled((kind, given))

    @rule(which=st.integers(0, 1), scope=SCOPES)
    def erase(self, which: int, scope: str) -> None:
        try:
            self.run(self.caches[which].erase(scope))
        except StoreError:
            assert self.store.is_down or self.caches[which].statistics()["store_is_broken"]
        else:
            tag = self.caches[which]._engine.space.scope_tag(scope)
            assert not [record for record in self.store.records.values() if tag in record.tags]
        self.settled(("scope", scope))

    def settled(self, place: tuple[Any, ...]) -> None:
        """From now on nothing older; with a store that fails the other process hears of it when that is back."""
        if self.store.is_down or any(cache.statistics()["marks_untold"] for cache in self.caches):
            self.heal()
        self.oldest[place] = self.version

    @rule(which=st.integers(0, 1), key=KEYS, value=FACE)
    def set(self, which: int, key: str, value: int) -> None:
        was_there = not self.store.is_down and self.caches[0]._digest(key) in self.store.records
        self.run(self.caches[which].set(key, value, ttl=1000))
        self.values[key] = value
        assert self.run(self.caches[which].get(key)) == value
        self.heal()
        self.run(asyncio.sleep(0.3))  # until it is written
        # What is written over is heard; where the store had nothing the other process keeps what it has until its time.
        if not was_there:
            self.caches[1 - which]._memory.delete(key)

    @rule(which=st.integers(0, 1), key=KEYS)
    def delete(self, which: int, key: str) -> None:
        self.run(self.caches[which].delete(key))
        self.values.pop(key, None)
        self.heal()

    @rule(which=st.integers(0, 1))
    def clear(self, which: int) -> None:
        self.run(self.caches[which].clear())
        self.values.clear()
        self.settled(("all",))

    @rule(which=st.integers(0, 1))
    def shrink(self, which: int) -> None:
        self.caches[which].shrink(0)

    @rule(seconds=st.sampled_from([0.3, 3.0, 11.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule()
    def break_store(self) -> None:
        self.run(asyncio.sleep(0.3))
        self.store.is_down = True

    @rule()
    def heal(self) -> None:
        async def healed() -> None:
            self.store.is_down = False
            while any(c.statistics()["store_is_broken"] or c.statistics()["marks_untold"] for c in self.caches):
                await asyncio.sleep(0.1)

        self.run(healed())

    @invariant()
    def the_face_gives_what_was_set_or_nothing(self) -> None:
        for cache in getattr(self, "caches", ()):
            for key in "ab":
                value = self.run(cache.get(key))
                assert value is None or value == self.values.get(key)

    @invariant()
    def the_budget_holds(self) -> None:
        assert all(cache.statistics()["used_bytes"] <= 2**16 for cache in getattr(self, "caches", ()))


CacheMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCacheMachine = CacheMachine.TestCase
