"""What every store of the cache does: records, marks, overwrites, leases, each with two clients of one store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.cache.ports import Leases, Marks, Overwrites, Record, Tier
from tecnobot_core.errors import StoreError

A, B = b"a" * 16, b"b" * 16
ANA, LUIS = b"ana" * 5, b"luis" * 4
# Each example has keys of its own, in the store of the test; each subclass runs it.
SHARED_STORE = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
numbers = count()


@dataclass
class Client:
    """One process at a store."""

    tier: Tier
    marks: Marks | None = None
    leases: Leases | None = None
    overwrites: Overwrites | None = None


@dataclass
class Clients:
    """Two processes at one store."""

    first: Client
    second: Client


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.005)


def lasting(
    tier: Tier, key: bytes, data: bytes = b"x", *, keep_s: float = 60.0, tags: tuple[bytes, ...] = ()
) -> Record:
    now = tier.now()
    return Record(key, data, now, now + keep_s, tags)


class RecordsContract:
    """Tests over a fixture ``clients``; what it ``can_erase`` has a tag, and what it ``compares`` has a time."""

    can_erase = True
    compares = True

    @pytest.fixture
    def tier(self, clients: Clients) -> Tier:
        return clients.first.tier

    async def test_what_was_put_comes_back_as_it_was(self, tier: Tier) -> None:
        records = [
            lasting(tier, A, b"hola", tags=(ANA, LUIS)),
            lasting(tier, B, b"", tags=(b"", b"\0\xff")),
            lasting(tier, b"c", bytes(range(256))),
        ]
        await tier.put_many(records)
        assert await tier.get_many([A, B, b"c"]) == {record.key: record for record in records}

    async def test_a_missing_key_is_absent(self, tier: Tier) -> None:
        await tier.put_many([lasting(tier, A)])
        assert set(await tier.get_many([B, A])) == {A}

    async def test_nothing_is_asked_for_nothing(self, tier: Tier) -> None:
        await tier.put_many([])
        await tier.delete_many([])
        assert await tier.get_many([]) == {}

    async def test_an_expired_key_is_absent(self, tier: Tier) -> None:
        await tier.put_many([lasting(tier, A, keep_s=-1), lasting(tier, B)])
        assert set(await tier.get_many([A, B])) == {B}

    async def test_a_key_expires_by_itself(self, tier: Tier) -> None:
        await tier.put_many([lasting(tier, A, keep_s=0.05), lasting(tier, B)])

        async def is_gone() -> bool:
            return set(await tier.get_many([A, B])) == {B}

        await eventually(is_gone)

    async def test_what_has_expired_does_not_leave_what_it_replaced(self, tier: Tier) -> None:
        await tier.put_many([lasting(tier, A)])
        await tier.put_many([lasting(tier, A, keep_s=-1)])
        assert await tier.get_many([A]) == {}

    async def test_a_record_may_last_for_ever(self, tier: Tier) -> None:
        await tier.put_many([lasting(tier, A, keep_s=inf)])
        assert (await tier.get_many([A]))[A].expires_at == inf

    async def test_of_one_key_the_last_record_stays(self, tier: Tier) -> None:
        await tier.put_many([lasting(tier, A, b"1"), lasting(tier, A, b"2")])
        assert (await tier.get_many([A]))[A].data == b"2"
        await tier.put_many([lasting(tier, A, b"3")])
        assert (await tier.get_many([A, A]))[A].data == b"3"

    async def test_of_one_key_what_began_to_load_last_stays_or_what_was_put_last(self, clients: Clients) -> None:
        one, two = clients.first.tier, clients.second.tier
        await one.put_many([Record(A, b"new", 2.0, inf)])
        await flushed(clients)
        await two.put_many([Record(A, b"old", 1.0, inf)])
        await flushed(clients)
        assert (await one.get_many([A]))[A].data == (b"new" if self.compares else b"old")

    async def test_a_deleted_key_is_absent_for_everybody(self, clients: Clients) -> None:
        tier = clients.first.tier
        await tier.put_many([lasting(tier, A), lasting(tier, B)])
        await tier.delete_many([A, b"unknown"])
        assert set(await tier.get_many([A, B])) == {B}
        assert A not in await clients.second.tier.get_many([A, B])

    async def test_what_has_a_tag_is_erased_or_the_store_says_that_it_cannot(self, clients: Clients) -> None:
        tier = clients.first.tier
        await tier.put_many(
            [lasting(tier, A, tags=(ANA,)), lasting(tier, B, tags=(LUIS, ANA)), lasting(tier, b"c", tags=(LUIS,))]
        )
        if not self.can_erase:
            with pytest.raises(StoreError, match="cannot find what has a tag"):
                await tier.erase(ANA)
            return
        assert await tier.erase(ANA) == 2
        assert await tier.erase(ANA) == 0
        assert set(await tier.get_many([A, B, b"c"])) == {b"c"}
        assert not {A, B} & set(await clients.second.tier.get_many([A, B]))

    async def test_keys_are_any_bytes(self, tier: Tier) -> None:
        keys = [b"", b"\0", b"\0\0", b"\xff" * 16, b"'; --", "año".encode(), b"k" * 300, b"k" * 301]
        await tier.put_many([lasting(tier, key, b"of " + key) for key in keys])
        found = await tier.get_many(keys)
        assert {key: record.data for key, record in found.items()} == {key: b"of " + key for key in keys}

    async def test_a_value_may_be_a_megabyte(self, tier: Tier) -> None:
        data = bytes(range(256)) * 4096
        await tier.put_many([lasting(tier, A, data), lasting(tier, B, data[::-1])])
        assert {record.data for record in (await tier.get_many([A, B])).values()} == {data, data[::-1]}

    async def test_ten_thousand_keys_at_once(self, tier: Tier) -> None:
        keys = [b"%016d" % number for number in range(10_000)]
        await tier.put_many([lasting(tier, key, key) for key in keys])
        found = await tier.get_many(keys)
        assert len(found) == 10_000
        assert all(found[key].data == key for key in keys)
        await tier.delete_many(keys)
        assert await tier.get_many(keys) == {}

    @settings(max_examples=25, deadline=None, suppress_health_check=SHARED_STORE)
    @given(data=st.data())
    async def test_it_is_a_dictionary_whatever_is_done(self, tier: Tier, data: st.DataObject) -> None:
        example = b"%08d" % next(numbers)
        keys = st.binary(max_size=2).map(lambda key: example + key)
        values = st.binary(max_size=20)
        model: dict[bytes, bytes] = {}
        steps = st.one_of(
            st.tuples(st.just("put"), st.lists(st.tuples(keys, values), max_size=5)),
            st.tuples(st.just("delete"), st.lists(st.tuples(keys, values), max_size=3)),
            st.tuples(st.just("expire"), st.lists(st.tuples(keys, values), max_size=2)),
        )
        for name, pairs in data.draw(st.lists(steps, max_size=8)):
            if name == "put":
                await tier.put_many([lasting(tier, key, value) for key, value in pairs])
                model.update(pairs)
            else:
                wanted = [key for key, _ in pairs]
                if name == "delete":
                    await tier.delete_many(wanted)
                else:
                    await tier.put_many([lasting(tier, key, keep_s=-1) for key in wanted])
                for key in wanted:
                    model.pop(key, None)
            asked = [*model, example + b"never"]
            assert {key: record.data for key, record in (await tier.get_many(asked)).items()} == model


class Heard(dict[bytes, float]):
    """What a follower was told."""

    calls = 0

    def __call__(self, marks: Mapping[bytes, float]) -> None:
        self.calls += 1
        self.update({tag: max(at, self.get(tag, at)) for tag, at in marks.items()})


@asynccontextmanager
async def following(marks: Marks) -> AsyncIterator[Heard]:
    heard = Heard()
    task = asyncio.create_task(marks.follow(heard))
    try:
        yield heard
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class MarksContract:
    """Tests over a fixture ``clients``."""

    @pytest.fixture
    def marks(self, clients: Clients) -> Marks:
        assert clients.first.marks is not None
        return clients.first.marks

    @pytest.fixture
    def others(self, clients: Clients) -> Marks:
        assert clients.second.marks is not None
        return clients.second.marks

    async def test_who_begins_to_follow_is_told_all_marks(self, marks: Marks, others: Marks) -> None:
        await others.mark([A, B], 1_700_000_000.123457)
        async with following(marks) as heard:
            await eventually(lambda: said(heard == {A: 1_700_000_000.123457, B: 1_700_000_000.123457}))

    async def test_who_begins_to_follow_is_told_also_that_there_are_none(self, marks: Marks) -> None:
        async with following(marks) as heard:
            await eventually(lambda: said(heard.calls > 0))
            assert heard == {}

    async def test_a_mark_is_heard_by_all(self, marks: Marks, others: Marks) -> None:
        async with following(marks) as heard, following(others) as heard_by_others:
            await eventually(lambda: said(heard.calls > 0 and heard_by_others.calls > 0))
            await others.mark([A], 5.0)
            await eventually(lambda: said(heard == heard_by_others == {A: 5.0}))
            await marks.mark([B, A], 6.5)
            await eventually(lambda: said(heard == heard_by_others == {A: 6.5, B: 6.5}))

    async def test_of_one_tag_the_latest_mark_stays(self, marks: Marks, others: Marks) -> None:
        await marks.mark([A], 9.0)
        await others.mark([A], 4.0)
        await marks.mark([A, A], 7.0)
        async with following(others) as heard:
            await eventually(lambda: said(heard == {A: 9.0}))

    async def test_what_a_mark_outdates_is_not_stored_whoever_writes_it(self, clients: Clients, marks: Marks) -> None:
        await marks.mark([ANA, B], 5.0)
        given = [
            Record(b"before", b"x", 4.9, inf, (LUIS, ANA)),
            Record(b"with it", b"x", 5.0, inf, (ANA,)),
            Record(B, b"x", 4.9, inf),
            Record(b"after", b"x", 5.000001, inf, (ANA,)),
            Record(b"another's", b"x", 1.0, inf, (LUIS,)),
        ]
        for client in (clients.first, clients.second):
            await client.tier.put_many(given)
            await flushed(clients)
        found = await clients.second.tier.get_many([record.key for record in given])
        assert set(found) == {b"after", b"another's"}

    async def test_nothing_can_be_marked(self, marks: Marks) -> None:
        await marks.mark([], 1.0)

    async def test_thousands_of_tags_are_heard(self, marks: Marks, others: Marks) -> None:
        tags = [b"%016d" % number for number in range(3000)]
        async with following(marks) as heard:
            await eventually(lambda: said(heard.calls > 0))
            await others.mark(tags, 2.0)
            await eventually(lambda: said(heard == dict.fromkeys(tags, 2.0)))


async def said(value: bool) -> bool:
    return value


class OverwritesContract:
    """Tests over a fixture ``clients``."""

    @pytest.fixture
    def heard(self, clients: Clients) -> list["Heard"]:
        """What either client is told."""
        both = []
        for client in (clients.first, clients.second):
            assert client.overwrites is not None
            both.append(Heard())
            client.overwrites.on_overwritten(both[-1])
        return both

    async def test_what_is_written_over_is_told_to_all(self, clients: Clients, heard: list["Heard"]) -> None:
        await clients.first.tier.put_many([superseding(A, 1.0), superseding(B, 1.0)])
        await flushed(clients)
        await clients.second.tier.put_many([superseding(A, 2.000001)])
        await eventually(lambda: said(heard[0] == heard[1] == {A: 2.000001}))

    async def test_what_is_new_or_was_loaded_is_not_told(self, clients: Clients, heard: list["Heard"]) -> None:
        await clients.first.tier.put_many([superseding(A, 1.0), superseding(B, 1.0)])
        await flushed(clients)
        await clients.first.tier.put_many([superseding(b"c", 1.0), lasting(clients.first.tier, B)])
        await flushed(clients)
        await clients.first.tier.put_many([superseding(A, 3.0)])  # by then the others would have been heard
        await eventually(lambda: said(heard[0] == heard[1] == {A: 3.0}))

    async def test_of_one_key_what_began_last_stays_whoever_is_later(
        self, clients: Clients, heard: list["Heard"]
    ) -> None:
        await clients.second.tier.put_many([superseding(A, 5.0, b"new")])
        await flushed(clients)
        await clients.first.tier.put_many([superseding(A, 4.0, b"old")])
        await eventually(lambda: said(heard[0] == heard[1] == {A: 5.0}))  # so whoever has the older one forgets it
        for client in (clients.first, clients.second):
            assert (await client.tier.get_many([A]))[A].data == b"new"
        await clients.first.tier.put_many([superseding(A, 5.0, b"as new")])
        await flushed(clients)
        assert (await clients.second.tier.get_many([A]))[A].data == b"as new"

    async def test_thousands_of_keys_are_told(self, clients: Clients, heard: list["Heard"]) -> None:
        keys = [b"%016d" % number for number in range(3000)]
        for at in (1.0, 2.0):
            await clients.first.tier.put_many([superseding(key, at) for key in keys])
            await flushed(clients)
        await eventually(lambda: said(heard[0] == heard[1] == dict.fromkeys(keys, 2.0)))


def superseding(key: bytes, at: float, data: bytes = b"x") -> Record:
    return Record(key, data, at, inf, supersedes=True)


async def flushed(clients: Clients) -> None:
    for client in (clients.first, clients.second):
        if isinstance(client.tier, GuardedTier):
            await client.tier.flush()


class LeasesContract:
    """Tests over a fixture ``clients``."""

    @pytest.fixture
    def first(self, clients: Clients) -> Leases:
        assert clients.first.leases is not None
        return clients.first.leases

    @pytest.fixture
    def second(self, clients: Clients) -> Leases:
        assert clients.second.leases is not None
        return clients.second.leases

    async def test_one_has_it_at_a_time(self, first: Leases, second: Leases) -> None:
        assert await first.acquire(A, 30)
        assert not await second.acquire(A, 30)
        assert await second.acquire(B, 30)
        await first.release(A)
        assert await second.acquire(A, 30)
        assert not await first.acquire(A, 30)

    async def test_of_many_who_want_it_one_gets_it(self, first: Leases, second: Leases) -> None:
        got = await asyncio.gather(*(client.acquire(A, 30) for client in (first, second)))
        assert sorted(got) == [False, True]

    async def test_its_holder_may_ask_again(self, first: Leases) -> None:
        assert await first.acquire(A, 30)
        assert await first.acquire(A, 30)

    async def test_only_its_holder_renews_and_releases(self, first: Leases, second: Leases) -> None:
        assert await first.acquire(A, 30)
        assert await first.renew(A, 30)
        assert not await second.renew(A, 30)
        await second.release(A)
        assert not await second.acquire(A, 30)
        assert not await first.renew(B, 30)

    async def test_one_that_is_not_renewed_ends(self, first: Leases, second: Leases) -> None:
        assert await first.acquire(A, 0.05)
        await eventually(lambda: second.acquire(A, 30))
        assert not await first.renew(A, 30)

    async def test_one_that_is_renewed_lasts(self, first: Leases, second: Leases) -> None:
        assert await first.acquire(A, 0.2)
        assert await first.renew(A, 30)
        await second.wait(A, 0.4)
        assert not await second.acquire(A, 30)

    async def test_who_waits_is_woken_when_it_is_given_back(self, first: Leases, second: Leases) -> None:
        assert await first.acquire(A, 30)
        waiting = asyncio.create_task(second.wait(A, 30))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await first.release(A)
        async with asyncio.timeout(5):
            await waiting
        assert await second.acquire(A, 30)

    async def test_who_waits_is_woken_when_it_has_run_out(self, first: Leases, second: Leases) -> None:
        assert await first.acquire(A, 0.1)
        async with asyncio.timeout(5):
            await second.wait(A, 30)
        assert await second.acquire(A, 30)

    async def test_who_waits_gives_up_in_time(self, first: Leases, second: Leases) -> None:
        assert await first.acquire(A, 30)
        async with asyncio.timeout(5):
            await second.wait(A, 0.05)
        assert not await second.acquire(A, 30)

    async def test_nobody_waits_for_what_nobody_has(self, first: Leases) -> None:
        async with asyncio.timeout(5):
            await first.wait(A, 30)
