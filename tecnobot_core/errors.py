"""Every error this library raises on purpose: one class per decision of the caller.

TecnobotError
├── ConfigurationError      (ValueError)    a setting is missing or malformed
├── MissingDependencyError  (ImportError)   an optional extra is not installed
├── LifecycleError          (RuntimeError)  used before opening or after closing
├── TransportError                          link trouble; ask ``retryable`` and ``sent``
│   └── LoggedOutError                      pair again; trying again never helps
├── CompletionError                         the language model did not answer
├── AudioError              (ValueError)    the recording cannot be used
├── TemporarySpaceError                     no room for a temporary file, or the disk is full
├── MemoryBusyError                         no memory for what was asked; ask ``retry_after_s``
├── FlowError               (ValueError)    a flow definition is wrong
└── StoreError                              a database or cache tier failed
    └── LeaseLostError                      another process owns the chatbot now; stop
"""

from collections.abc import Sequence
from dataclasses import dataclass

TYPE_CHECKING = False  # importing typing would cost more than this module
if TYPE_CHECKING:
    from typing import Literal


class TecnobotError(Exception):
    """Base of all errors raised on purpose by tecnobot_core."""


class ConfigurationError(TecnobotError, ValueError):
    """One or more settings are wrong; ``problems`` holds a sentence for each."""

    def __init__(self, problems: "str | Sequence[str]") -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class MissingDependencyError(TecnobotError, ImportError):
    """An optional package is not installed; the message is the line that installs it."""

    def __init__(self, package: str, *, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{package} is not installed. Install it with: pip install 'tecnobot-core[{extra}]'")


class LifecycleError(TecnobotError, RuntimeError):
    """A part was used before it was opened or after it was closed."""


class TransportError(TecnobotError):
    """The link failed.

    ``reason`` is one of the values of ``connection.DisconnectReason``; ``sent`` tells what is known of the message
    that was being sent: "no" (it may be sent again) or "maybe" (sending again could say it twice).
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "unknown",
        retryable: bool = True,
        retry_after_s: "float | None" = None,
        sent: "Literal['no', 'maybe']" = "no",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.sent = sent


class LoggedOutError(TransportError):
    """The session was revoked; only pairing again helps."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="logged_out", retryable=False)


class CompletionError(TecnobotError):
    """The language model did not answer.

    ``kind`` is "unavailable", "rate_limited", "quota", "authentication", "too_long", "rejected", "malformed" or
    "timeout"; ``retry_after_s`` is what the server asked for, where it did.
    """

    def __init__(self, message: str, *, kind: str, retry_after_s: "float | None" = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_s = retry_after_s


class AudioError(TecnobotError, ValueError):
    """The recording cannot be used.

    ``kind`` is "empty", "not_audio", "no_audio_track", "unsupported", "too_long", "too_big", "cannot_decode",
    "engine_missing" (nothing here can convert it), "busy" (too many wait; try again) or "refused" (by the endpoint:
    prepare it again with ``transcode=True``).
    """

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class TemporarySpaceError(TecnobotError):
    """A temporary file has no room: over the byte budget, under the floor of free space, or the disk ran full.

    Nothing was left behind. ``wanted_bytes`` is what was asked for, or 0 when writing failed.
    """

    def __init__(self, message: str, *, wanted_bytes: int = 0) -> None:
        super().__init__(message)
        self.wanted_bytes = wanted_bytes


class MemoryBusyError(TecnobotError):
    """There is no memory for what was asked.

    ``retry_after_s`` is when it is worth asking again; None: so much is never granted.
    """

    def __init__(self, message: str, *, retry_after_s: "float | None" = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowProblem:
    """One thing that is wrong with a flow; printed, it is a line for its owner.

    ``path`` leads there by keys and indices from the top of the stored flow, as ("steps", 2, "choices", 1, "label");
    ``place`` says it as an owner counts. ``name`` is the word that is wrong, where a single one is. Flows from files
    also have ``file``, and ``line`` and ``column`` from 1.
    """

    flow_id: str
    path: "tuple[str | int, ...]"
    sentence: str
    place: str = ""
    name: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        flow = self.flow_id if len(self.flow_id) <= 80 else self.flow_id[:79] + "…"
        where = ", ".join(part for part in (f"flow {flow!r}" if flow else "", self.place) if part)
        at = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return ": ".join(part for part in (at, where, self.sentence) if part)


class FlowError(TecnobotError, ValueError):
    """A flow definition is wrong; the message names the flow, the field and what is wanted.

    ``problems`` are the single things that are wrong, as far as they were found by place.
    """

    def __init__(self, message: str, problems: "Sequence[FlowProblem]" = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class StoreError(TecnobotError):
    """A database or cache tier failed.

    ``outcome`` tells what became of the call: "not_sent" and "rolled_back" changed nothing, "permanent" changed nothing
    and never will, "unknown" may have been done. ``retryable`` tells whether the same call is safe to repeat, and may
    succeed.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        outcome: "Literal['not_sent', 'rolled_back', 'unknown', 'permanent'] | None" = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.outcome = outcome or ("unknown" if retryable else "permanent")


class LeaseLostError(StoreError):
    """Another process has become the owner of the chatbot; this one must stop writing for it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=False)
