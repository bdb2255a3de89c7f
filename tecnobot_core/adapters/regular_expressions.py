"""Regular expressions whose time is linear in the text, by google-re2."""

from collections.abc import Sequence

from ..errors import FlowError, MissingDependencyError

try:
    import re2
except ModuleNotFoundError as error:
    raise MissingDependencyError("google-re2", extra="flows") from error

# Linear time still grows with the program, by its square when most of it may be skipped. With this much room for it the
# worst that was found, (a?){300}a{300}, takes four milliseconds for the characters that matching hands over.
_PATTERN_BYTES = 12 << 10
# Of all expressions of a chatbot together, with the states that re2 remembers; more of them make more sets.
_SET_BYTES = 1 << 20


class Re2Set:
    """A RegexSet of google-re2: all expressions are looked for at once. ``Re2Set`` itself is a RegexEngine.

    No back-references and no look-around: nothing knows how to find those in linear time. Raises FlowError, with the
    reason of re2, for an expression that it refuses.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        for pattern in patterns:
            _check(pattern)
        self._sets = _compile(list(patterns))

    def first(self, text: str) -> int | None:
        """The number of the first expression that occurs in *text*, from 0; None when none does."""
        data = text.encode("utf-8", "replace")
        before = 0
        for size, expressions in self._sets:
            number: int = min(expressions.Match(data))
            if number < size:
                return before + number
            before += size
        return None


def _check(pattern: str) -> None:
    try:
        re2.compile(pattern, _options(_PATTERN_BYTES))
    except UnicodeEncodeError as error:
        raise FlowError(f"character {error.start + 1} is half of a surrogate pair") from error
    except re2.error as error:
        reason = error.args[0]
        raise FlowError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from error


def _compile(patterns: list[str]) -> list[tuple[int, re2.Set]]:
    """Sets of consecutive expressions, as few as fit into their memory, each with how many it holds."""
    if not patterns:
        return []
    expressions = re2.Set.SearchSet(_options(_SET_BYTES))
    for pattern in patterns:
        expressions.Add(pattern)
    # Found in every text, so that "nothing occurs" and "out of memory" do not look the same.
    expressions.Add("")
    try:
        expressions.Compile()
        fits = bool(expressions.Match(b""))
    except re2.error:
        fits = False
    if fits:
        return [(len(patterns), expressions)]
    half = len(patterns) // 2
    return _compile(patterns[:half]) + _compile(patterns[half:])


def _options(max_bytes: int) -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False  # re2 would write them to stderr
    options.max_mem = max_bytes
    return options
