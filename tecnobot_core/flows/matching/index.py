"""The flows of a chatbot, arranged for matching."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from ..folding import fold_letters, fold_words, without_punctuation
from ..model import Flow, FlowMatch
from ..suggestions import Suggestions, Vocabulary
from .keywords import Keywords, alike_but_for_symbols, rank
from .patterns import Patterns, refusal
from .ports import RegexEngine
from .runs import Parts, Words

MAX_WORDS = 40  # a person who wants something says it in the first sentences
MAX_CHARS = 2_000  # 40 words of 50 characters; folding costs time for each character
MAX_PATTERN_SUBJECT_CHARS = 500  # keeps the worst expression that re2 is allowed within five milliseconds


class MatchIndex:
    """The flows of a chatbot, arranged for matching. Never changes: to change flows, build another and swap.

    The first of these that fits a message decides:

    1. an "exact" or "word" keyword that is the message, letter for letter and symbol for symbol, where several differ
       only in symbols ("C" and "C++");
    2. an "exact" keyword that is the message as ``fold`` compares it;
    3. the "word" keyword of most words that stands in the message as a run of whole words;
    4. the "prefix" keyword of most words that the message begins with;
    5. the "contains" keyword of most letters that stands anywhere in the message, also inside of a word;
    6. a "regex" keyword that occurs in the message as it was written, in its first MAX_PATTERN_SUBJECT_CHARS.

    Among equals the higher ``priority`` wins, then the smaller ``id``. Flows with expressions that *engine* refuses, or
    that has nobody to compile them, are left out and told in ``broken``. Of a long message the first MAX_CHARS
    characters count, of its words the first MAX_WORDS.
    """

    def __init__(
        self,
        flows: Iterable[Flow] = (),
        *,
        engine: RegexEngine | None = None,
        suggestions: Suggestions | None = None,
    ) -> None:
        given = {flow.id: flow for flow in flows}
        refused = {id: error for id, flow in given.items() if (error := refusal(flow, engine)) is not None}
        self.broken = tuple(refused.values())
        ranked = sorted((flow for id, flow in given.items() if id not in refused), key=rank)
        self._events = _by_event(ranked)
        self._all = _Triggers(ranked, engine)
        interrupting = [flow for flow in ranked if flow.interrupts]
        self._interrupting = _Triggers(interrupting, engine) if interrupting else None
        self._vocabulary = None if suggestions is None else Vocabulary(suggestions, ranked)
        # A sorted list takes a fifth of what a dictionary does, and is asked once a turn.
        self._flows = tuple(sorted(ranked, key=_id))

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows)

    def get(self, flow_id: str) -> Flow | None:
        """The flow of that id."""
        at = bisect_left(self._flows, flow_id, key=_id)
        return self._flows[at] if at < len(self._flows) and self._flows[at].id == flow_id else None

    def event(self, name: str) -> FlowMatch | None:
        """The flow that the event *name* starts."""
        return self._events.get(name)

    def find(self, text: str, *, interrupting_only: bool = False) -> FlowMatch | None:
        """The flow that *text* starts; *interrupting_only*: of those that may interrupt a flow in progress."""
        triggers = self._interrupting if interrupting_only else self._all
        return None if triggers is None else triggers.find(text)

    def suggest(self, text: str) -> FlowMatch | None:
        """The flow that *text*, which starts none, may have meant; None without ``suggestions``."""
        if self._vocabulary is None:
            return None
        return self._vocabulary.best(fold_words(text[:MAX_CHARS]), self._all.find)


class _Triggers:
    """What starts some flows, a table for each kind of keyword."""

    __slots__ = ("_alike", "_exact", "_parts", "_patterns", "_prefixes", "_words")

    def __init__(self, flows: Sequence[Flow], engine: RegexEngine | None) -> None:
        self._alike = alike_but_for_symbols(flows)
        self._exact = Keywords("exact", flows)
        self._words = Words(Keywords("word", flows))
        self._prefixes = Words(Keywords("prefix", flows))
        self._parts = Parts(Keywords("contains", flows))
        self._patterns = Patterns(flows, engine)

    def find(self, text: str) -> FlowMatch | None:
        beginning = text[:MAX_CHARS]
        words = fold_words(beginning)
        if len(text) > MAX_CHARS or len(words) > MAX_WORDS:
            # What is cut is not the whole message, and its last word may be cut in the middle.
            words = words[: min(MAX_WORDS, len(words) - 1)]
        elif whole := self._whole(text, words):
            return whole
        return (
            self._words.longest(words)
            or self._prefixes.first(words)
            or self._parts.longest(" ".join(words))
            or self._patterns.first(text[:MAX_PATTERN_SUBJECT_CHARS])
        )

    def _whole(self, text: str, words: list[str]) -> FlowMatch | None:
        if self._alike:
            letters = fold_letters(text)
            if written := self._alike.get(letters) or self._alike.get(without_punctuation(letters)):
                return written
        return self._exact.match(" ".join(words))


def _by_event(flows: Iterable[Flow]) -> dict[str, FlowMatch]:
    events: dict[str, FlowMatch] = {}
    for flow in flows:
        if flow.event is not None:
            events.setdefault(flow.event, FlowMatch(flow, flow.event))
    return events


def _id(flow: Flow) -> str:
    return flow.id
