"""How far memory should fall, and how soon to look again."""

from .levels import HYSTERESIS
from .ports import MemoryLevel
from .releasing import Goal
from .trend import Trend

MIN_INTERVAL_S = 0.05
HORIZON_S = 5.0  # critical within that time, at the present slope: release now
NEAR_SHARE = 0.1  # below "warning", from where on the slope is believed


class Goals:
    """For a limit and the shares of it at which levels begin."""

    def __init__(self, limit_bytes: int, warning: float, critical: float) -> None:
        self._warning_bytes = int(limit_bytes * warning)
        self._near_bytes = int(limit_bytes * (warning - NEAR_SHARE))
        self._calm_bytes = int(limit_bytes * (warning - HYSTERESIS))
        self._last_resort_bytes = int(limit_bytes * (critical - HYSTERESIS))
        self.critical_bytes = int(limit_bytes * critical)

    def goal(self, level: MemoryLevel, used_bytes: int, trend: Trend) -> Goal | None:
        """What to release to; None when all is well."""
        if level == "critical":
            return Goal(self._calm_bytes, self._last_resort_bytes, urgent=True)
        if level == "warning":
            return Goal(self._calm_bytes)
        left_s = None if used_bytes <= self._near_bytes else trend.seconds_to(self.critical_bytes)
        if left_s is None or left_s >= HORIZON_S:
            return None
        return Goal(max(self.critical_bytes - int(trend.slope_bytes_per_s * HORIZON_S), self._near_bytes))

    def room_for(self, n_bytes: int) -> Goal:
        """For those who wait. Never at the cost of what is of last resort: a download can wait, a history is gone."""
        return Goal(max(self.critical_bytes - n_bytes, 0), urgent=True)

    def next_s(self, level: MemoryLevel, trend: Trend, interval_s: float) -> float:
        """Until the next reading, at most *interval_s*: a quarter of the time that is left to "warning"."""
        if level != "normal" or interval_s <= MIN_INTERVAL_S:
            return min(MIN_INTERVAL_S, interval_s)
        left_s = trend.soonest_s(self._warning_bytes)
        return interval_s if left_s is None else min(max(left_s / 4, MIN_INTERVAL_S), interval_s)
