"""Levels of pressure: up at once, down when it has been calm for a while."""

from collections.abc import Mapping

from .ports import MemoryLevel

HYSTERESIS = 0.05  # a level is left only this share of the limit below where it begins, so that it does not flutter
_ORDER: tuple[MemoryLevel, ...] = ("normal", "warning", "critical")


class Levels:
    """The level of a share of the limit, as readings come; ValueError for shares at which none could be left."""

    def __init__(self, warning: float, critical: float, *, calm_s: float) -> None:
        if not HYSTERESIS < warning < critical <= 1:
            raise ValueError(
                f"{HYSTERESIS} < warning ({warning}) < critical ({critical}) <= 1 must hold, as a level is left only"
                f" {HYSTERESIS} below where it begins"
            )
        self.level: MemoryLevel = "normal"
        self._begins: Mapping[MemoryLevel, float] = {"critical": critical, "warning": warning}
        self._calm_s = calm_s
        self._calm_since: float | None = None

    def update(self, share: float, now: float) -> bool:
        """Take a reading, *now* in seconds; True when the level changed."""
        level = self._level_of(share)
        if _ORDER.index(level) >= _ORDER.index(self.level):
            self._calm_since = None
        else:
            if self._calm_since is None:
                self._calm_since = now
            if now - self._calm_since < self._calm_s:
                return False
            self._calm_since = None
        changed, self.level = level != self.level, level
        return changed

    def _level_of(self, share: float) -> MemoryLevel:
        for level, begin in self._begins.items():
            holds = self.level in (level, "critical")
            if share >= begin - (HYSTERESIS if holds else 0):
                return level
        return "normal"
