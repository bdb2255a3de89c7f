"""Log lines that never hold up the bot, because a thread of their own writes them."""

import copy
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from queue import Full, Queue
from types import TracebackType
from typing import Self

from ..config import Settings
from ..errors import ConfigurationError, LifecycleError
from .log_file import LogFile, warning

QUEUE_RECORDS = 2000  # about 2 MiB
REPORT_EVERY_S = 10.0

_OFF = logging.CRITICAL + 1
# At debug these print what people wrote, at info the addresses of servers.
_TALKATIVE = ("httpcore2", "httpx2", "openai")

_TEXT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"

Clock = Callable[[], float]


def configure_logging(settings: Settings, *, clock: Clock = time.monotonic) -> "LogHandle":
    """Write log records to the standard error stream, and to ``log_file`` where it is set, until the handle is stopped.

    For applications: it adds a handler to the root logger and sets its level. Lines are JSON in production, text
    elsewhere. Until this is called nothing is configured, and Python prints warnings and errors bare.
    Raises ConfigurationError when the file cannot be opened, LifecycleError when logging is configured already.
    """
    if any(isinstance(handler, _QueueHandler) for handler in logging.getLogger().handlers):
        raise LifecycleError("logging is configured already; stop the LogHandle of the first call before another")
    level = settings.log_level or ("info" if settings.environment == "development" else "warning")
    if level == "off":
        return LogHandle(_OFF, [], clock)
    sinks = _open_sinks(settings, clock)
    for sink in sinks:
        sink.setFormatter(_JsonFormatter() if settings.environment == "production" else logging.Formatter(_TEXT))
    return LogHandle(logging.getLevelNamesMapping()[level.upper()], sinks, clock)


class LogHandle:
    """Logging as ``configure_logging`` set it up; ``stop``, or leaving ``with``, ends it."""

    def __init__(self, level: int, sinks: Sequence[logging.Handler], clock: Clock) -> None:
        root = logging.getLogger()
        self._levels_before = {logger: logger.level for logger in (root, *map(logging.getLogger, _TALKATIVE))}
        for logger in self._levels_before:
            logger.setLevel(level if logger is root else max(level, logging.WARNING))
        self._handler = _QueueHandler(level)
        root.addHandler(self._handler)
        self._writer = _Writer(self._handler, sinks, clock)
        self._writer.start()

    @property
    def dropped(self) -> int:
        """Records that came faster than they could be written."""
        return self._handler.dropped

    def stop(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most *timeout_s*, and leave logging as it was before. May be called twice."""
        logging.getLogger().removeHandler(self._handler)
        while self._levels_before:
            logger, level = self._levels_before.popitem()
            logger.setLevel(level)
        self._writer.stop(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _QueueHandler(QueueHandler):
    """Leaves records for the writer; drops and counts those that find no room."""

    def __init__(self, level: int) -> None:
        self.records: Queue[logging.LogRecord | None] = Queue(QUEUE_RECORDS)
        super().__init__(self.records)
        self.setLevel(level)
        self.dropped = 0
        self._formatter = logging.Formatter()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # What may change, or keep much alive, becomes text now; the rest of the work is the writer's.
        record = copy.copy(record)
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text, record.exc_info = self._formatter.formatException(record.exc_info), None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.records.put_nowait(record)
        except Full:
            self.dropped += 1


class _Writer(threading.Thread):
    """Hands the records of *source* to *sinks*, and closes them in the end."""

    def __init__(self, source: _QueueHandler, sinks: Sequence[logging.Handler], clock: Clock) -> None:
        super().__init__(name="tecnobot-logs", daemon=True)
        self._source = source
        self._sinks = sinks
        self._clock = clock
        self._reported = 0
        self._next_report = clock()

    def run(self) -> None:
        while (record := self._source.records.get()) is not None:
            self._write(record)
            if self._clock() >= self._next_report:
                self._report()
        self._report()
        for sink in self._sinks:
            sink.close()

    def stop(self, timeout_s: float) -> None:
        """End after what was put before, or give up waiting for it."""
        deadline = time.monotonic() + timeout_s
        try:
            self._source.records.put(None, timeout=timeout_s)
        except Full:
            return
        self.join(max(0.0, deadline - time.monotonic()))

    def _write(self, record: logging.LogRecord) -> None:
        for sink in self._sinks:
            sink.handle(record)

    def _report(self) -> None:
        new = self._source.dropped - self._reported
        if new:
            self._write(warning(f"{new} log records were dropped: they came faster than they could be written"))
            self._reported += new
            self._next_report = self._clock() + REPORT_EVERY_S


class _JsonFormatter(logging.Formatter):
    """For machines; a record is one line, whatever it holds."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_text:
            line["error"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


def _open_sinks(settings: Settings, clock: Clock) -> list[logging.Handler]:
    console = logging.StreamHandler()
    path = settings.log_file
    if path is None:
        return [console]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = LogFile(path, max_bytes=settings.log_max_bytes, keep=settings.log_keep, tell=console.handle, clock=clock)
    except OSError as error:
        raise ConfigurationError(f"LOG_FILE is '{path}', which cannot be written: {error.strerror}") from error
    return [console, file]
