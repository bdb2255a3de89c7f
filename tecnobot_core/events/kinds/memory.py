"""What happened to the memory of the process."""

from dataclasses import dataclass

from .event import Event


@dataclass(frozen=True, slots=True)
class MemoryPressureChanged(Event):
    """Memory use crossed a threshold; *level* is "normal", "warning" or "critical"."""

    level: str
    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryWarningBegan(MemoryPressureChanged):
    """The level is "warning" now; parts give memory back."""


@dataclass(frozen=True, slots=True)
class MemoryCriticalBegan(MemoryPressureChanged):
    """The level is "critical" now; attachments are refused."""


@dataclass(frozen=True, slots=True)
class MemoryNormalBegan(MemoryPressureChanged):
    """The level is "normal" again."""


@dataclass(frozen=True, slots=True)
class MemoryReleased(Event):
    """Parts were asked for *wanted_bytes* and say they freed *estimated_bytes*; *actual_bytes* left the process."""

    wanted_bytes: int
    estimated_bytes: int
    actual_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryRefused(Event):
    """A reservation was refused; *reason* is "too_big" (more than half the limit) or "busy" (after *waited_s*)."""

    n_bytes: int
    waited_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class MemoryRecycleWanted(Event):
    """Memory stays near the limit whatever is released; drain, and let a supervisor start the process anew."""

    used_bytes: int
    limit_bytes: int
