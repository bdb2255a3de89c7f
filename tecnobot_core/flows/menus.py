"""Which choice of a menu an answer means."""

from collections.abc import Collection

from .folding import fold, fold_words
from .steps import Choice

_KEYCAP = "\u20e3"  # the frame that makes a digit the emoji "2️⃣"


def branch_of(choice: Choice) -> str:
    """The name of the branch that a choice of a menu opens."""
    return "-".join(fold_words(choice.label))


def chosen(choices: Collection[Choice], text: str) -> Choice | None:
    """The one of *choices* that *text* names: by its label, its number, or a keyword, in this order."""
    said = fold(text.replace(_KEYCAP, ""))
    labels = {fold(choice.label): choice for choice in reversed([*choices])}
    numbers = {str(number): choice for number, choice in enumerate(choices, 1)}
    keywords = {fold(keyword): choice for choice in reversed([*choices]) for keyword in choice.keywords}
    return {**keywords, **numbers, **labels}.get(said) if said else None
