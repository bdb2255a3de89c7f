"""Few commits for many writes, and none of them lost or confused with another."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

pytest.importorskip("asyncpg")

from tecnobot_core.adapters.postgres.group_commit import GroupCommit
from tecnobot_core.errors import LifecycleError, StoreError
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock


class Disk:
    """Stores what it is given, and keeps the batches as they came."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.stored: list[str] = []
        self.errors: list[Exception | None] = []  # raised one for each write
        self.loses_answers = 0  # of so many writes, although they were stored
        self.poison: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, requests: Sequence[str]) -> Sequence[str | StoreError]:
        self.batches.append(list(requests))
        await self.gate.wait()
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        if self.poison.intersection(requests):
            raise StoreError("cannot be stored", retryable=False)
        self.stored += [request for request in requests if request not in self.stored]
        if self.loses_answers:
            self.loses_answers -= 1
            raise StoreError("cut", retryable=True)
        return [request.upper() for request in requests]


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks("test") as tasks:
        yield tasks


def away() -> StoreError:
    return StoreError("the database is away", retryable=True)


def all_at_once(writer: GroupCommit[str, str], requests: Sequence[str]) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(writer.submit(request)) for request in requests]


async def together(answers: Sequence[Awaitable[str]]) -> list[str | BaseException]:
    return list(await asyncio.gather(*answers, return_exceptions=True))


async def test_what_comes_together_is_one_commit(tasks: Tasks) -> None:
    disk = Disk()
    writer = GroupCommit[str, str](disk.write, tasks=tasks)
    assert await together(all_at_once(writer, "abc")) == ["A", "B", "C"]
    assert (disk.batches, writer.commits) == ([["a", "b", "c"]], 1)


async def test_what_comes_while_a_commit_runs_is_the_next_one(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    writer = GroupCommit[str, str](disk.write, tasks=tasks)
    disk.gate.clear()
    answers = all_at_once(writer, "a")
    await clock.settle()
    for request in "bcd":
        answers += all_at_once(writer, request)
        await clock.settle()
    disk.gate.set()
    assert await together(answers) == ["A", "B", "C", "D"]
    assert (disk.batches, writer.commits) == ([["a"], ["b", "c", "d"]], 2)


async def test_a_batch_has_a_limit(tasks: Tasks) -> None:
    disk = Disk()
    writer = GroupCommit[str, str](disk.write, tasks=tasks, max_batch=2)
    assert await together(all_at_once(writer, "abcde")) == ["A", "B", "C", "D", "E"]
    assert disk.batches == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_window_waits_for_company(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    writer = GroupCommit[str, str](disk.write, tasks=tasks, window_s=0.02, clock=clock, sleep=clock.sleep)
    answers = all_at_once(writer, "a")
    await clock.advance(0.01)
    answers += all_at_once(writer, "b")
    await clock.advance(0.009)
    assert disk.batches == []
    await clock.advance(0.001)
    assert await together(answers) == ["A", "B"]
    assert disk.batches == [["a", "b"]]


async def test_what_is_not_urgent_goes_with_what_is(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    writer = GroupCommit[str, str](disk.write, tasks=tasks, clock=clock, sleep=_no_wait_for_zero(clock))
    patient = asyncio.create_task(writer.submit("mark", urgent=False))
    await clock.advance(0.049)
    assert disk.batches == []
    assert await writer.submit("turn") == "TURN"
    assert disk.batches == [["mark", "turn"]]
    assert await patient == "MARK"


async def test_what_is_not_urgent_waits_a_moment_and_no_longer(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    writer = GroupCommit[str, str](disk.write, tasks=tasks, clock=clock, sleep=_no_wait_for_zero(clock))
    answers = [asyncio.create_task(writer.submit(request, urgent=False)) for request in "ab"]
    await clock.advance(0.05)
    assert await together(answers) == ["A", "B"]
    assert disk.batches == [["a", "b"]]


async def test_a_full_batch_waits_for_nobody(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    writer = GroupCommit[str, str](
        disk.write, tasks=tasks, max_batch=2, window_s=9.0, clock=clock, sleep=_no_wait_for_zero(clock)
    )
    answers = all_at_once(writer, "abc")
    await clock.settle()
    assert disk.batches == [["a", "b"]]
    await clock.advance(9)
    assert await together(answers) == ["A", "B", "C"]


def _no_wait_for_zero(clock: FakeClock) -> Callable[[float], Awaitable[object]]:
    return lambda seconds: clock.sleep(seconds) if seconds else asyncio.sleep(0)


async def submit_at(rate_per_s: float, n: int, writer: GroupCommit[str, str], clock: FakeClock) -> None:
    answers = []
    for number in range(n):
        answers.append(asyncio.create_task(writer.submit(f"r{number}")))
        await clock.advance(1 / rate_per_s)
    await clock.advance(1)
    await asyncio.gather(*answers)


async def test_a_window_opens_by_itself_above_a_rate_and_closes_below_it(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    writer = GroupCommit[str, str](
        disk.write,
        tasks=tasks,
        busy_rate_per_s=300,
        busy_window_s=0.010,
        clock=clock,
        sleep=_no_wait_for_zero(clock),
    )
    await submit_at(200, 200, writer, clock)
    assert len(disk.batches) == 200  # calm: each at once
    disk.batches.clear()
    await submit_at(1000, 2000, writer, clock)
    # The first half second is counted; then about ten come in each window.
    assert 500 + 1500 / 12 <= len(disk.batches) <= 520 + 1500 / 9
    await submit_at(100, 100, writer, clock)
    assert all(len(batch) == 1 for batch in disk.batches[-50:])


async def test_a_busy_window_ends_when_nothing_more_comes(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    writer = GroupCommit[str, str](
        disk.write,
        tasks=tasks,
        busy_rate_per_s=10,
        busy_window_s=0.010,
        clock=clock,
        sleep=_no_wait_for_zero(clock),
    )
    await submit_at(1000, 1000, writer, clock)
    answers = all_at_once(writer, "abc")
    await clock.advance(0.0019)
    assert disk.batches[-1] != ["a", "b", "c"]
    await clock.advance(0.0001)
    assert await together(answers) == ["A", "B", "C"]
    assert disk.batches[-1] == ["a", "b", "c"]


async def test_a_pause_before_a_request_does_not_make_it_wait(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    writer = GroupCommit[str, str](
        disk.write, tasks=tasks, busy_rate_per_s=10, clock=clock, sleep=_no_wait_for_zero(clock)
    )
    await clock.advance(60)
    answers = all_at_once(writer, "a")
    await clock.settle()
    assert await together(answers) == ["A"]


async def test_what_spoils_a_batch_sinks_alone(tasks: Tasks) -> None:
    disk = Disk()
    disk.poison = {"f"}
    writer = GroupCommit[str, str](disk.write, tasks=tasks)
    answers = await together(all_at_once(writer, "abcdefgh"))
    assert isinstance(answers.pop(5), StoreError)
    assert answers == ["A", "B", "C", "D", "E", "G", "H"]
    assert disk.stored == list("abcdegh")  # in order
    assert writer.commits == 3  # abcd, e, gh


async def test_a_write_that_fails_unexpectedly_hangs_nobody(tasks: Tasks) -> None:
    disk = Disk()
    disk.errors = [KeyError("a"), KeyError("a"), None]
    writer = GroupCommit[str, str](disk.write, tasks=tasks)
    first, second = await together(all_at_once(writer, "ab"))
    assert isinstance(first, KeyError)
    assert second == "B"


async def test_one_answer_may_be_an_error(tasks: Tasks) -> None:
    async def write(requests: Sequence[str]) -> Sequence[str | StoreError]:
        return [StoreError("not you", retryable=False) if request == "b" else request for request in requests]

    writer = GroupCommit[str, str](write, tasks=tasks)
    a, b, c = await together(all_at_once(writer, "abc"))
    assert (a, c) == ("a", "c")
    assert isinstance(b, StoreError)
    assert writer.commits == 1


async def test_a_batch_of_unknown_outcome_is_repeated_as_it_was(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    disk.loses_answers = 2
    writer = GroupCommit[str, str](disk.write, tasks=tasks, clock=clock, sleep=_no_wait_for_zero(clock))
    answers = all_at_once(writer, "ab")
    await clock.settle()
    answers += all_at_once(writer, "c")
    await clock.advance(1)
    assert await together(answers) == ["A", "B", "C"]
    assert disk.batches == [["a", "b"]] * 3 + [["c"]]
    assert disk.stored == ["a", "b", "c"]
    assert writer.commits == 2


async def test_a_database_that_is_away_is_waited_for_longer_and_longer(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    disk.errors = [away() for _ in range(9)]
    writer = GroupCommit[str, str](disk.write, tasks=tasks, clock=clock, sleep=_no_wait_for_zero(clock))
    answers = all_at_once(writer, "a")
    await clock.advance(0.05 + 0.1 + 0.2)
    assert len(disk.batches) == 4
    await clock.advance(60)
    assert await together(answers) == ["A"]
    assert clock.now < 61


async def test_who_is_cancelled_takes_nothing_with_him(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    disk.gate.clear()
    writer = GroupCommit[str, str](disk.write, tasks=tasks)
    answers = all_at_once(writer, "abc")
    await clock.settle()
    answers[0].cancel()
    await clock.settle()
    disk.gate.set()
    cancelled, *others = await together(answers)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert others == ["B", "C"]
    assert disk.stored == ["a", "b", "c"]


async def test_closing_leaves_nobody_waiting(tasks: Tasks) -> None:
    disk, clock = Disk(), FakeClock()
    disk.gate.clear()
    own = Tasks("writer")
    writer = GroupCommit[str, str](disk.write, tasks=own, max_batch=1)
    answers = all_at_once(writer, "ab")  # one of them under way, one behind it
    await clock.settle()
    await own.aclose()
    for answer in await together(answers):
        assert isinstance(answer, StoreError)
        assert (answer.retryable, answer.outcome) == (False, "unknown")
    with pytest.raises(LifecycleError):
        await writer.submit("c")
    with pytest.raises(LifecycleError):
        await writer.submit("d")
