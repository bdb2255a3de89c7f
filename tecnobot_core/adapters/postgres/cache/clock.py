"""The store's clock, known from a few answers."""

import time
from collections.abc import Callable


class StoreClock:
    """The server's clock, in Unix seconds, as far as it was measured; the machine's own until then.

    Between measurements it runs with the *monotonic* clock, so that setting the machine's clock changes nothing.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.monotonic = monotonic
        self._offset_s = clock() - monotonic()

    def now(self) -> float:
        """The time on the server, known to half of the fastest round trip that was measured last."""
        return self.monotonic() + self._offset_s

    def set_from(self, samples: list[tuple[float, float, float]]) -> None:
        """Learn from the quickest of *samples*: when it was asked, the server's time, when the answer came."""
        asked_at, server_s, answered_at = min(samples, key=lambda sample: sample[2] - sample[0])
        self._offset_s = server_s - (asked_at + answered_at) / 2
