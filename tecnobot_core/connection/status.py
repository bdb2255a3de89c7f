"""What is known of a link."""

from dataclasses import dataclass
from typing import Literal

ConnectionState = Literal["idle", "connecting", "connected", "waiting", "failed", "closed"]


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """The truth about the link. ``failures`` counts attempts since the last stable connection."""

    state: ConnectionState
    uptime_s: float
    failures: int
    connects: int
    disconnects: int
    heartbeats_missed: int
    last_error: str
