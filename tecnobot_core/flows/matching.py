"""Finds the flow that a message starts, in a time that does not depend on how many flows there are."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from .folding import fold, fold_words
from .model import Flow, FlowMatch

MAX_WORDS = 40  # a person who wants something says it in the first sentences
MAX_CHARS = 2_000  # 40 words of 50 characters; folding costs time for each character


class MatchIndex:
    """The flows of a chatbot, arranged for matching. Never changes: to change flows, build another and swap.

    A message that is an "exact" keyword finds its flow first; else the "word" keyword of most words that occurs in the
    message as a run of whole words. Among equals the higher ``priority`` wins, then the smaller ``id``.
    """

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        self._flows = {flow.id: flow for flow in flows}
        self._words: dict[str, FlowMatch] = {}
        self._exact: dict[str, FlowMatch] = {}
        self._events: dict[str, FlowMatch] = {}
        for flow in sorted(self._flows.values(), key=_rank):
            self._add(flow)
        self._lengths = _run_lengths(self._words)

    def _add(self, flow: Flow) -> None:
        # Flows come best first, so whoever holds a keyword already is the better one.
        for keyword in flow.keywords:
            folded, found = fold(keyword.text), FlowMatch(flow, keyword.text)
            if keyword.kind == "word":
                self._words.setdefault(folded, found)
            else:
                self._exact.setdefault(folded, found)
        if flow.event is not None:
            self._events.setdefault(flow.event, FlowMatch(flow, flow.event))

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def get(self, flow_id: str) -> Flow | None:
        """The flow of that id."""
        return self._flows.get(flow_id)

    def event(self, name: str) -> FlowMatch | None:
        """The flow that the event *name* starts."""
        return self._events.get(name)

    def find(self, text: str) -> FlowMatch | None:
        """The flow that *text* starts. Only its first MAX_WORDS words are looked at."""
        words = fold_words(text[:MAX_CHARS])
        if len(text) > MAX_CHARS or len(words) > MAX_WORDS:
            # What is cut is not the whole message, and its last word may be cut in the middle.
            return self._longest_run(words[: min(MAX_WORDS, len(words) - 1)])
        whole = " ".join(words)
        return self._exact.get(whole) or self._words.get(whole) or self._longest_run(words)

    def _longest_run(self, words: list[str]) -> FlowMatch | None:
        best, best_length = None, 0
        for start, word in enumerate(words):
            for length in self._lengths.get(word, ()):
                if length < best_length:
                    break
                end = start + length
                if end <= len(words) and (found := self._words.get(" ".join(words[start:end]))):
                    if best is None or length > best_length or _rank(found.flow) < _rank(best.flow):
                        best, best_length = found, length
                    break
        return best


def _rank(flow: Flow) -> tuple[int, str]:
    return -flow.priority, flow.id


def _run_lengths(keywords: Iterable[str]) -> Mapping[str, tuple[int, ...]]:
    """By first word, how many words the keywords have that begin with it, longest first."""
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for keyword in keywords:
        lengths[keyword.partition(" ")[0]].add(keyword.count(" ") + 1)
    # The tuples repeat a few values; sharing them keeps an index of 50,000 keywords small.
    shared: dict[tuple[int, ...], tuple[int, ...]] = {}
    ordered = {word: tuple(sorted(found, reverse=True)) for word, found in lengths.items()}
    return {word: shared.setdefault(found, found) for word, found in ordered.items()}
