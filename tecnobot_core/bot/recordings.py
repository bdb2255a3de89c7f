"""How long a recording may be, and how long hearing it may take."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..audio import read_facts
from ..errors import AudioError

Recording = bytes | Path

LONG_S = 300.0  # what is longer keeps its chat busy for so long that only a few may

_MIN_BYTES_FOR_A_SECOND = 500  # less than any codec of speech needs, so a bound of what a size can last


@dataclass(frozen=True, slots=True)
class HearingLimits:
    """At most *max_duration_s* are heard, in *base_s* and *for_a_second_s* for each second of them."""

    max_duration_s: float
    base_s: float
    for_a_second_s: float

    def __post_init__(self) -> None:
        for name, value in (("max_duration_s", self.max_duration_s), ("timeout_s", self.base_s)):
            if not value > 0:
                raise ValueError(f"{name} must be more than 0 s, not {value}")
        if not self.for_a_second_s >= 0:
            raise ValueError(f"timeout_for_a_second must be at least 0 s, not {self.for_a_second_s}")

    def timeout_s(self, duration_s: float) -> float:
        """When a recording of *duration_s* is given up."""
        return self.base_s + self.for_a_second_s * duration_s

    def refuse_longer(self, duration_s: float | None) -> None:
        """AudioError "too_long" when it is known that it cannot be heard in time."""
        if duration_s is not None and duration_s > self.max_duration_s:
            raise AudioError(
                f"the recording lasts {duration_s:,.0f} s; at most {self.max_duration_s:,.0f} s are heard; "
                "send a shorter one",
                kind="too_long",
            )

    def longest_s(self, looked: "Looked") -> float:
        """What a recording can last: as its header says, or as long as its bytes allow."""
        if looked.duration_s is not None:
            return looked.duration_s
        return min(looked.size_bytes / _MIN_BYTES_FOR_A_SECOND, self.max_duration_s)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a recording tells; ``duration_s`` is None where the header does not say."""

    sha256: str
    size_bytes: int
    duration_s: float | None


def look_at(recording: Recording) -> Looked:
    """Hash it and read its header; blocks."""
    if isinstance(recording, bytes):
        return _look(io.BytesIO(recording), len(recording))
    with recording.open("rb") as file:
        return _look(file, recording.stat().st_size)


def _look(file: BinaryIO, size_bytes: int) -> Looked:
    facts = read_facts(file, size_bytes)
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # any binary file will do
    return Looked(sha256, size_bytes, None if facts is None else facts.duration_s)
