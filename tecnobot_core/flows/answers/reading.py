"""From what came to the value that is kept."""

from collections.abc import Callable
from datetime import date

from ...messages import MediaReference, MessageKind
from ..folding import fold
from ..steps import Ask
from .choices import read_choice, read_yes_no
from .dates import read_date
from .numbers import read_decimal, read_integer
from .refusals import AnswerRefused
from .texts import read_email, read_file, read_phone, read_text


def read_answer(
    ask: Ask,
    text: str,
    *,
    kind: MessageKind = "text",
    media: MediaReference | None = None,
    language: str = "es",
    today: date,
    parse_phone: Callable[[str], str] | None = None,
) -> object:
    """The JSON value to keep for an answer to *ask*; raises AnswerRefused with its reason.

    text, email, choice: text (of a choice its label). integer: int. decimal: text with a point, no digit lost. date:
    ISO text. phone: text in E.164. yes_no: bool. file: a mapping of kind, address, mime, name and size_bytes.

    *text* is also what was said in a voice note or written under a picture. *language* ("es", "en", "pt") decides where
    a number or a date can be read in two ways. *today* is the day where the person is. *parse_phone* gives E.164 or
    raises ValueError; without it a telephone number needs its "+". The limits must be right: see ``check_limits``.
    """
    if ask.type == "file":
        return read_file(media, ask.limits)
    if not fold(text):
        raise AnswerRefused("empty" if kind == "text" else "not_text")
    if ask.type == "text":
        return read_text(text.strip(), ask.limits)
    text = " ".join(text.split())
    match ask.type:
        case "integer":
            return read_integer(text, ask.limits)
        case "decimal":
            return read_decimal(text, ask.limits, language)
        case "date":
            return read_date(text, ask.limits, language, today)
        case "email":
            return read_email(text)
        case "phone":
            return read_phone(text, parse_phone)
        case "choice":
            return read_choice(text, ask.limits)
        case "yes_no":
            return read_yes_no(text, language)
