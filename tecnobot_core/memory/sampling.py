"""Readings that go on when one of them fails."""

import contextlib
import logging
from collections.abc import Callable

from .gauge import Gauge, Reading
from .ports import Clock
from .reading import read_peak_rss_bytes

logger = logging.getLogger(__name__)

QUIET_S = 60.0  # a failure is told again when there was none of its kind for so long


class Sampler:
    """Fresh readings of *gauge*; where one fails, the last that succeeded counts until the next that does.

    *on_failed* is told, and the log, once for each kind of error, not each time. ``failed`` counts all, ``error`` is
    that of the last reading, empty when it succeeded.
    """

    def __init__(self, gauge: Gauge, *, clock: Clock, on_failed: Callable[[str, BaseException], None]) -> None:
        self.failed = 0
        self.error = ""
        self._gauge = gauge
        self._clock = clock
        self._on_failed = on_failed
        self._peak_bytes = 0
        self._last: Reading | None = None
        self._failed_at: dict[str, float] = {}  # by kind

    def take(self) -> Reading:
        """A reading, see ``error``. While none has ever succeeded, raises whatever reading raises."""
        try:
            reading = self._gauge.read()
        except Exception as error:
            self._note(error)
            if self._last is None:
                raise
            return self._last
        self.error = ""
        self._last = reading
        self._peak_bytes = max(self._peak_bytes, reading.used_bytes)
        return reading

    def peak_bytes(self) -> int:
        """The most that was ever used; where the kernel tells, also between readings."""
        if self._gauge.probe is None:
            with contextlib.suppress(OSError):
                self._peak_bytes = max(self._peak_bytes, read_peak_rss_bytes())
        return self._peak_bytes

    def _note(self, error: Exception) -> None:
        kind, now = type(error).__name__, self._clock()
        self.failed += 1
        self.error = f"{kind}: {error}"
        before, self._failed_at[kind] = self._failed_at.get(kind, float("-inf")), now
        if now - before > QUIET_S:
            logger.error("memory cannot be read; until it can, the last reading counts", exc_info=error)
            self._on_failed("memory.reading", error)
