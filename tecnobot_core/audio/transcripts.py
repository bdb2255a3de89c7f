"""The transcripts of several clips, as one."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .clips import Clip

_MAX_REPEATED_WORDS = 20  # three seconds of fast speech have half of it


@dataclass(frozen=True, slots=True)
class Segment:
    """Something that was said, in seconds from the beginning of its clip, or of the recording when joined."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of a clip or of a recording; ``segments`` where the model told times."""

    text: str
    segments: tuple[Segment, ...] = ()


def join_transcripts(parts: Iterable[tuple[Clip, str | Transcript]]) -> Transcript:
    """What was said in *parts*, in order, with the times of the whole recording.

    Where a clip begins before the one before it ends (no silence was found to cut in), words that both hold are kept
    once, and segments of the later one that end within the earlier are left out.
    """
    words: list[str] = []
    segments: list[Segment] = []
    heard_s = 0.0
    for clip, said in parts:
        transcript = Transcript(said) if isinstance(said, str) else said
        overlaps = clip.start_s < heard_s
        more = transcript.text.split()
        words += more[_repeated(words, more) if overlaps else 0 :]
        shifted = [_shifted(segment, clip.start_s) for segment in transcript.segments]
        segments += [segment for segment in shifted if not overlaps or segment.end_s > heard_s]
        heard_s = clip.start_s if clip.end_s is None else clip.end_s
    return Transcript(" ".join(words), tuple(segments))


def _repeated(before: Sequence[str], after: Sequence[str]) -> int:
    """How many words *after* begins with that *before* ends with, whatever their case and punctuation."""
    end = [_bare(word) for word in before[-_MAX_REPEATED_WORDS:]]
    start = [_bare(word) for word in after[:_MAX_REPEATED_WORDS]]
    lengths = range(min(len(end), len(start)), 0, -1)
    return next((length for length in lengths if end[-length:] == start[:length]), 0)


def _bare(word: str) -> str:
    return re.sub(r"\W", "", word).casefold()


def _shifted(segment: Segment, by_s: float) -> Segment:
    return replace(segment, start_s=segment.start_s + by_s, end_s=segment.end_s + by_s)
