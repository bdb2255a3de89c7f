"""What is known of a link."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import LoggedOutError, TransportError
from .backoff import describe
from .ports import Lost
from .reasons import DisconnectReason, advice_for

ConnectionState = Literal[
    "idle",
    "connecting",
    "pairing",
    "connected",
    "degraded",
    "recovering",
    "waiting",
    "parked",
    "failed",
    "stopping",
    "closed",
]


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """The truth about the link.

    ``failures`` counts attempts since the last stable connection. Ages are in seconds, None: never. Proof of life is
    whatever shows that the other side is there; a useful event is a message that came or was taken. ``advice`` is what
    the owner should do, empty for nothing. ``abandoned`` counts links that could not be closed in time.
    """

    state: ConnectionState
    uptime_s: float
    failures: int
    connects: int
    disconnects: int
    heartbeats_missed: int
    last_error: str
    in_state_s: float = 0.0
    opens: int = 0
    last_reason: str = ""
    advice: str = ""
    next_attempt_in_s: float | None = None
    proof_of_life_age_s: float | None = None
    useful_event_age_s: float | None = None
    ping_s: float | None = None
    session_saved_age_s: float | None = None
    session_saves_failed: int = 0
    messages_missed: int = 0
    abandoned: int = 0
    disconnects_by_reason: Mapping[str, int] = field(default_factory=dict)


class Record:
    """The facts that a manager collects while it runs."""

    def __init__(self, clock: Callable[[], float], notify: Callable[[], None]) -> None:
        self.clock = clock
        self._notify = notify
        self.state: ConnectionState = "idle"
        self.loss = Lost()  # the last one
        self.opens = self.connects = self.missed = self.saves_failed = self.messages_missed = self.abandoned = 0
        self.disconnects: Counter[str] = Counter()
        self.ping_s: float | None = None
        self.resumes_at: float | None = None
        self.saved_at: float | None = None
        self._last_error = ""
        self._state_at = self._down_since = clock()
        self._up_at = 0.0
        self._alive_at: float | None = None
        self._useful_at: float | None = None

    @property
    def up(self) -> bool:
        """Whether messages can be sent, as far as is known."""
        return self.state in ("connected", "degraded")

    @property
    def up_s(self) -> float:
        """For how long the link is up; 0 while it is down."""
        return self.clock() - self._up_at if self.up else 0.0

    def enter(self, state: ConnectionState) -> None:
        """The state is *state* from now on."""
        self.state = state
        self._state_at = self.clock()
        self._notify()

    def went_up(self) -> float:
        """Count a connection; for how long there was none."""
        self.connects += 1
        self._up_at = self.clock()
        self.alive()
        self.enter("connected")
        return self._up_at - self._down_since

    def went_down(self, reason: str) -> None:
        """Count the end of a connection."""
        self.disconnects[reason] += 1
        self._down_since = self.clock()

    def lost(self, loss: Lost) -> None:
        """Remember why there is no link."""
        self.loss = loss
        self._last_error = describe(loss)

    def alive(self) -> None:
        """The other side has shown that it is there."""
        self._alive_at = self.clock()

    def useful(self) -> None:
        """A message has come, or was taken."""
        self._useful_at = self._alive_at = self.clock()

    def status(self, failures: int) -> ConnectionStatus:
        """What is known now."""
        now = self.clock()
        down = self.state in ("waiting", "parked", "failed")
        return ConnectionStatus(
            state=self.state,
            uptime_s=self.up_s,
            failures=failures,
            connects=self.connects,
            disconnects=self.disconnects.total(),
            heartbeats_missed=self.missed,
            last_error=self._last_error,
            in_state_s=now - self._state_at,
            opens=self.opens,
            last_reason=str(self.loss.reason) if self._last_error else "",
            advice=advice_for(self.loss.reason) if down else "",
            next_attempt_in_s=self._resumes_in_s(now),
            proof_of_life_age_s=_age_s(now, self._alive_at),
            useful_event_age_s=_age_s(now, self._useful_at),
            ping_s=self.ping_s,
            session_saved_age_s=_age_s(now, self.saved_at),
            session_saves_failed=self.saves_failed,
            messages_missed=self.messages_missed,
            abandoned=self.abandoned,
            disconnects_by_reason=dict(self.disconnects),
        )

    def _resumes_in_s(self, now: float) -> float | None:
        if self.resumes_at is None or self.state not in ("waiting", "parked"):
            return None
        return max(self.resumes_at - now, 0.0)


def failure_of(loss: Lost) -> TransportError:
    """The error for whoever waits for a link that is gone for good: what happened, and what the owner should do."""
    words = loss.detail or f"the link ended: {loss.reason}"
    advice = advice_for(loss.reason)
    message = f"{words}; {advice}" if advice else words
    if loss.reason == DisconnectReason.LOGGED_OUT:
        return LoggedOutError(message)
    return TransportError(message, reason=loss.reason, retryable=False)


def _age_s(now: float, at: float | None) -> float | None:
    return None if at is None else now - at
