"""The stores of the cache that need no server, and aiocache's backends as one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiocache import SimpleMemoryCache
from aiocache.serializers import JsonSerializer, NullSerializer, PickleSerializer

from tecnobot_core.cache.aiocache_tier import AiocacheTier
from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.cache.ports import Record
from tecnobot_core.errors import ConfigurationError, StoreError
from tecnobot_core.testing import FakeClock, FakeTier, TellingStore, TellingTier
from tests.contracts.cache_tiers import (
    A,
    B,
    Client,
    Clients,
    LeasesContract,
    MarksContract,
    OverwritesContract,
    RecordsContract,
    lasting,
)


@asynccontextmanager
async def guarded(first: Any, second: Any) -> AsyncIterator[Clients]:
    async with GuardedTier(first) as one, GuardedTier(second) as two:
        yield Clients(Client(one, one.marks, one.leases), Client(two, two.marks, two.leases))


class TestFakeTier(RecordsContract, MarksContract, LeasesContract):
    @pytest.fixture
    def clients(self) -> Clients:
        tier = FakeTier()
        other = tier.another_client()
        return Clients(Client(tier, tier, tier), Client(other, other, other))


class TestGuardedFakeTier(RecordsContract, MarksContract, LeasesContract):
    @pytest.fixture
    async def clients(self) -> AsyncIterator[Clients]:
        tier = FakeTier()
        async with guarded(tier, tier.another_client()) as clients:
            yield clients


class TestTellingTier(RecordsContract, OverwritesContract):
    @pytest.fixture
    def clients(self) -> Clients:
        tier = TellingTier(TellingStore(time.time))
        other = tier.another_client()
        return Clients(Client(tier, overwrites=tier), Client(other, overwrites=other))


class TestAiocacheTier(RecordsContract):
    can_erase = compares = False

    @pytest.fixture
    def clients(self) -> Clients:
        cache = SimpleMemoryCache(timeout=0)
        return Clients(Client(AiocacheTier(cache)), Client(AiocacheTier(cache)))

    async def test_what_is_no_record_is_absent_and_counted(self) -> None:
        cache = SimpleMemoryCache(timeout=0)
        tier = AiocacheTier(cache, prefix="bot:")
        await tier.put_many([lasting(tier, A, tags=(B,)), lasting(tier, B)])
        whole = await cache.get(f"bot:{A.hex()}")
        foreign = ["text", 5, b"", b"{}", whole[:30], b"?" + whole[1:], await cache.get(f"bot:{B.hex()}"), whole[:-20]]
        for value in foreign:
            await cache.set(f"bot:{A.hex()}", value)
            assert set(await tier.get_many([A, B])) == {B}
        assert tier.unreadable == len(foreign)

    async def test_a_record_whose_times_are_no_numbers_is_absent(self) -> None:
        tier = AiocacheTier(SimpleMemoryCache(timeout=0))
        await tier.put_many([Record(A, b"x", float("nan"), time.time() + 9)])
        assert await tier.get_many([A]) == {}
        assert tier.unreadable == 1

    async def test_the_backend_forgets_what_has_expired(self) -> None:
        cache = TtlCache()
        tier = AiocacheTier(cache, clock=lambda: 1000.0)
        ends = [1000.1, 1001.0, 1001.5, 1300.0, 1301.0, 1000.0 + 29 * 86_400, float("inf")]
        await tier.put_many([Record(b"%d" % number, b"x", 1000.0, end) for number, end in enumerate(ends)])
        month = 30 * 86_400
        assert cache.ttls == {1: 2, 2: 1, 512: 2, month: 2}
        assert all(type(ttl) is int for ttl in cache.ttls)

    async def test_the_backends_whole_seconds_make_nothing_last_longer(self) -> None:
        clock = FakeClock(1000.0)
        tier = AiocacheTier(SimpleMemoryCache(timeout=0), clock=clock)
        await tier.put_many([Record(A, b"x", 1000.0, 1000.5)])
        clock.now = 1000.499
        assert set(await tier.get_many([A])) == {A}
        clock.now = 1000.5
        assert await tier.get_many([A]) == {}

    @pytest.mark.parametrize("serializer", [JsonSerializer(), PickleSerializer(), JsonSerializer(encoding=None)])
    def test_a_serializer_that_changes_bytes_is_refused(self, serializer: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"serializer=NullSerializer\(encoding=None\)"):
            AiocacheTier(SimpleMemoryCache(serializer=serializer))

    def test_a_backend_that_decodes_is_refused(self) -> None:
        class Remote(SimpleMemoryCache):  # type: ignore[misc]
            NAME = "remote"

        with pytest.raises(ConfigurationError, match="the remote cache"):
            AiocacheTier(Remote(serializer=NullSerializer()))
        AiocacheTier(Remote(serializer=NullSerializer(encoding=None)))

    async def test_errors_of_the_backend_are_store_errors(self) -> None:
        class Broken(SimpleMemoryCache):  # type: ignore[misc]
            async def _multi_get(self, *args: Any, **kwargs: Any) -> Any:
                raise ConnectionResetError("gone")

            async def _multi_set(self, *args: Any, **kwargs: Any) -> Any:
                raise TimeoutError

            async def _delete(self, *args: Any, **kwargs: Any) -> Any:
                raise RuntimeError("?")

        tier = AiocacheTier(Broken(timeout=0))
        for call in (tier.get_many([A]), tier.put_many([lasting(tier, A)]), tier.delete_many([A])):
            with pytest.raises(StoreError, match="the cache failed") as caught:
                await call
            assert caught.value.retryable

    async def test_a_cache_that_is_switched_off_has_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIOCACHE_DISABLE", "1")
        tier = AiocacheTier(SimpleMemoryCache(timeout=0))
        await tier.put_many([lasting(tier, A)])
        await tier.delete_many([B])
        assert await tier.get_many([A]) == {}


class TestGuardedAiocacheTier(RecordsContract):
    can_erase = compares = False

    @pytest.fixture
    async def clients(self) -> AsyncIterator[Clients]:
        cache = SimpleMemoryCache(timeout=0)
        async with guarded(AiocacheTier(cache), AiocacheTier(cache)) as clients:
            yield clients

    async def test_there_are_no_marks_and_no_leases(self, clients: Clients) -> None:
        assert clients.first.marks is None
        assert clients.first.leases is None


class TtlCache(SimpleMemoryCache):  # type: ignore[misc]
    """Counts how many keys were set with which ttl."""

    def __init__(self) -> None:
        super().__init__(timeout=0)
        self.ttls: dict[object, int] = {}

    async def _multi_set(self, pairs: Any, ttl: Any = None, _conn: Any = None) -> Any:
        self.ttls[ttl] = self.ttls.get(ttl, 0) + len(pairs)
        return True
