"""A condition over variables."""

from collections.abc import Mapping

from .parsing import Parser
from .values import Value, look_up

MAX_CHARS = 1_000


class Expression:
    """A condition, parsed once; it can reach nothing but the variables it is given.

    Literals are numbers, texts in single or double quotes, true, false, null, ``sí``, and, behind a comparison or in a
    list, ``no``. Names reach into mappings by dots. Between them stand ``=`` or ``==``, ``!=``, ``<``, ``<=``, ``>``,
    ``>=``, ``in``, ``not in``, ``contains``, ``is empty`` and ``is not empty``; around them parentheses and, from the
    loosest, ``or``/``o``, ``and``/``y``, ``not``/``no``. A list in brackets follows ``in``. These words are no names.

    Raises ValueError, with the place counted from 1, for what is not a condition. Reading takes linear time.
    """

    __slots__ = ("_condition", "names", "text")

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARS:
            raise ValueError(f"the condition has {len(text)} characters; at most {MAX_CHARS}")
        if not text.strip():
            raise ValueError("the condition is empty; write for example: total > 100")
        parser = Parser(text)
        self.text = text
        self._condition = parser.parse()
        self.names = frozenset(parser.names)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def holds(self, variables: Mapping[str, object]) -> bool:
        """Whether the condition is true of *variables*, which are of JSON types. Never raises.

        A missing variable is null. Texts are compared as ``fold`` has them, and as numbers where both sides read as
        numbers. Unlike kinds are neither equal nor ordered; nor are null and lists ordered. A name alone holds unless
        it is null, false, zero or empty.
        """
        # Each name is looked up and folded once, however often the condition has it.
        return self._condition({name: Value(look_up(variables, name)) for name in self.names}).is_true
