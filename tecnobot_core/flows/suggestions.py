"""Guesses what a short message with a typing mistake meant, to ask back; never to answer."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from .folding import fold_words
from .model import Flow, FlowMatch


@dataclass(frozen=True, slots=True)
class Suggestions:
    """When to guess: only what is likely meant is worth a question.

    Chatbots of more than *max_keywords* keywords guess nothing: with 5,000 of them nearly every message is one letter
    away from some keyword. Nor is anything guessed for messages of more than *max_words* words, or for words of fewer
    than *min_letters* letters, of which half are another word after one change ("cola", "hola", "hora").
    """

    max_keywords: int = 1_000
    max_words: int = 3
    min_letters: int = 5


class Vocabulary:
    """The words that the keywords of some flows are made of."""

    def __init__(self, limits: Suggestions, flows: Iterable[Flow]) -> None:
        self._limits = limits
        keywords = [keyword for flow in flows for keyword in flow.keywords if keyword.kind != "regex"]
        few = keywords if len(keywords) <= limits.max_keywords else ()
        self._words = {word for keyword in few for word in fold_words(keyword.text)}
        self._by_end: defaultdict[str, list[str]] = defaultdict(list)
        for word in sorted(self._words):
            if len(word) >= limits.min_letters:
                for end in {f"^{word[0]}", f"{word[-1]}$"}:
                    self._by_end[end].append(word)

    def best(self, words: Sequence[str], find: Callable[[str], FlowMatch | None]) -> FlowMatch | None:
        """What *find* finds when one of *words* is corrected: of several the longest keyword, then the better flow."""
        if len(words) > self._limits.max_words:
            return None
        found = [match for text in self._corrected(words) if (match := find(text)) is not None]
        best = min(found, key=_specificity, default=None)
        return None if best is None else replace(best, suggested=True)

    def _corrected(self, words: Sequence[str]) -> Iterable[str]:
        """*words* with one of them replaced by a word of the keywords that is one typing mistake away."""
        for number, word in enumerate(words):
            if len(word) >= self._limits.min_letters and word not in self._words:
                for meant in self._near(word):
                    yield " ".join((*words[:number], meant, *words[number + 1 :]))

    def _near(self, word: str) -> Iterable[str]:
        # One mistake never reaches both ends of a word, so what is near begins or ends alike.
        alike = dict.fromkeys((*self._by_end.get(f"^{word[0]}", ()), *self._by_end.get(f"{word[-1]}$", ())))
        return (known for known in alike if is_one_mistake(word, known))


def is_one_mistake(typed: str, meant: str) -> bool:
    """Whether one letter is wrong, missing, too much, or swapped with its neighbour.

    That is an optimal string alignment distance of 1.
    """
    if len(typed) > len(meant):
        typed, meant = meant, typed
    at = next((at for at, (one, other) in enumerate(zip(typed, meant, strict=False)) if one != other), len(typed))
    rest, wanted = typed[at:], meant[at:]
    if len(rest) != len(wanted):
        return rest == wanted[1:]
    swapped = rest[:2] == wanted[1::-1] and rest[2:] == wanted[2:]
    return bool(rest) and (rest[1:] == wanted[1:] or swapped)


def _specificity(match: FlowMatch) -> tuple[int, int, str]:
    return -len(fold_words(match.matched)), -match.flow.priority, match.flow.id
