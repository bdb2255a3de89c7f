"""Marks and leases among processes that share the cache's tables: heard, or polled behind a real PgBouncer."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.cache.ports import Record
from tecnobot_core.testing import FakeClock
from tests.integration.test_pgbouncer import PROGRAM, PgBouncer

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
KILL_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
NEVER_S = 1e6
POLL_S = {"session": NEVER_S, "transaction": 0.01, "pooled session": NEVER_S}


async def eventually(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    async with asyncio.timeout(10):
        while not (condition() if isinstance(met := condition(), bool) else await met):
            await asyncio.sleep(0.002)


class Pair:
    """Two tiers with a pool each, as two processes have them, and the way between them and the server."""

    def __init__(self, mode: str, stack: AsyncExitStack, bouncer: PgBouncer | None, url: str) -> None:
        self.mode = mode
        self.bouncer = bouncer
        self._stack = stack
        self._url = url

    async def another(self) -> PostgresTier:
        database = await self._stack.enter_async_context(Database(self._url, max_size=4))
        assert database.mode == self.mode.split()[-1]
        return await self._stack.enter_async_context(PostgresTier(database, poll_s=POLL_S[self.mode]))


@pytest.fixture(params=["session", "transaction", "pooled session"])
async def pair(request: pytest.FixtureRequest, database_url: str, database: Database) -> AsyncIterator[Pair]:
    mode: str = request.param
    async with AsyncExitStack() as stack:
        if mode == "session":
            yield Pair(mode, stack, None, database_url)
            return
        if PROGRAM is None:
            pytest.skip("pgbouncer is missing: apt-get install pgbouncer")
        bouncer = await stack.enter_async_context(PgBouncer(database_url, mode.split()[-1], 20))
        yield Pair(mode, stack, bouncer, bouncer.url)


class Follower:
    """What one process has heard, in parts and together."""

    def __init__(self) -> None:
        self.parts: list[dict[bytes, float]] = []
        self.marks: dict[bytes, float] = {}

    def __call__(self, marks: Mapping[bytes, float]) -> None:
        self.parts.append(dict(marks))
        self.marks |= marks

    def knows(self, tag: bytes, at: float) -> bool:
        return self.marks.get(tag) == at


@asynccontextmanager
async def following(tier: PostgresTier) -> AsyncIterator[Follower]:
    follower = Follower()
    task = asyncio.create_task(tier.follow(follower))
    await eventually(lambda: bool(follower.parts))
    try:
        yield follower
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


# Records


async def test_records_are_shared(pair: Pair) -> None:
    ours, theirs = await pair.another(), await pair.another()
    now = ours.now()
    records = {bytes([n]): Record(bytes([n]), b"x" * 1000, now, now + 60, (b"t",)) for n in range(200)}
    await ours.put_many(list(records.values()))
    assert await theirs.get_many(list(records)) == records
    assert await theirs.get_many([b"\x00"]) == {b"\x00": records[b"\x00"]}
    await theirs.delete_many([b"\x00"])
    assert await ours.get_many([b"\x00"]) == {}
    assert await theirs.erase(b"t") == 199


# Marks


async def test_marks_are_given_at_once_and_then_as_they_come(pair: Pair) -> None:
    ours, theirs = await pair.another(), await pair.another()
    await theirs.mark([b"a", b"b", b"a"], 100.25)
    async with following(ours) as heard, following(theirs) as own:
        assert heard.parts == [{b"a": 100.25, b"b": 100.25}]
        for at in range(101, 121):
            await theirs.mark([b"a"], at)
            for follower in (heard, own):
                await eventually(partial(follower.knows, b"a", at))
        assert heard.marks[b"b"] == 100.25


async def test_without_marks_the_first_answer_says_so(pair: Pair) -> None:
    async with following(await pair.another()) as heard:
        assert heard.parts == [{}]


async def test_a_later_mark_stays(pair: Pair) -> None:
    ours, theirs = await pair.another(), await pair.another()
    await ours.mark([b"a"], 200.0)
    await theirs.mark([b"a"], 100.0)
    await theirs.mark([], 300.0)
    async with following(ours) as heard:
        assert heard.marks == {b"a": 200.0}


async def test_any_number_of_tags_is_marked_at_once(pair: Pair) -> None:
    ours, theirs = await pair.another(), await pair.another()
    tags = [n.to_bytes(16, "big") for n in range(5000)]
    async with following(theirs) as heard:
        await ours.mark(tags, 1.5)
        await eventually(lambda: len(heard.marks) == 5000)
        assert heard.marks == dict.fromkeys(tags, 1.5)


async def test_a_mark_that_is_committed_after_a_later_one_is_not_missed(pair: Pair, database_url: str) -> None:
    ours, theirs = await pair.another(), await pair.another()
    slow = await asyncpg.connect(database_url)
    async with following(ours) as heard:
        async with slow.transaction():
            await slow.execute("INSERT INTO tecnobot.cache_mark VALUES ('slow', 1)")
            await theirs.mark([b"quick"], 2.0)
            await eventually(lambda: b"quick" in heard.marks)
            assert b"slow" not in heard.marks
            await slow.execute("NOTIFY tecnobot_cache, 'marked'")
        await eventually(lambda: b"slow" in heard.marks)
    await slow.close()


async def test_marks_of_an_outage_are_heard_after_it(pair: Pair, database: Database) -> None:
    async with PostgresTier(database) as theirs:
        ours = await pair.another()
        async with following(ours) as heard:
            if pair.bouncer is None:
                await database.execute("ALTER TABLE tecnobot.cache_mark RENAME TO gone")
                await database.fetch(KILL_LISTENERS)
                await database.execute("ALTER TABLE tecnobot.gone RENAME TO cache_mark")
            else:
                await pair.bouncer.stop()
            await eventually(lambda: can_mark(theirs))
            if pair.bouncer is not None:
                await pair.bouncer.start()
            await eventually(lambda: b"outage" in heard.marks)


async def can_mark(tier: PostgresTier) -> bool:
    with suppress(Exception):
        await tier.mark([b"outage"], 5.0)
        return True
    return False


# Leases


async def test_one_holds_a_lease(pair: Pair) -> None:
    ours, theirs = await pair.another(), await pair.another()
    assert await ours.acquire(b"k", 60)
    assert await ours.acquire(b"k", 60)
    assert not await theirs.acquire(b"k", 60)
    assert not await theirs.renew(b"k", 60)
    await theirs.release(b"k")
    assert not await theirs.acquire(b"k", 60)
    assert await theirs.acquire(b"other", 60)
    assert await ours.renew(b"k", 60)
    await ours.release(b"k")
    assert not await ours.renew(b"k", 60)
    assert await theirs.acquire(b"k", 60)
    assert not await ours.acquire(b"k", 60)


async def test_of_many_who_want_it_one_gets_a_lease(pair: Pair) -> None:
    tiers = [await pair.another() for _ in range(4)]
    for number in range(10):
        key = bytes([number])
        got = await asyncio.gather(*(tier.acquire(key, 60) for tier in tiers))
        assert sum(got) == 1


async def test_a_lease_that_is_not_renewed_ends(pair: Pair) -> None:
    ours, theirs = await pair.another(), await pair.another()
    assert await ours.acquire(b"k", 0)
    assert await theirs.acquire(b"k", 60)
    assert not await ours.renew(b"k", 60)
    assert await theirs.renew(b"k", 60)


async def test_whoever_waits_is_woken_when_a_lease_is_given_back(pair: Pair) -> None:
    ours, theirs, third = await pair.another(), await pair.another(), await pair.another()
    assert await ours.acquire(b"k", 60)
    assert await ours.acquire(b"other", 60)
    waits = [asyncio.create_task(tier.wait(b"k", 60)) for tier in (theirs, third, theirs)]
    other = asyncio.create_task(theirs.wait(b"other", 60))
    await eventually(lambda: is_awaited(ours))
    await ours.renew(b"k", 60)
    await asyncio.sleep(0.05)  # nothing happens
    assert not any(wait.done() for wait in waits)
    await ours.release(b"k")
    async with asyncio.timeout(5):
        await asyncio.gather(*waits)
    assert await theirs.acquire(b"k", 60)
    assert not other.done()
    other.cancel()
    await asyncio.wait([other])


async def test_whoever_waits_is_woken_though_another_took_the_lease_at_once(pair: Pair) -> None:
    ours, theirs, third = await pair.another(), await pair.another(), await pair.another()
    assert await ours.acquire(b"k", 60)
    waiting = asyncio.create_task(theirs.wait(b"k", 60))
    await eventually(lambda: is_awaited(ours))
    await ours.release(b"k")
    assert await third.acquire(b"k", 60)
    async with asyncio.timeout(5):
        await waiting


async def is_awaited(tier: PostgresTier) -> bool:
    rows = await tier._held.fetch("SELECT bool_and(is_awaited) AS all FROM tecnobot.cache_lease")
    return bool(rows[0]["all"])


async def test_nobody_waits_for_a_lease_that_is_not_held(pair: Pair) -> None:
    ours, theirs = await pair.another(), await pair.another()
    async with asyncio.timeout(5):
        await ours.wait(b"k", 60)
        await theirs.acquire(b"k", 0)
        await ours.wait(b"k", 60)


async def test_a_wait_is_over_after_its_time(pair: Pair) -> None:
    ours, theirs = await pair.another(), await pair.another()
    await theirs.acquire(b"k", 60)
    async with asyncio.timeout(5):
        await ours.wait(b"k", 0.05)
    assert not await ours.acquire(b"k", 60)


async def test_a_lease_that_is_renewed_is_waited_for_until_it_runs_out(database: Database) -> None:
    clock = FakeClock()
    async with (
        PostgresTier(database) as theirs,
        PostgresTier(database, monotonic=lambda: 1e5 + clock.now, sleep=clock.sleep) as ours,
    ):
        await theirs.acquire(b"k", 50)
        waiting = asyncio.create_task(ours.wait(b"k", 1000))
        await eventually(lambda: is_awaited(theirs))
        await theirs.renew(b"k", 100)
        await clock.advance(50)  # of the waiter's time; the server's stands still, so the lease has not run out
        await theirs.acquire(b"other", 1)
        assert not waiting.done()
        await theirs.renew(b"k", 0)
        await eventually(lambda: no_lease(theirs))

        async def is_over() -> bool:
            await clock.advance(60)
            return waiting.done()

        await eventually(is_over)
        await waiting


async def no_lease(tier: PostgresTier) -> bool:
    return not await tier._held.fetch(
        "SELECT FROM tecnobot.cache_lease WHERE key = 'k' AND until > extract(epoch FROM clock_timestamp())"
    )


# Processes

PROCESS = """
import asyncio, sys
from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresTier

async def main(dsn: str, ttl_s: float) -> None:
    async with Database(dsn, max_size=2) as database, PostgresTier(database, poll_s=0.01) as tier:
        assert await tier.acquire(b"k", ttl_s)
        await tier.mark([b"process"], 1.0)
        print("holding", flush=True)
        while True:
            await asyncio.sleep(ttl_s / 3)
            assert await tier.renew(b"k", ttl_s)

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


@asynccontextmanager
async def holder(dsn: str, ttl_s: float) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that holds the lease of b"k" and renews it until it is killed."""
    command = (sys.executable, "-c", PROCESS, dsn, str(ttl_s))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"holding\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_process_that_is_killed_is_replaced_when_its_lease_runs_out(pair: Pair) -> None:
    ours = await pair.another()
    ttl_s = 0.6
    async with following(ours) as heard, holder(pair._url, ttl_s) as process:
        await eventually(lambda: b"process" in heard.marks)
        waiting = asyncio.create_task(ours.wait(b"k", 60))
        await asyncio.sleep(2 * ttl_s)  # as long as it lives it is waited for
        assert not waiting.done()
        assert not await ours.acquire(b"k", 60)
        process.kill()
        killed_at = time.monotonic()
        async with asyncio.timeout(10):
            await waiting
            assert await ours.acquire(b"k", 60)
        assert time.monotonic() - killed_at < ttl_s + 1
