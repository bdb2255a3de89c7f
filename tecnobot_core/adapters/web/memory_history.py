"""How much memory the bot used lately."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from .json_values import json_value

logger = logging.getLogger(__name__)


class MemoryHistory:
    """Asks *read* every *every_s* and keeps the last *keep* readings.

    *read* gives an object or a mapping with ``level``, ``used_bytes`` and ``limit_bytes``. *clock* is in Unix seconds.
    """

    def __init__(
        self,
        read: Callable[[], object],
        *,
        keep: int = 120,
        every_s: float = 5.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
    ) -> None:
        self._read = read
        self._every_s = every_s
        self._clock = clock
        self._sleep = sleep
        self._history: deque[tuple[float, int]] = deque(maxlen=keep)
        self._failed = False

    async def run(self) -> None:
        """Take a reading again and again until cancelled."""
        while True:
            self.sample()
            await self._sleep(self._every_s)

    def sample(self) -> None:
        """Take a reading and keep it."""
        if (reading := self._reading()) is not None:
            self._history.append((round(self._clock(), 1), reading["used_bytes"]))

    def value(self) -> dict[str, object] | None:
        """A reading of now and the ``history``, oldest first, each (time, used bytes); None where it cannot be told."""
        reading = self._reading()
        return None if reading is None else {**reading, "history": tuple(self._history)}

    def _reading(self) -> dict[str, Any] | None:
        try:
            value = json_value(self._read())
        except Exception:  # a part that cannot tell must stop neither the server nor the page
            # Once: this is repeated every few seconds.
            logger.log(logging.DEBUG if self._failed else logging.ERROR, "memory cannot be read", exc_info=True)
            self._failed = True
            return None
        if not isinstance(value, Mapping) or not {"level", "used_bytes", "limit_bytes"} <= value.keys():
            return None
        return {name: value[name] for name in ("level", "used_bytes", "limit_bytes")}
