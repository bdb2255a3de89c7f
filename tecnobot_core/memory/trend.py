"""Where memory goes: its slope, the seconds that are left, and the minutes behind."""

from collections import deque
from collections.abc import Sequence

WINDOW_S = 10.0
STEP_S = 0.25  # one point each, so that a slope is of at most 40 points however often is read
MIN_SPAN_S = 1.0  # of less, noise would look like a landslide
KEPT_S = 300


class Trend:
    """Readings of the last seconds."""

    def __init__(self) -> None:
        self._slope_bytes_per_s: float | None = 0.0  # None until somebody asks
        self._points: deque[tuple[float, int]] = deque()
        self._history: deque[int] = deque(maxlen=KEPT_S)
        self._second = float("-inf")
        self._last: tuple[float, int] | None = None
        self._rate_bytes_per_s = 0.0

    @property
    def slope_bytes_per_s(self) -> float:
        """Of the last ten seconds; 0.0 until there is one of them."""
        if self._slope_bytes_per_s is None:
            points = self._points
            self._slope_bytes_per_s = slope(points) if points[-1][0] - points[0][0] >= MIN_SPAN_S else 0.0
        return self._slope_bytes_per_s

    def add(self, now: float, used_bytes: int) -> None:
        """Take a reading, *now* in seconds."""
        if self._last is not None and now > self._last[0]:
            self._rate_bytes_per_s = (used_bytes - self._last[1]) / (now - self._last[0])
        self._last = (now, used_bytes)
        points = self._points
        if len(points) > 1 and now - points[-2][0] < STEP_S:
            points.pop()  # the last point moves until it is a step away from the one before
        points.append((now, used_bytes))
        while now - points[0][0] > WINDOW_S:
            points.popleft()
        self._slope_bytes_per_s = None
        if now - self._second >= 1:
            self._second = now
            self._history.append(used_bytes)

    def seconds_to(self, used_bytes: int) -> float | None:
        """When *used_bytes* will be reached at this slope, 0.0 if they are; None for never."""
        return self._seconds_to(used_bytes, self.slope_bytes_per_s)

    def soonest_s(self, used_bytes: int) -> float | None:
        """As ``seconds_to``, at the pace since the reading before if that is steeper: a burst has no slope yet."""
        return self._seconds_to(used_bytes, max(self.slope_bytes_per_s, self._rate_bytes_per_s))

    def _seconds_to(self, used_bytes: int, bytes_per_s: float) -> float | None:
        if self._last is None:
            return None
        missing_bytes = used_bytes - self._last[1]
        if missing_bytes <= 0:
            return 0.0
        return missing_bytes / bytes_per_s if bytes_per_s > 0 else None

    def history(self) -> tuple[int, ...]:
        """Bytes used, one reading a second where there was one, of the last five minutes; the oldest first."""
        return tuple(self._history)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line with the least squares through *points* (x, y); 0.0 where all x are the same."""
    xs = [x for x, _ in points]
    mean_x = sum(xs) / len(xs)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * y for x, y in points) / spread if spread else 0.0
