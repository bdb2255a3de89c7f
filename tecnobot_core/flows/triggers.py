"""What starts a flow: words of a message, in one of several ways."""

from dataclasses import dataclass
from typing import Literal, get_args

from .folding import fold

TriggerKind = Literal["word", "exact", "prefix", "contains", "regex"]
FlowEvent = Literal[
    "welcome", "closed", "unknown", "voice", "image", "document", "location", "contact", "sticker", "video", "reaction"
]

MAX_KEYWORD_CHARS = 200  # a keyword is a few words; longer ones are texts that were pasted into the wrong field
MAX_PATTERN_CHARS = 512  # nobody can check a longer expression by reading it
MIN_PART_CHARS = 2  # one letter is contained in nearly every message


@dataclass(frozen=True, slots=True)
class Keyword:
    """Starts a flow when a message fits.

    "word": the words stand in it, in this order. "exact": they are all of it. "prefix": it begins with them.
    "contains": the letters stand in it, also inside of a word. These ignore case, accents and punctuation. "regex": the
    expression occurs in it as it was written, in whatever case; its ``\\w`` and ``\\b`` know only ASCII, ``\\p{Latin}``
    is any letter.
    """

    text: str
    kind: TriggerKind = "word"


def keyword_problem(keyword: Keyword) -> str:
    """What is wrong with a keyword, and what is wanted; empty when nothing is."""
    kind, text = keyword.kind, keyword.text
    if kind not in get_args(TriggerKind):
        return f"keyword kind {kind!r} is unknown; use {', '.join(get_args(TriggerKind))}"
    folded = text.strip() if kind == "regex" else fold(text)
    if not folded:
        return "a keyword is empty; write the word that people send"
    if len(text) > (limit := MAX_PATTERN_CHARS if kind == "regex" else MAX_KEYWORD_CHARS):
        return f"a {kind} keyword has {len(text)} characters; at most {limit}"
    if kind == "contains" and len(folded) < MIN_PART_CHARS:
        return f"the contains keyword {text!r} would be found nearly everywhere; give it {MIN_PART_CHARS} letters"
    if kind in ("prefix", "contains") and not any(map(str.isalnum, folded)):
        return f"the {kind} keyword {text!r} has no letters, and symbols are only compared alone; use word or exact"
    return ""
