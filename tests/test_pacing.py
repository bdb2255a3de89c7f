"""Never faster than allowed, to one chat or to all, and without a beat."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.delivery.pacing import Pacer, Pacing
from tecnobot_core.messages import ChatId
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock

A, B = ChatId("a"), ChatId("b")


def make(pacing: Pacing, clock: FakeClock, chance: Callable[[], float] = lambda: 0.5) -> Pacer:
    return Pacer(pacing, clock=clock, sleep=clock.sleep, random=chance)


async def finish_at(wait: Awaitable[object], clock: FakeClock, at: list[float]) -> None:
    await wait
    at.append(clock())


async def turns(pacer: Pacer, clock: FakeClock, n: int, seconds: float) -> list[float]:
    """When *n* who ask at once get their turns, as far as within *seconds*."""
    at: list[float] = []
    async with Tasks("test") as tasks:
        for _ in range(n):
            tasks.start(finish_at(pacer.wait_turn(), clock, at), "turn")
        await clock.advance(seconds)
    return at


async def test_messages_to_all_chats_keep_the_rate() -> None:
    clock = FakeClock()
    assert await turns(make(Pacing(rate_per_s=2.0), clock), clock, 6, 60) == [0.0, 0.0, 0.5, 1.0, 1.5, 2.0]


async def test_less_than_one_a_second_is_a_gap() -> None:
    clock = FakeClock()
    assert await turns(make(Pacing(rate_per_s=0.25), clock), clock, 3, 60) == [0.0, 4.0, 8.0]


async def test_rest_saves_no_more_than_a_second_of_messages() -> None:
    clock = FakeClock()
    pacer = make(Pacing(rate_per_s=2.0), clock)
    await clock.advance(3600)
    assert await turns(pacer, clock, 4, 60) == [3600.0, 3600.0, 3600.5, 3601.0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=40),
    st.floats(0.2, 8),
    st.floats(0, 0.6),
    st.integers(0, 2**32),
)
def test_no_window_of_time_has_more_than_its_share(starts: list[float], rate: float, jitter: float, seed: int) -> None:
    async def scenario() -> list[float]:
        clock = FakeClock()
        pacer = make(Pacing(rate_per_s=rate, jitter=jitter), clock, random.Random(seed).random)
        at: list[float] = []

        async def ask(start: float) -> None:
            await clock.sleep(start)
            await pacer.wait_turn()
            at.append(clock())

        async with Tasks("test") as tasks:
            for start in starts:
                tasks.start(ask(start), "ask")
            await clock.advance(1000)
        return at

    at = asyncio.run(scenario())
    assert len(at) == len(starts)
    for first, since in enumerate(at):
        for last in range(first, len(at)):
            share = (rate * (at[last] - since) + max(rate, 1.0)) / (1 - jitter)
            assert last - first + 1 <= share + 1e-6


async def test_whoever_asks_first_goes_first() -> None:
    clock = FakeClock()
    pacer = make(Pacing(rate_per_s=1.0), clock, random.Random(7).random)
    went: list[int] = []

    async def ask(number: int) -> None:
        await clock.sleep(number / 10)
        await pacer.wait_turn()
        went.append(number)

    async with Tasks("test") as tasks:
        for number in range(30):
            tasks.start(ask(number), "ask")
        await clock.advance(60)
    assert went == list(range(30))


async def test_the_beat_is_never_the_same() -> None:
    clock = FakeClock()
    pacer = make(Pacing(rate_per_s=1.0), clock, random.Random(7).random)
    at = await turns(pacer, clock, 30, 60)
    assert len(at) == 30
    assert len({round(later - earlier, 6) for earlier, later in pairwise(at)}) == 29
    assert 25 < at[-1] < 33


async def test_a_chat_rests_after_each_message_and_others_do_not() -> None:
    clock = FakeClock()
    pacer = make(Pacing(per_chat_gap_s=1.0), clock)
    at: list[float] = []
    await pacer.wait_gap(A)
    pacer.note_sent(A)
    await pacer.wait_gap(B)
    async with Tasks("test") as tasks:
        tasks.start(finish_at(pacer.wait_gap(A), clock, at), "gap")
        await clock.advance(5)
    assert at == [1.0]


async def test_chats_whose_gap_is_over_are_forgotten() -> None:
    clock = FakeClock()
    pacer = make(Pacing(per_chat_gap_s=1.0), clock, random.Random(1).random)
    most = 0
    for number in range(2000):
        pacer.note_sent(ChatId(f"chat-{number}"))
        pacer.note_sent(A)  # one that never rests keeps no other
        clock.now += 0.1
        most = max(most, len(pacer._gap_ends))
    assert most <= 16


def test_typing_takes_longer_for_longer_texts_up_to_a_limit() -> None:
    pacer = make(Pacing(typing_chars_per_s=25.0, max_typing_s=6.0), FakeClock())
    assert [pacer.typing_s("x" * n) for n in (0, 25, 50, 10_000)] == [0.0, 1.0, 2.0, 6.0]


def test_jitter_is_a_factor_around_one() -> None:
    chance = random.Random(3)
    pacer = make(Pacing(jitter=0.3, typing_chars_per_s=10.0), FakeClock(), chance.random)
    times = [pacer.typing_s("x" * 10) for _ in range(1000)]
    assert 0.7 <= min(times) < 0.72
    assert 1.28 < max(times) <= 1.3


async def test_infinite_rates_are_no_limit() -> None:
    clock = FakeClock()
    no_limit = float("inf")
    pacer = make(Pacing(per_chat_gap_s=0.0, rate_per_s=no_limit, typing_chars_per_s=no_limit), clock)
    pacer.note_sent(A)
    await pacer.wait_gap(A)
    assert await turns(pacer, clock, 1000, 0) == [0.0] * 1000
    assert pacer.typing_s("hola") == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_per_s": 0},
        {"rate_per_s": float("nan")},
        {"typing_chars_per_s": -1},
        {"per_chat_gap_s": -0.1},
        {"max_typing_s": -1},
        {"jitter": 1},
        {"jitter": -0.1},
    ],
)
def test_a_pace_that_makes_no_sense_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Pacing(**wrong)
