"""What an encoding child tells: how far it is, and where it is silent."""

import re

from ...audio.ports import Heard, Span

_MAX_LINE_BYTES = 256
_MAX_SILENCES = 100_000  # more are noise; a recording of a day has a tenth of it
_SILENCE = re.compile(rb"lavfi\.silence_(start|end)=(-?\d{1,7}(?:\.\d{1,9})?)\s*")
_PROGRESS = re.compile(rb"out_time_us=(\d{1,15})\s*")


class Reports:
    """Reads lines as they come. What a recording itself may have smuggled in cannot do more than move a cut."""

    def __init__(self, heard: Heard) -> None:
        self.silences: list[Span] = []
        self._heard = heard
        self._rest = b""
        self._start_s: float | None = None

    def take(self, data: bytes) -> None:
        """Read what is complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_MAX_LINE_BYTES:]
        for line in lines:
            if match := _PROGRESS.fullmatch(line):
                self._heard(int(match[1]) / 1e6)
            elif match := _SILENCE.fullmatch(line):
                self._edge(match[1] == b"start", max(0.0, float(match[2])))

    def _edge(self, begins: bool, at_s: float) -> None:
        if begins:
            self._start_s = at_s
        elif self._start_s is not None and self._start_s <= at_s and len(self.silences) < _MAX_SILENCES:
            self.silences.append(Span(self._start_s, at_s))
            self._start_s = None
