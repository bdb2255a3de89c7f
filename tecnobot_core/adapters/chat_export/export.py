"""A chat export: the form of the file is decided over all of it, then it is read message by message."""

import os
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, tzinfo
from typing import NamedTuple, Self

from ...errors import ConfigurationError
from .header import DateEvidence, DateOrder, Form, read_header
from .lines import Line, open_lines
from .parser import MAX_SHOWN, ExportedMessage, ExportReader, PlainReader, Reader, Report
from .senders import MAX_SENDERS, Senders, clean_name

_LINES_BETWEEN_PAUSES = 500


class _Outline(NamedTuple):
    """What must be known of a whole file before its lines can be read."""

    form: Form
    date_order: DateOrder | None
    senders: Senders
    note: str


class ChatExport:
    """A file that WhatsApp's "Export chat" wrote, or any text with one message a line.

    Reading never holds more than one message in memory, however long the file is, and starts anew with every call of
    ``messages``. A text without a single date is *plain*: one chat whose clock starts on 1 January 2024 at 10:00 and
    goes on 3 s a line.
    """

    def __init__(self, path: str | os.PathLike[str], outline: _Outline, *, me: str | None, tz: tzinfo) -> None:
        self._path = path
        self._outline = outline
        self._me = me
        self._tz = tz
        self.report = Report(notes=[outline.note] if outline.note else [])

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, me: str | None = None, tz: tzinfo = UTC) -> Self:
        """Read the file twice: to decide its form, and to count what it holds.

        *me* is the sender that was the business. The clock of a file has no zone: it is taken to stand in *tz*, UTC
        unless told. Blocks, about 16 s for 100 MB: beside a running loop, call it in a thread. Raises
        ConfigurationError when the file cannot be read, and when it does not tell customers from the business: several
        senders without *me*, or a *me* who wrote nothing.
        """
        with open_lines(path) as lines:
            outline = _outline(lines)
        export = cls(path, outline, me=None if me is None else clean_name(me), tz=tz)
        for _ in export._read(export.report):
            pass
        export._check_me()
        export._explain_colons()
        return export

    @property
    def form(self) -> Form:
        """How the lines are laid out: "android", "ios" or "plain"."""
        return self._outline.form

    @property
    def date_order(self) -> DateOrder | None:
        """Which number of a date is which; None for a plain text."""
        return self._outline.date_order

    @property
    def senders(self) -> tuple[str, ...]:
        """Everyone who wrote, in order of their first message."""
        return tuple(self.report.senders)

    def messages(self) -> Iterator[ExportedMessage]:
        """Every message, those of the business included, in the order of the file.

        Raises ConfigurationError when the file can no longer be read.
        """
        return filter(None, self.paced_messages())

    def paced_messages(self) -> Generator[ExportedMessage | None]:
        """Like ``messages``, with None after every 500 lines, so that the caller can let others run."""
        return self._read(Report())

    def _read(self, report: Report) -> Generator[ExportedMessage | None]:
        reader = self._reader(report)
        with open_lines(self._path) as lines:
            for line in lines:
                report.lines += 1
                report.cut_chars += line.cut_chars
                if (message := reader.feed(line)) is not None:
                    yield _counted(message, report)
                if line.number % _LINES_BETWEEN_PAUSES == 0:
                    yield None
            if (message := reader.finish()) is not None:
                yield _counted(message, report)

    def _reader(self, report: Report) -> Reader:
        form, order, senders, _ = self._outline
        if order is None:
            return PlainReader(report, self._tz)
        return ExportReader(report, form, order, senders, me=self._me, tz=self._tz)

    def _check_me(self) -> None:
        name = os.fspath(self._path)
        if self._me is None:
            if len(self.senders) > 1:
                raise ConfigurationError(
                    f"{name} has {len(self.senders)} senders; say with --me which one was the business: "
                    + _listed(self.senders)
                )
        elif self.form is Form.PLAIN:
            raise ConfigurationError(f"{name} is plain text and names no senders; leave out --me {self._me!r}")
        elif self._me not in self.report.senders:
            raise ConfigurationError(
                f"{name} has no message of {self._me!r}; --me must be one of its senders: "
                + (_listed(self.senders) or "it has none")
            )

    def _explain_colons(self) -> None:
        for name in self.senders:
            if ": " in name and name != self._me:
                self.report.notes.append(f"{name!r} is taken for a name: all its messages begin so, colon included")


def _listed(names: Iterable[str]) -> str:
    quoted = [repr(name) for name in names]
    rest = f", and {len(quoted) - MAX_SHOWN} more" if len(quoted) > MAX_SHOWN else ""
    return ", ".join(quoted[:MAX_SHOWN]) + rest


def _counted(message: ExportedMessage, report: Report) -> ExportedMessage:
    if message.from_me:
        report.own += 1
    else:
        report.messages += 1
    if message.sender not in report.senders and len(report.senders) == MAX_SENDERS:
        raise ConfigurationError(f"the file has more than {MAX_SENDERS:,} senders; split it")
    report.senders[message.sender] = report.senders.get(message.sender, 0) + 1
    return message


def _outline(lines: Iterator[Line]) -> _Outline:
    counts = dict.fromkeys((Form.ANDROID, Form.IOS), 0)
    dates = {form: DateEvidence() for form in counts}
    senders = {form: Senders() for form in counts}
    for line in lines:
        for form in counts:
            if line.readable and (header := read_header(form, line.text)) is not None:
                counts[form] += 1
                dates[form].add(header.date)
                senders[form].learn(header.rest)
    form = max(counts, key=counts.__getitem__)
    if not counts[form]:
        note = "no line begins with a date: every line is one message of one customer, 3 s apart"
        return _Outline(Form.PLAIN, None, Senders(), note)
    order, note = dates[form].decide()
    return _Outline(form, order, senders[form], note)
