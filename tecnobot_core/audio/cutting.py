"""Where a long recording is cut: in silences, below the limits of an upload."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import AudioError
from .limits import UploadLimits
from .ports import Span

MAX_PARTS = 500

_SHARE_OF_CAP = 6 / 7  # 1,200 s of 1,400: lengths that others measure differ a little
_SHARE_OF_BYTES = 0.8  # a part may be denser than the whole
_MAX_WINDOW_S = 60.0  # where a silence is looked for, before the longest end
_MAX_OVERLAP_S = 3.0  # of parts that are cut in speech: a word that was cut is whole in one of them
_SHORT_S = 60.0  # a last part that is shorter goes to the one before


@dataclass(frozen=True, slots=True)
class CutPlan:
    """How parts are made: as long as *part_s*, never longer than *max_s*."""

    part_s: float
    max_s: float

    @classmethod
    def of(cls, limits: UploadLimits, size_bytes: int, duration_s: float) -> "CutPlan":
        """For an encoded recording, so that each part is within *limits*."""
        by_size_s = limits.max_bytes * duration_s / max(1, size_bytes)
        max_s = by_size_s if limits.max_s is None else min(by_size_s, limits.max_s)
        by_cap_s = max_s if limits.max_s is None else limits.max_s * _SHARE_OF_CAP
        return cls(min(by_size_s * _SHARE_OF_BYTES, by_cap_s), min(max_s, by_size_s * (_SHARE_OF_BYTES + 1) / 2))

    def spans(self, duration_s: float, silences: Sequence[Span]) -> list[Span]:
        """Parts of a recording, in order and without a gap; they overlap only where no silence was found.

        Raises AudioError "too_big" when there would be more than MAX_PARTS.
        """
        if duration_s > MAX_PARTS * self.part_s / 2:
            raise AudioError(
                f"a recording of {duration_s:,.0f} s would need more than {MAX_PARTS} parts; send a shorter one",
                kind="too_big",
            )
        middles = [(silence.start_s + silence.end_s) / 2 for silence in silences]
        window_s = min(_MAX_WINDOW_S, self.part_s / 2)
        spans, start_s = [], 0.0
        while duration_s - start_s > self._last_s:
            latest_s = start_s + self.part_s
            found = [middle for middle in middles if latest_s - window_s <= middle <= latest_s]
            end_s = found[-1] if found else latest_s
            spans.append(Span(start_s, end_s))
            start_s = end_s if found else end_s - min(_MAX_OVERLAP_S, self.part_s / 10)
        return [*spans, Span(start_s, duration_s)]

    @property
    def _last_s(self) -> float:
        """What a last part may have: some more, so that nothing short is left over."""
        return min(self.max_s, self.part_s + min(_SHORT_S, self.part_s / 20))
