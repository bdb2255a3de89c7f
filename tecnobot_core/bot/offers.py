"""What was offered with the last answer: the keyword that was meant, or the buttons to choose from.

Both are kept as the position of the conversation until the next message, whatever that is. They need no due time.
"""

from dataclasses import replace

from ..flows import FlowMatch
from ..flows.answers import AnswerRefused, read_yes_no
from ..messages import Position
from .texts import Texts
from .turns import Reply, Speech

SUGGESTION = "suggestion"
BUTTONS = "buttons"
KINDS = frozenset({SUGGESTION, BUTTONS})
WAITS_S = 3600.0  # a "yes" or a "2" after that means something else
_KEYCAP = "\ufe0f\u20e3"  # what makes the emoji "2️⃣" of a digit


def suggestion(match: FlowMatch, texts: Texts, now_s: float) -> Reply:
    """Asks whether *match* was meant, and waits for a yes."""
    position = Position(match.flow.id, "", kind=SUGGESTION, asked_at=now_s)
    return Reply("suggestion", (Speech(texts.did_you_mean(match.matched), (texts.yes, texts.no)),), position=position)


def with_buttons(reply: Reply, now_s: float) -> Reply:
    """*reply*, whose last buttons may be chosen by their number: some transports can only show a numbered list."""
    buttons = reply.says[-1].buttons if reply.says else ()
    if not buttons or reply.position is not None or reply.outcome != "answered":
        return reply
    position = Position("", "", kind=BUTTONS, variables={"buttons": list(buttons)}, asked_at=now_s)
    return replace(reply, position=position)


def is_accepted(position: Position, text: str, language: str, now_s: float) -> bool:
    """Whether *text* is a yes to the suggestion that was made."""
    if _is_old(position, now_s):
        return False
    try:
        return _number(text) == 1 or read_yes_no(text, language)
    except AnswerRefused:
        return False


def chosen(position: Position, text: str, now_s: float) -> str | None:
    """The button that *text* chooses by its number."""
    buttons = position.variables.get("buttons")
    number = _number(text)
    if not isinstance(buttons, list) or number is None or _is_old(position, now_s):
        return None
    return str(buttons[number - 1]) if 1 <= number <= len(buttons) else None


def _number(text: str) -> int | None:
    digits = text.strip().strip(_KEYCAP).rstrip(".)")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 3 else None


def _is_old(position: Position, now_s: float) -> bool:
    return position.asked_at is None or now_s - position.asked_at > WAITS_S
