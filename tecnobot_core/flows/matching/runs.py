"""Finds the longest keyword that stands somewhere in a sequence of words, or of letters."""

from array import array
from collections import defaultdict
from collections.abc import Iterable

from ..model import Flow, FlowMatch
from .keywords import Keywords, rank


class Words:
    """Keywords that are runs of whole words."""

    __slots__ = ("_keywords", "_lengths")

    def __init__(self, keywords: Keywords) -> None:
        self._keywords = keywords
        # Keywords of one word are looked up as they are; to note their length as well would cost as much as they do.
        self._lengths = _Lengths(
            (keyword.partition(" ")[0], keyword.count(" ") + 1) for keyword in keywords if " " in keyword
        )

    def longest(self, words: list[str]) -> FlowMatch | None:
        """The keyword of most words that stands anywhere in *words*."""
        best, flow_of, lengths_of = _Best(), self._keywords.get, self._lengths.of
        for start, word in enumerate(words):
            if best.length <= 1 and (flow := flow_of(word)) is not None:
                best.offer(flow, 1, word)
            for length in lengths_of(word):
                if length < best.length:
                    break
                run = " ".join(words[start : start + length])
                if start + length <= len(words) and (flow := flow_of(run)) is not None:
                    best.offer(flow, length, run)
        return self._keywords.match(best.keyword) if best.keyword else None

    def first(self, words: list[str]) -> FlowMatch | None:
        """The keyword of most words that *words* begin with."""
        if not words:
            return None
        for length in (*self._lengths.of(words[0]), 1):
            if length <= len(words) and (match := self._keywords.match(" ".join(words[:length]))) is not None:
                return match
        return None


class Parts:
    """Keywords that are letters anywhere in a text, also inside of words."""

    __slots__ = ("_beginning", "_keywords", "_lengths")

    def __init__(self, keywords: Keywords) -> None:
        self._keywords = keywords
        # Three letters tell most keywords apart; the shortest keyword limits how many can be looked at.
        self._beginning = min((3, *map(len, keywords)))
        self._lengths = _Lengths((keyword[: self._beginning], len(keyword)) for keyword in keywords)

    def longest(self, text: str) -> FlowMatch | None:
        """The keyword of most letters that stands anywhere in *text*."""
        if not self._keywords:
            return None
        best, beginning, flow_of, lengths_of = _Best(), self._beginning, self._keywords.get, self._lengths.of
        for start in range(len(text) - beginning + 1):
            for length in lengths_of(text[start : start + beginning]):
                if length < best.length:
                    break
                part = text[start : start + length]
                if len(part) == length and (flow := flow_of(part)) is not None:
                    best.offer(flow, length, part)
        return self._keywords.match(best.keyword) if best.keyword else None


class _Best:
    """The longest keyword so far; of equals that of the better flow."""

    __slots__ = ("_flow", "keyword", "length")

    def __init__(self) -> None:
        self._flow: Flow | None = None
        self.keyword = ""
        self.length = 0

    def offer(self, flow: Flow, length: int, keyword: str) -> None:
        if self._flow is None or length > self.length or rank(flow) < rank(self._flow):
            self._flow, self.length, self.keyword = flow, length, keyword


class _Lengths:
    """By beginning, the lengths that keywords with it have, longest first.

    Looked up by hash alone: the beginnings themselves would take as much memory as the keywords. Those that no keyword
    has may get the lengths of others, which costs a look in vain.
    """

    __slots__ = ("_mask", "_shapes", "_table")

    def __init__(self, keywords: Iterable[tuple[str, int]]) -> None:
        by_hash: defaultdict[int, set[int]] = defaultdict(set)
        for beginning, length in keywords:
            by_hash[hash(beginning)].add(length)
        self._mask = (2 << len(by_hash).bit_length()) - 1  # a quarter to half of the table is taken
        slots: defaultdict[int, set[int]] = defaultdict(set)
        for number, lengths in by_hash.items():
            slots[number & self._mask] |= lengths
        shapes: dict[tuple[int, ...], int] = {(): 0}
        self._table = array("I", bytes(4 * (self._mask + 1)))
        for slot, lengths in slots.items():
            self._table[slot] = shapes.setdefault(tuple(sorted(lengths, reverse=True)), len(shapes))
        self._shapes = tuple(shapes)

    def of(self, beginning: str) -> tuple[int, ...]:
        return self._shapes[self._table[hash(beginning) & self._mask]]
