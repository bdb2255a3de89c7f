"""What matching needs from outside: regular expressions that cannot take long."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias


class RegexSet(Protocol):
    """Compiled regular expressions, in the order in which they were given."""

    def first(self, text: str) -> int | None:
        """The number of the first expression that occurs in *text*, from 0; None when none does."""
        ...


# Compiles expressions that ignore case unless they say otherwise; raises FlowError with the reason when it refuses one.
# Searching takes a time linear in the text, whatever the expressions: owners write them, and strangers the texts.
RegexEngine: TypeAlias = Callable[[Sequence[str]], RegexSet]
