"""The words and signs of a condition."""

import re

NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"

_TOKEN = re.compile(
    rf"""\s*(?: (?P<number> -?[0-9]+(?:\.[0-9]+)?(?![\w.]) ) | (?P<text> "[^"]*" | '[^']*' )
       | (?P<name> {NAME} ) | (?P<sign> == | != | <= | >= | [=<>()\[\],] ) | (?P<end> \Z ) )""",
    re.VERBOSE,
)
_WORDS = {word: word for word in ("and", "or", "not", "no", "in", "contains", "is", "empty", "true", "false", "null")}
_WORDS |= {"y": "and", "o": "or", "si": "true", "sí": "true"}
RESERVED = frozenset(_WORDS)
"""The words that are no names, in small letters."""


def read_tokens(text: str) -> list[tuple[str, str, int]]:
    """Kind, text and place, counted from 1, of every token; the last is the end."""
    tokens: list[tuple[str, str, int]] = []
    place = 0
    while not tokens or tokens[-1][0] != "end":
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise _unreadable(text, place)
        written = match[match.lastgroup]
        kind = _WORDS.get(written.casefold(), match.lastgroup) if match.lastgroup == "name" else match.lastgroup
        tokens.append((written if kind == "sign" else kind, written, match.start(match.lastgroup) + 1))
        place = match.end()
    return tokens


def _unreadable(text: str, place: int) -> ValueError:
    rest = text[place:].lstrip()
    position = len(text) - len(rest) + 1
    if rest[0] in "'\"":
        return ValueError(f"character {position}: the text that begins here has no closing quote")
    if rest[0].isdecimal() or rest[0] == "-":
        return ValueError(f"character {position}: not a number; write it like 1234.5")
    return ValueError(f"character {position}: {rest[0]!r} is no part of a condition; texts are written in quotes")
