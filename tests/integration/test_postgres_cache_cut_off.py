"""A process that was cut off from the marks: for less time than they are kept, and for more."""

import asyncio
from typing import Any

import pytest

from tecnobot_core import CachePolicy, HybridCache
from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.adapters.postgres.cache.held import HeldConnection
from tecnobot_core.adapters.postgres.cache.marks import KEPT_S, MAX_CUT_OFF_S, PostgresMarks
from tecnobot_core.cache.ports import EVERYTHING
from tecnobot_core.errors import StoreError
from tests.contracts.cache_tiers import A, eventually, following, said

pytestmark = pytest.mark.postgres

SECRET = bytes(range(32))
POLICIES = {"p": CachePolicy(3600)}


class Line(HeldConnection):
    """The way to a server on which it is *later_s* later; it may be cut."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "unheard", heard=lambda _: None, connected=lambda: None)
        self.is_cut = False
        self.later_s = 0.0
        self.reads = 0

    async def fetch(self, query: str, *args: object) -> list[Any]:
        if self.is_cut:
            raise StoreError("the line is cut", retryable=True)
        rows = await super().fetch(query, *args)
        self.reads += 1
        return [{**row, "now": row["now"] + self.later_s} if "now" in row else row for row in rows]


def marks_over(line: Line, database: Database) -> PostgresMarks:
    return PostgresMarks(line, now=PostgresTier(database).now, poll_s=0.005)


async def pass_time(line: Line, seconds: float) -> None:
    line.is_cut = True
    reads = line.reads
    await asyncio.sleep(0.02)  # what is being read has come
    line.later_s += seconds
    line.is_cut = False
    await eventually(lambda: said(line.reads > reads + 1))


async def test_who_was_cut_off_for_longer_than_marks_are_kept_is_told_to_forget_everything(database: Database) -> None:
    line = Line(database)
    async with following(marks_over(line, database)) as heard:
        await eventually(lambda: said(heard.calls > 0))
        await pass_time(line, MAX_CUT_OFF_S - 60)
        assert EVERYTHING not in heard
        now = await database.fetchval("SELECT extract(epoch FROM now())::float8") + line.later_s
        await pass_time(line, MAX_CUT_OFF_S + 60)
        # Marks of what began to load after it are still there.
        assert now < heard.pop(EVERYTHING) < now + KEPT_S
        calls = heard.calls
        await eventually(lambda: said(line.reads > 9))
        assert heard.calls == calls, "it is told once"


async def test_who_could_not_hear_marks_since_it_began_is_told_to_forget_everything(database: Database) -> None:
    line = Line(database)
    line.is_cut = True
    async with following(marks_over(line, database)) as heard:
        await pass_time(line, KEPT_S)
        assert EVERYTHING in heard


async def test_who_follows_again_after_a_day_is_told_to_forget_everything(database: Database) -> None:
    line = Line(database)
    marks = marks_over(line, database)
    for later_s, is_told in ((0.0, False), (60.0, False), (KEPT_S, True)):
        line.later_s += later_s
        async with following(marks) as heard:
            await eventually(lambda heard=heard: said(heard.calls > 0))  # type: ignore[misc]
            assert (EVERYTHING in heard) == is_told


async def test_a_cache_that_was_cut_off_for_too_long_has_nothing_left(database: Database, database_url: str) -> None:
    line = Line(database)
    marks = marks_over(line, database)
    values = iter(range(9))

    async def load() -> int:
        return next(values)

    def cache(store: PostgresTier, **options: Any) -> HybridCache:
        return HybridCache(store=store, secret=SECRET, policies=POLICIES, **options)

    async with (
        Database(database_url) as far,
        cache(PostgresTier(database), marks=marks) as ours,
        cache(PostgresTier(far)) as theirs,
    ):
        assert await ours.get_or_load("k", load, policy="p", tags=["menu"]) == 0
        await pass_time(line, 1.0)
        assert await ours.get_or_load("k", load, policy="p", tags=["menu"]) == 0
        line.is_cut = True
        await theirs.invalidate(tag="menu")
        await database.execute("DELETE FROM tecnobot.cache_mark")  # as it comes to pass a day later
        await pass_time(line, KEPT_S + 1)
        assert ours.statistics()["entries"] == 0
        assert await ours.get_or_load("k", load, policy="p", tags=["menu"]) == 1
        assert await ours.get_or_load("k", load, policy="p", tags=["menu"]) == 1, "what is loaded from then on counts"


async def test_a_mark_is_heard_after_a_short_cut(database: Database) -> None:
    line = Line(database)
    async with following(marks_over(line, database)) as heard:
        await eventually(lambda: said(heard.calls > 0))
        line.is_cut = True
        await PostgresTier(database).mark([A], 5.0)
        await pass_time(line, 60.0)
        assert heard == {A: 5.0}
