"""Lines into messages, and a count of everything that is none."""

from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Protocol

from ...messages import MessageKind
from .content import Content, read_content
from .header import DateOrder, Form, Header, read_header, read_time
from .lines import Line
from .notices import is_signed_notice, is_title_notice, is_unsigned_notice
from .senders import Senders

MAX_MESSAGE_CHARS = 100_000  # WhatsApp itself takes 65,536
MAX_SHOWN = 20
_SHOWN_CHARS = 200

PLAIN_SENDER = "customer"
PLAIN_START = datetime(2024, 1, 1, 10, 0)  # noqa: DTZ001 (a Monday morning, in the zone that the caller names)
PLAIN_STEP_S = 3  # 20 messages a minute: below the default rate limit of 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedMessage:
    """What one person sent.

    ``line`` is where it begins, from 1. ``sent_at`` is in Unix seconds. ``file_name`` is relative to the folder of the
    export, and empty when the file was left out of it.
    """

    line: int
    sent_at: float
    sender: str = field(repr=False)
    from_me: bool
    text: str = field(repr=False)
    kind: MessageKind = "text"
    file_name: str = ""


@dataclass(slots=True)
class Report:
    """What a file holds.

    ``messages`` counts those of customers, ``own`` those of the business, ``system_lines`` what WhatsApp wrote itself,
    deleted messages included. Of the ``unreadable_lines`` the first 20 are in ``unreadable``, as line number and
    printable text. ``cut_chars`` counts what went beyond the longest message or line. ``senders`` tells how much each
    one wrote; ``notes`` are sentences for people.
    """

    lines: int = 0
    messages: int = 0
    own: int = 0
    system_lines: int = 0
    unreadable_lines: int = 0
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    cut_chars: int = 0
    senders: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Reader(Protocol):
    """Takes the lines of a file in order."""

    def feed(self, line: Line) -> ExportedMessage | None:
        """Take the next line; return the message that is complete now, if any."""
        ...

    def finish(self) -> ExportedMessage | None:
        """The message that the last lines make, if any."""
        ...


class PlainReader(Reader):
    """One message a line, from one sender."""

    def __init__(self, report: Report, tz: tzinfo) -> None:
        self._report = report
        self._clock_s = PLAIN_START.replace(tzinfo=tz).timestamp()

    def feed(self, line: Line) -> ExportedMessage | None:
        if not line.readable:
            _count_unreadable(line, self._report)
            return None
        text = line.text.strip()
        if not text:
            return None
        self._report.cut_chars += max(0, len(text) - MAX_MESSAGE_CHARS)
        sent_at = self._clock_s
        self._clock_s += PLAIN_STEP_S
        return ExportedMessage(
            line=line.number, sent_at=sent_at, sender=PLAIN_SENDER, from_me=False, text=text[:MAX_MESSAGE_CHARS]
        )

    def finish(self) -> ExportedMessage | None:
        return None


class _Draft:
    """A message whose end was not seen yet."""

    def __init__(self, line: int, sent_at: float, sender: str, text: str) -> None:
        self.line = line
        self.sent_at = sent_at
        self.sender = sender
        self._parts = [text[:MAX_MESSAGE_CHARS]]
        self._room = MAX_MESSAGE_CHARS - len(text)
        self.cut_chars = max(0, -self._room)

    def append(self, text: str) -> None:
        """Add a line; what does not fit is counted."""
        self._room -= 1  # the line break
        kept = text[: max(0, self._room)]
        if self._room >= 0:
            self._parts.append(kept)
        self.cut_chars += len(text) - len(kept)
        self._room -= len(text)

    def text(self) -> str:
        return "\n".join(self._parts).rstrip()


class ExportReader(Reader):
    """Joins the lines of an export into messages, and counts what is none."""

    def __init__(
        self, report: Report, form: Form, order: DateOrder, senders: Senders, *, me: str | None, tz: tzinfo
    ) -> None:
        self._report = report
        self._form = form
        self._order = order
        self._senders = senders
        self._me = me
        self._tz = tz
        self._draft: _Draft | None = None
        self._in_notice = False

    def feed(self, line: Line) -> ExportedMessage | None:
        header = read_header(self._form, line.text) if line.readable else None
        if header is None:
            self._continue(line)
            return None
        ended = self.finish()
        self._begin(line, header)
        return ended

    def finish(self) -> ExportedMessage | None:
        draft, self._draft = self._draft, None
        if draft is None:
            return None
        self._report.cut_chars += draft.cut_chars
        text = draft.text()
        content = read_content(text)
        if self._is_notice(draft.sender, text, content):
            self._report.system_lines += 1
            return None
        return ExportedMessage(
            line=draft.line,
            sent_at=draft.sent_at,
            sender=draft.sender,
            from_me=draft.sender == self._me,
            text=content.text,
            kind=content.kind,
            file_name=content.file_name,
        )

    def _continue(self, line: Line) -> None:
        if not line.readable:
            _count_unreadable(line, self._report)
        elif self._draft is not None:
            self._draft.append(line.text)
        elif line.text.strip() and not self._in_notice:
            _count_unreadable(line, self._report)

    def _begin(self, line: Line, header: Header) -> None:
        self._in_notice = False
        sent_at = read_time(header, self._order, self._tz)
        if sent_at is None:
            _count_unreadable(line, self._report)
            return
        said = self._senders.split(header.rest, self._me)
        if said is not None and not is_title_notice(said[0]):
            self._draft = _Draft(line.number, sent_at, *said)
        elif said is not None or is_unsigned_notice(header.rest):
            self._in_notice = True
            self._report.system_lines += 1
        else:
            _count_unreadable(line, self._report)

    def _is_notice(self, sender: str, text: str, content: Content) -> bool:
        # iOS signs notices with the name of the chat, and sets a mark before words that nobody typed.
        if self._form is Form.IOS and content.kind == "text" and text.startswith("\u200e"):
            return True
        return content.kind == "text" and is_signed_notice(sender, text)


def _count_unreadable(line: Line, report: Report) -> None:
    report.unreadable_lines += 1
    if len(report.unreadable) < MAX_SHOWN:
        report.unreadable.append((line.number, _printable(line.text[:_SHOWN_CHARS])))


def _printable(text: str) -> str:
    """Safe to show in a terminal."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text)
