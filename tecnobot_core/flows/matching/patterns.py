"""Keywords that are regular expressions."""

from collections.abc import Sequence

from ...errors import FlowError
from ..model import Flow, FlowMatch
from .ports import RegexEngine


class Patterns:
    """The expressions of some flows, best flow first."""

    __slots__ = ("_matches", "_set")

    def __init__(self, flows: Sequence[Flow], engine: RegexEngine | None) -> None:
        self._matches = [FlowMatch(flow, pattern) for flow in flows for pattern in patterns_of(flow)]
        self._set = engine([match.matched for match in self._matches]) if engine and self._matches else None

    def first(self, text: str) -> FlowMatch | None:
        """What the best flow's first expression that occurs in *text* starts."""
        number = None if self._set is None else self._set.first(text)
        return None if number is None else self._matches[number]


def patterns_of(flow: Flow) -> list[str]:
    """The regular expressions of a flow, in its order."""
    return [keyword.text for keyword in flow.keywords if keyword.kind == "regex"]


def refusal(flow: Flow, engine: RegexEngine | None) -> FlowError | None:
    """Why *flow* cannot be served: there is no engine for its expressions, or it refuses one."""
    patterns = patterns_of(flow)
    if patterns and engine is None:
        return FlowError(
            f"flow {flow.id!r}: a regex keyword needs an engine that is safe with any expression; "
            "pip install 'tecnobot-core[flows]'"
        )
    return None if engine is None else next(filter(None, (_refusal(flow, one, engine) for one in patterns)), None)


def _refusal(flow: Flow, pattern: str, engine: RegexEngine) -> FlowError | None:
    try:
        engine([pattern])
    except FlowError as error:
        return FlowError(f"flow {flow.id!r}: regex {pattern!r}: {error}")
    return None
