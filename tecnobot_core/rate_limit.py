"""Fair use, per chat, on message time."""

import heapq
import math
import time
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class RateLimiterStatistics:
    """``keys`` are remembered now; ``admitted`` and ``refused`` count hits since the start.

    ``shared`` of the admitted came through the bucket of those for whom there was no room.
    """

    keys: int
    admitted: int
    refused: int
    shared: int


class RateLimiter:
    """Admits at most *max_messages* of a key in *window_s* seconds, counted on the messages' own time.

    "sliding" never admits more in any *window_s* seconds, in whatever order the messages come. "cooldown" counts in
    windows that begin with a message: after *max_messages* there is silence until the window is over, then the next
    message begins a new one, so that two windows together may admit up to 2 · *max_messages* - 1 in *window_s*; what
    comes late, for a window that is over, is judged as in "sliding". *max_overall* limits all keys together, "sliding".

    Of each key the newest *max_messages* admissions are remembered. A message within *window_s* after what was
    forgotten, or older, is refused: it cannot be told whether it is one too many.

    *max_keys* are remembered. When they are full the key that is idle longest is forgotten, if its last admission is
    more than *window_s* ago; while there is none, newcomers share one bucket. A newcomer that finds room again starts
    with the admissions of that bucket, which may have been its own. So no flood of senders gives anybody more than the
    limit, nor makes a blocked key forgotten.

    Times and *clock* are Unix seconds. A time more than *window_s* ahead of *clock* is not believed, and lowered to
    that: a wrong year costs its key two windows at most. Replays of the past need no clock of their own.
    Raises ValueError for a limit or a time that makes no sense. A hit costs O(1), a newcomer amortised
    O(log *max_keys*). Not for several threads.
    """

    def __init__(
        self,
        max_messages: int = 30,
        window_s: float = 60.0,
        mode: Literal["sliding", "cooldown"] = "sliding",
        *,
        max_keys: int = 10_000,
        max_overall: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if mode not in ("sliding", "cooldown"):
            raise ValueError(f"mode must be 'sliding' or 'cooldown', not {mode!r}")
        if not 0 < window_s < math.inf:
            raise ValueError(f"window_s must be a positive number of seconds, not {window_s}")
        _require_positive(max_messages=max_messages, max_keys=max_keys, max_overall=max_overall)
        self._window_s = window_s
        self._rule = (_Sliding if mode == "sliding" else _Cooldown)(max_messages, window_s)
        self._overall_rule = None if max_overall is None else _Sliding(max_overall, window_s)
        self._max_keys = max_keys
        self._clock = clock
        self._logs: dict[str, _Log] = {}
        self._shared = _Log()
        self._overall = _Log()
        # Each key once, with its newest admission when it was last looked at: the truth is never older.
        self._idle: list[tuple[float, str]] = []
        self._forgotten = _NEVER
        self._newest = _NEVER
        self._admitted = self._refused = self._shared_hits = 0

    def hit(self, key: str, at: float | None = None) -> float:
        """Seconds that the sender should wait, at most *window_s*; 0.0 admits and counts the message sent at *at*.

        A refused message counts nowhere: waiting is never made longer by trying.
        """
        at = self._believed(at)
        log = self._logs.get(key)
        wait_s = self._newcomer_wait_s(at) if log is None else self._rule.wait_s(log, at)
        if self._overall_rule is not None:
            wait_s = max(wait_s, self._overall_rule.wait_s(self._overall, at))
        if wait_s:
            self._refused += 1
            return wait_s
        self._admitted += 1
        self._newest = max(self._newest, at)
        self._rule.admit(self._log_for_newcomer(key, at) if log is None else log, at)
        if self._overall_rule is not None:
            self._overall_rule.admit(self._overall, at)
        return 0.0

    def should_tell(self, key: str, at: float | None = None) -> bool:
        """Whether the sender of a message that was just refused has not been told so for *window_s*; now it has.

        Those who share a bucket are told as one.
        """
        at = self._believed(at)
        log = self._logs.get(key, self._shared)
        if at - log.told < self._window_s:
            return False
        log.told = at
        return True

    def statistics(self) -> RateLimiterStatistics:
        """How many keys and hits there were."""
        return RateLimiterStatistics(len(self._logs), self._admitted, self._refused, self._shared_hits)

    def _believed(self, at: float | None) -> float:
        now = self._clock()
        if at is None:
            return now
        if not math.isfinite(at):
            raise ValueError(f"the time of a message must be a finite number of Unix seconds, not {at}")
        return min(at, now + self._window_s)

    def _newcomer_wait_s(self, at: float) -> float:
        """The wait of a key that may be new, forgotten, or have been admitted through the shared bucket."""
        if at - self._forgotten < self._window_s:
            return min(self._window_s, self._window_s - (at - self._forgotten))
        return self._rule.wait_s(self._shared, at)

    def _log_for_newcomer(self, key: str, at: float) -> "_Log":
        if not self._has_room():
            self._shared_hits += 1
            return self._shared
        log = self._logs[key] = self._shared.since(at - self._window_s)
        log.forgotten = max(log.forgotten, self._forgotten)
        heapq.heappush(self._idle, (at, key))
        return log

    def _has_room(self) -> bool:
        """Whether one more key can be remembered, after forgetting one that is idle long enough."""
        if len(self._logs) < self._max_keys:
            return True
        # A message from the future must not make the others look idle.
        idle_until = min(self._newest, self._clock()) - self._window_s
        while (seen := self._idle[0])[0] <= idle_until:
            key = seen[1]
            newest = self._logs[key].times[-1]
            if newest == seen[0]:
                heapq.heappop(self._idle)
                del self._logs[key]
                self._forgotten = max(self._forgotten, newest)
                return True
            heapq.heapreplace(self._idle, (newest, key))
        return False


class _Log:
    """The newest admissions of a key, in order of their time, and the newest one that was forgotten."""

    __slots__ = ("forgotten", "opened", "times", "told")

    def __init__(self) -> None:
        self.times = array("d")
        self.forgotten = _NEVER
        self.opened = _NEVER
        self.told = _NEVER

    def since(self, start: float) -> "_Log":
        """A copy that has forgotten what was not after *start*."""
        copy = _Log()
        first = bisect_right(self.times, start)
        copy.times = self.times[first:]
        copy.forgotten = self.times[first - 1] if first else self.forgotten
        copy.opened = self.opened
        return copy


class _Sliding:
    """At most *limit* in any window."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s

    def wait_s(self, log: _Log, at: float) -> float:
        """0.0 if a message of *at* may be admitted, else the wait until one may."""
        times, window_s = log.times, self._window_s
        # At most *limit* are remembered: one more is too many only if all of them and *at* lie in one window.
        if len(times) == self._limit and max(times[-1], at) - min(times[0], at) < window_s:
            blocking = times[0]
        elif at - log.forgotten < window_s:
            blocking = log.forgotten
        else:
            return 0.0
        return min(window_s, window_s - (at - blocking))

    def admit(self, log: _Log, at: float) -> None:
        insort(log.times, at)
        if len(log.times) > self._limit:
            log.forgotten = log.times.pop(0)


class _Cooldown(_Sliding):
    """At most *limit* in a window that begins with a message; what comes late is judged as if sliding."""

    def wait_s(self, log: _Log, at: float) -> float:
        since_opened_s = at - log.opened
        if since_opened_s < 0:
            return super().wait_s(log, at)
        if since_opened_s >= self._window_s or len(log.times) - bisect_left(log.times, log.opened) < self._limit:
            return 0.0
        return self._window_s - since_opened_s

    def admit(self, log: _Log, at: float) -> None:
        if at - log.opened >= self._window_s:
            log.opened = at
        super().admit(log, at)


def _require_positive(**limits: int | None) -> None:
    for name, limit in limits.items():
        if limit is not None and limit < 1:
            raise ValueError(f"{name} must be at least 1, not {limit}")
