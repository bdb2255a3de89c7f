"""What follows from a loss: how long to wait, for how often, and when to give up."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from .numbers import check_count, check_seconds
from .ports import Lost
from .reasons import DisconnectReason, response_to

BAN_MARGIN_S = 300.0  # what is waited beyond the end of a ban: who comes back too early is banned for longer


def equal_jitter(delay_s: float) -> float:
    """Half of *delay_s* for sure, the other half at random, so that many bots do not return in one instant."""
    return delay_s / 2 + random.uniform(0, delay_s / 2)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do after *loss*. *delay_s* None: wait until somebody asks for the next attempt."""

    loss: Lost
    response: Literal["retry", "park", "restore", "fail"]
    delay_s: float | None = 0.0

    @property
    def will_reconnect(self) -> bool:
        """Whether it goes on without anybody's help, as far as is known."""
        return self.response != "fail" and self.delay_s is not None


class Attempts:
    """Counts attempts that failed and links that did not last, until one was stable, and judges each loss.

    A lost link that was stable is not a failure: *max_attempts* attempts may follow it, as at the beginning. Connecting
    at once, parking and restoring are not counted: each happens once until a link was stable, so none goes in circles.
    """

    def __init__(
        self,
        *,
        base_delay_s: float,
        max_delay_s: float,
        max_attempts: int | None,
        stable_after_s: float,
        jitter: Callable[[float], float],
        park_on: Collection[DisconnectReason],
    ) -> None:
        check_seconds("base_delay_s", base_delay_s, finite=True)
        check_seconds("max_delay_s", max_delay_s, finite=True)
        check_seconds("stable_after_s", stable_after_s, least_s=0)
        check_count("max_attempts", max_attempts, none_means="no limit")
        if base_delay_s > max_delay_s:
            raise ValueError(f"base_delay_s ({base_delay_s}) must be at most max_delay_s ({max_delay_s})")
        self.failures = 0
        self._waits = 0  # not the failures: the first wait is the base also when a stable link was lost
        self._used: set[str] = set()
        self._base_delay_s = base_delay_s
        self._max_delay_s = max_delay_s
        self._max_attempts = max_attempts
        self._stable_after_s = stable_after_s
        self._jitter = jitter
        self._park_on = frozenset(park_on)

    def delay_s(self, attempt: int) -> float:
        """``min(base * 2**attempt, max)`` exactly."""
        # 2.0**1024 overflows; far before that the result is the maximum whatever the base.
        return float(min(self._base_delay_s * 2.0 ** min(attempt, 1000), self._max_delay_s))

    def is_stable(self, up_s: float) -> bool:
        """Whether a link that was up for *up_s* may be called stable."""
        return up_s >= self._stable_after_s

    def forgive(self) -> None:
        """Begin to count anew."""
        self.failures = self._waits = 0
        self._used.clear()

    def judge(self, loss: Lost, *, stable: bool) -> Verdict:
        """What to do about *loss* of a link that was *stable*, or of an attempt (not *stable*)."""
        if stable:
            self.forgive()
        response = response_to(loss.reason, retryable=loss.retryable, sound=loss.sound)
        if response == "at_once" and self._first(response):
            return Verdict(loss, "retry")
        if response == "restore" and self._first(response):
            return Verdict(loss, "restore")
        if response == "park" and loss.retry_after_s is not None and self._first(response):
            return Verdict(loss, "park", loss.retry_after_s + BAN_MARGIN_S)
        if not stable:
            self.failures += 1
        if response in ("restore", "park", "fail"):
            return self.give_up(loss)
        if self._max_attempts is not None and self.failures >= self._max_attempts:
            return self.give_up(replace(loss, reason=DisconnectReason.ATTEMPTS_EXHAUSTED, detail=describe(loss)))
        return Verdict(loss, "retry", self._next_delay_s(loss))

    def give_up(self, loss: Lost) -> Verdict:
        """Nothing more is tried: by nobody, or until the owner asks for it where that was wished for this reason."""
        parks = loss.reason in self._park_on
        return Verdict(replace(loss, retryable=False), "park" if parks else "fail", None)

    def _first(self, use: str) -> bool:
        first = use not in self._used
        self._used.add(use)
        return first

    def _next_delay_s(self, loss: Lost) -> float:
        delay_s = self._jitter(self.delay_s(self._waits))
        self._waits += 1
        return max(delay_s, loss.retry_after_s or 0.0)


def describe(loss: Lost) -> str:
    """The reason, with what is known beyond it."""
    return f"{loss.reason}: {loss.detail}" if loss.detail else str(loss.reason)
