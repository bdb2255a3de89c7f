"""RateLimiter: what it admits, remembers and forgets."""

import tracemalloc
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.messages import ChatId
from tecnobot_core.rate_limit import RateLimiter
from tecnobot_core.testing import FakeClock

MODES: tuple[Literal["sliding", "cooldown"], ...] = ("sliding", "cooldown")
LATER = 1_000_000.0  # after every message of these tests: nothing comes from the future

# Whole and fractional seconds close to each other, so that windows overlap, begin and end in every way.
times = st.one_of(st.integers(0, 40).map(float), st.floats(0, 40), st.sampled_from([-1e9, 0.0, 5e5]))
hits = st.lists(st.tuples(st.sampled_from("aaabc"), times), min_size=20, max_size=60)


def most_in_a_window(admitted: Iterable[float], window_s: float) -> int:
    """Brute force: every window that begins with a message."""
    admitted = list(admitted)
    return max((sum(0 <= other - first < window_s for other in admitted) for first in admitted), default=0)


def admitted_times(
    limiter: RateLimiter, messages: Iterable[tuple[str, float]], window_s: float
) -> dict[str, list[float]]:
    admitted = defaultdict(list)
    for key, at in messages:
        wait_s = limiter.hit(key, at)
        assert 0.0 <= wait_s <= window_s
        if wait_s == 0.0:
            admitted[key].append(at)
    return admitted


def limiter_after(admissions: Sequence[float], max_keys: int = 10) -> RateLimiter:
    limiter = RateLimiter(3, 10, clock=FakeClock(LATER), max_keys=max_keys)
    assert all(limiter.hit("ana", at) == 0.0 for at in admissions)
    return limiter


@settings(max_examples=300, deadline=None)
@given(hits, st.integers(1, 5), st.sampled_from([1.0, 7.5, 10.0]), st.integers(1, 3), st.none() | st.integers(1, 8))
def test_no_window_admits_more_than_the_limit_in_any_interleaving(
    messages: list[tuple[str, float]], limit: int, window_s: float, max_keys: int, max_overall: int | None
) -> None:
    limiter = RateLimiter(limit, window_s, max_keys=max_keys, max_overall=max_overall, clock=FakeClock(LATER))
    admitted = admitted_times(limiter, messages, window_s)
    for one_key in admitted.values():
        assert most_in_a_window(one_key, window_s) <= limit
    if max_overall is not None:
        everything = [at for one_key in admitted.values() for at in one_key]
        assert most_in_a_window(everything, window_s) <= max_overall


@settings(max_examples=300, deadline=None)
@given(st.lists(times, min_size=10, max_size=60), st.integers(1, 6), st.sampled_from([1.0, 7.5, 10.0]))
def test_only_what_exceeds_the_limit_or_touches_the_forgotten_is_refused(
    messages: list[float], limit: int, window_s: float
) -> None:
    limiter = RateLimiter(limit, window_s, clock=FakeClock(LATER))
    admitted: list[float] = []
    for at in messages:
        nearby = sorted([*[other for other in admitted if abs(other - at) < window_s], at])
        exceeds = most_in_a_window(nearby, window_s) > limit
        touches_forgotten = len(admitted) > limit and at - sorted(admitted)[-limit - 1] < window_s
        assert (limiter.hit("ana", at) > 0) == (exceeds or touches_forgotten)
        if not (exceeds or touches_forgotten):
            admitted.append(at)


@settings(max_examples=300, deadline=None)
@given(hits, st.integers(1, 5), st.integers(1, 3))
def test_cooldown_never_admits_two_whole_windows_at_once(
    messages: list[tuple[str, float]], limit: int, max_keys: int
) -> None:
    limiter = RateLimiter(limit, 10, "cooldown", max_keys=max_keys, clock=FakeClock(LATER))
    for one_key in admitted_times(limiter, messages, 10).values():
        assert most_in_a_window(one_key, 10) <= 2 * limit - 1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 100), max_size=60).map(sorted), st.integers(1, 5))
def test_cooldown_counts_in_windows_that_begin_with_a_message(messages: list[int], limit: int) -> None:
    limiter = RateLimiter(limit, 10, "cooldown", clock=FakeClock(LATER))
    opened, count = -1000, 0
    for at in messages:
        if at - opened >= 10:
            opened, count = at, 0
        expected = 0.0 if count < limit else opened + 10 - at
        assert limiter.hit("ana", at) == expected
        count += expected == 0.0


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=60).map(sorted), st.integers(1, 5), st.sampled_from(MODES))
def test_after_the_wait_the_next_message_is_admitted(
    messages: list[int], limit: int, mode: Literal["sliding", "cooldown"]
) -> None:
    limiter = RateLimiter(limit, 10, mode, clock=FakeClock(LATER))
    for at in messages:
        if wait_s := limiter.hit("ana", at):
            assert 0 < wait_s <= 10
            assert limiter.hit("ana", at + wait_s - 0.5) > 0
            assert limiter.hit("ana", at + wait_s) == 0.0
            break


@pytest.mark.parametrize("mode", MODES)
def test_the_thirty_first_message_of_a_minute_waits_for_the_first_to_be_over(
    mode: Literal["sliding", "cooldown"],
) -> None:
    limiter = RateLimiter(mode=mode, clock=FakeClock(LATER))
    assert [limiter.hit("ana", 100.0 + i) for i in range(30)] == [0.0] * 30
    assert limiter.hit("ana", 130.0) == 30.0
    assert limiter.hit("berta", 130.0) == 0.0


def test_after_the_silence_sliding_frees_one_place_and_cooldown_all() -> None:
    admitted = {}
    for mode in MODES:
        limiter = RateLimiter(3, 10, mode, clock=FakeClock(LATER))
        admitted[mode] = [at for at in [0, 4, 8, 9, 10, 11, 12] if limiter.hit("ana", at) == 0.0]
    assert admitted == {"sliding": [0, 4, 8, 10], "cooldown": [0, 4, 8, 10, 11, 12]}


def test_a_refused_message_does_not_make_the_wait_longer() -> None:
    limiter = limiter_after([0, 1, 2])
    assert [limiter.hit("ana", 5) for _ in range(50)] == [5.0] * 50
    assert limiter.hit("ana", 10) == 0.0


def test_a_late_message_is_admitted_where_there_was_room() -> None:
    limiter = limiter_after([0, 50, 100])
    assert limiter.hit("ana", 30) == 0.0


def test_a_late_message_is_refused_where_its_window_was_full() -> None:
    limiter = limiter_after([0, 1, 2, 50, 51, 52])
    assert 0 < limiter.hit("ana", 3) <= 10


def test_the_clock_is_the_time_of_a_message_without_one() -> None:
    clock = FakeClock(1000)
    limiter = RateLimiter(1, 10, clock=clock)
    assert limiter.hit("ana") == 0.0
    clock.now += 4
    assert limiter.hit("ana") == 6.0
    assert limiter.hit("ana", 1010.0) == 0.0


def test_a_message_from_a_wrong_year_costs_two_windows_at_most() -> None:
    clock = FakeClock(1000)
    limiter = RateLimiter(2, 10, clock=clock)
    year = 365 * 86400.0
    assert [limiter.hit("ana", 1000 + year * i) > 0 for i in (1, 2, 3)] == [False, False, True]
    clock.now += 20
    assert limiter.hit("ana", clock.now) == 0.0


def test_messages_from_the_future_make_nobody_else_forgotten() -> None:
    clock = FakeClock(1000)
    limiter = RateLimiter(1, 10, max_keys=2, clock=clock)
    limiter.hit("ana", 1000.0)
    limiter.hit("berta", 1e12)
    assert limiter.hit("carla", 1e12) == 0.0
    assert limiter.statistics().shared == 1
    assert limiter.hit("ana", 1005.0) == 5.0


@pytest.mark.parametrize("mode", MODES)
def test_a_flood_of_senders_does_not_free_a_blocked_key(mode: Literal["sliding", "cooldown"]) -> None:
    limiter = RateLimiter(2, 10, mode, max_keys=5, clock=FakeClock(LATER))
    limiter.hit("ana", 0.0)
    limiter.hit("ana", 1.0)
    for i in range(1000):
        limiter.hit(f"stranger {i}", 1.0 + i / 500)
    assert limiter.hit("ana", 4.0) > 0
    assert limiter.statistics().keys == 5


def test_newcomers_without_room_share_one_bucket() -> None:
    limiter = RateLimiter(2, 10, max_keys=3, clock=FakeClock(LATER))
    admitted = [key for key in "abcdefgh" if limiter.hit(key, 0.0) == 0.0]
    assert admitted == ["a", "b", "c", "d", "e"]
    statistics = limiter.statistics()
    assert (statistics.keys, statistics.admitted, statistics.refused, statistics.shared) == (3, 5, 3, 2)
    assert limiter.hit("a", 0.0) == 0.0


def test_what_was_admitted_in_the_shared_bucket_counts_when_there_is_room_again() -> None:
    limiter = RateLimiter(2, 10, max_keys=1, clock=FakeClock(LATER))
    assert [limiter.hit(key, at) for key, at in [("ana", 0.0), ("berta", 5.0), ("berta", 6.0)]] == [0.0] * 3
    assert limiter.hit("berta", 10.0) == 5.0  # ana's place is free, but berta was admitted twice
    assert limiter.hit("berta", 15.0) == 0.0
    assert limiter.hit("berta", 15.5) == 0.5


def test_a_window_that_began_in_the_shared_bucket_goes_on_when_there_is_room_again() -> None:
    limiter = RateLimiter(2, 10, "cooldown", max_keys=1, clock=FakeClock(LATER))
    assert [limiter.hit(key, at) for key, at in [("ana", 0.0), ("berta", 5.0), ("berta", 10.0)]] == [0.0] * 3
    assert limiter.hit("berta", 11.0) == 4.0


def test_what_was_admitted_in_the_shared_bucket_counts_for_late_messages() -> None:
    limiter = RateLimiter(1, 10, max_keys=1, clock=FakeClock(LATER))
    assert [limiter.hit(key, at) for key, at in [("ana", 0.0), ("berta", 5.0), ("berta", 20.0)]] == [0.0] * 3
    assert limiter.hit("berta", 6.0) == 9.0


def test_a_late_newcomer_gets_the_room_of_a_key_that_is_idle_by_now() -> None:
    limiter = RateLimiter(1, 10, max_keys=2, clock=FakeClock(LATER))
    assert [limiter.hit(key, at) for key, at in [("ana", 5.0), ("berta", 20.0), ("carla", 10.0)]] == [0.0] * 3
    assert limiter.statistics().shared == 0


def test_a_key_that_was_forgotten_is_not_admitted_late_as_if_it_were_new() -> None:
    limiter = RateLimiter(1, 10, max_keys=1, clock=FakeClock(LATER))
    assert [limiter.hit(key, at) for key, at in [("ana", 0.0), ("berta", 20.0), ("ana", 40.0)]] == [0.0] * 3
    assert limiter.hit("ana", 5.0) == 10.0


def test_the_key_idle_longest_is_forgotten_for_a_newcomer() -> None:
    limiter = RateLimiter(1, 10, max_keys=3, clock=FakeClock(LATER))
    for key, at in [("ana", 0), ("berta", 1), ("carla", 2), ("ana", 12), ("dora", 13)]:
        assert limiter.hit(key, at) == 0.0
    assert limiter.statistics().shared == 0
    assert limiter.hit("ana", 13) == 9.0  # still remembered: berta made room
    assert limiter.hit("berta", 14) == 0.0  # for carla
    assert limiter.hit("eva", 14) == 0.0
    assert limiter.statistics().shared == 1


def test_every_idle_key_makes_room_however_the_others_came() -> None:
    limiter = RateLimiter(1, 10, max_keys=100, clock=FakeClock(LATER))
    for number in range(100):
        limiter.hit(f"old {number}", float(number * 37 % 100))
    for number in range(91):  # those whose last message was at 0 to 90
        limiter.hit(f"new {number}", 100.0)
    assert limiter.statistics().shared == 0
    limiter.hit("one too many", 100.0)
    assert limiter.statistics().shared == 1


def test_the_overall_limit_stands_behind_the_keys() -> None:
    limiter = RateLimiter(2, 10, max_overall=3, clock=FakeClock(LATER))
    assert [limiter.hit(key, 0.0) for key in "aabc"] == [0.0, 0.0, 0.0, 10.0]
    assert limiter.hit("c", 10.0) == 0.0


def test_a_refusal_by_the_overall_limit_is_not_counted_for_the_key() -> None:
    limiter = RateLimiter(1, 10, max_overall=1, clock=FakeClock(LATER))
    limiter.hit("ana", 0.0)
    assert limiter.hit("berta", 9.0) == 1.0
    assert limiter.hit("berta", 10.0) == 0.0


def test_a_sender_is_told_once_per_window() -> None:
    limiter = limiter_after([0, 1, 2])
    told = [at for at in (3, 4, 9, 12.9, 13, 14) if limiter.should_tell("ana", at)]
    assert told == [3, 13]


def test_senders_are_told_each_for_themselves() -> None:
    limiter = limiter_after([0, 1, 2])
    limiter.hit("berta", 3)
    assert limiter.should_tell("ana", 3)
    assert limiter.should_tell("berta", 3)
    assert not limiter.should_tell("ana", 3)


def test_those_who_share_a_bucket_are_told_as_one() -> None:
    limiter = limiter_after([0, 1, 2], max_keys=1)
    assert [limiter.should_tell(f"stranger {i}", 3) for i in range(3)] == [True, False, False]


def test_a_wrong_year_does_not_silence_for_long() -> None:
    clock = FakeClock(1000)
    limiter = RateLimiter(1, 10, clock=clock)
    limiter.hit("ana", 1000)
    assert limiter.should_tell("ana", 1e12)
    clock.now += 20
    assert limiter.should_tell("ana", clock.now)


def test_chat_ids_are_keys() -> None:
    limiter = RateLimiter(1, 10, clock=FakeClock(LATER))
    limiter.hit(ChatId("5215512345678"), 0)
    assert limiter.hit(ChatId("5215512345678"), 1) == 9.0


def test_memory_stays_bounded_when_senders_never_end() -> None:
    limiter = RateLimiter(clock=FakeClock(LATER))
    tracemalloc.start()
    try:
        for number in range(60_000):  # six tables full; benchmarks/limits.py sends a million
            limiter.hit(f"52155{number:08d}@s.whatsapp.net", number / 400)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert limiter.statistics().keys == 10_000
    assert peak_bytes < 6 * 2**20


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_messages": 0}, "max_messages must be at least 1, not 0"),
        ({"max_keys": 0}, "max_keys must be at least 1, not 0"),
        ({"max_overall": 0}, "max_overall must be at least 1, not 0"),
        ({"window_s": 0}, "window_s must be a positive number of seconds, not 0"),
        ({"window_s": float("nan")}, "window_s must be a positive number of seconds, not nan"),
        ({"window_s": float("inf")}, "window_s must be a positive number of seconds, not inf"),
        ({"mode": "bucket"}, "mode must be 'sliding' or 'cooldown', not 'bucket'"),
    ],
)
def test_a_limit_that_makes_no_sense_is_named(options: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RateLimiter(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [float("nan"), float("inf"), float("-inf")])
def test_a_time_that_is_no_time_is_refused_and_changes_nothing(at: float) -> None:
    limiter = RateLimiter(1, 10, clock=FakeClock(LATER))
    with pytest.raises(ValueError, match="finite number of Unix seconds"):
        limiter.hit("ana", at)
    assert limiter.statistics().admitted == 0
    assert limiter.hit("ana", 0.0) == 0.0
