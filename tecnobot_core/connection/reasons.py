"""Why a link is down, what a manager does then, and what the owner should do."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

Response = Literal["retry", "at_once", "park", "restore", "fail"]


class DisconnectReason(StrEnum):
    """Why a link is down. The values travel in events, errors and ``status()``."""

    NETWORK = "network"
    TIMEOUT = "timeout"
    HALF_OPEN = "half_open"
    SERVER_CLOSED = "server_closed"
    SERVER_ERROR = "server_error"
    RESTART_REQUIRED = "restart_required"  # the server asks to connect anew, as after pairing
    PUMP_DEAD = "pump_dead"  # the library lives but tells nothing more; its process died or hangs
    REPLACED = "replaced"  # the same session was opened elsewhere
    LOGGED_OUT = "logged_out"
    BANNED = "banned"  # for a while, or until the owner has settled it
    OUTDATED = "outdated"
    AUTH_FAILED = "auth_failed"
    STORE_ERROR = "store_error"  # the session, or a file or program beside it, cannot be used
    PAIRING_TIMEOUT = "pairing_timeout"
    PAIRING_FAILED = "pairing_failed"  # it was confirmed, but not by the phone, or was refused
    ENDED = "ended"  # a replayed file, a closed terminal
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    STOPPED = "stopped"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "DisconnectReason":
        return cls.UNKNOWN


# What is not here is tried again after a growing delay.
_RESPONSES: Mapping[DisconnectReason, Response] = {
    DisconnectReason.RESTART_REQUIRED: "at_once",
    DisconnectReason.HALF_OPEN: "at_once",  # it was detected late enough
    DisconnectReason.BANNED: "park",
    DisconnectReason.STORE_ERROR: "restore",
    DisconnectReason.REPLACED: "fail",
    DisconnectReason.LOGGED_OUT: "fail",
    DisconnectReason.OUTDATED: "fail",
    DisconnectReason.AUTH_FAILED: "fail",
    DisconnectReason.PAIRING_TIMEOUT: "fail",
    DisconnectReason.PAIRING_FAILED: "fail",
    DisconnectReason.ENDED: "fail",
    DisconnectReason.ATTEMPTS_EXHAUSTED: "fail",
    DisconnectReason.STOPPED: "fail",
}

_ADVICE: Mapping[DisconnectReason, str] = {
    DisconnectReason.REPLACED: "the same session was opened elsewhere: stop the other copy, then start this one again",
    DisconnectReason.LOGGED_OUT: "the account removed this device: pair it again",
    DisconnectReason.BANNED: "the account may not connect for now: look at the phone, and send less when it may again",
    DisconnectReason.OUTDATED: "the server refuses this version: upgrade the package of the transport",
    DisconnectReason.AUTH_FAILED: "the server refuses the credentials: check them, or pair again",
    DisconnectReason.STORE_ERROR: (
        "the session cannot be used: look at the named file, its rights and the free space of its disk; "
        "if it is damaged, restore a saved copy, or pair again"
    ),
    DisconnectReason.PAIRING_FAILED: "the pairing was not valid: start again with a new code",
    DisconnectReason.PAIRING_TIMEOUT: "nobody confirmed the pairing in time: start again with the phone at hand",
    DisconnectReason.ATTEMPTS_EXHAUSTED: "all attempts failed: check the network and the server, then start again",
}


def response_to(reason: DisconnectReason, *, retryable: bool, sound: bool = False) -> Response:
    """What to do about a loss; a transport's word that trying again is useless is believed.

    A *sound* session, which something else is in the way of, is never replaced by an older copy.
    """
    response = _RESPONSES.get(reason, "retry")
    if sound and response == "restore":
        response = "retry"
    return "fail" if not retryable and response in ("retry", "at_once") else response


def advice_for(reason: DisconnectReason) -> str:
    """What the owner should do, in one sentence; empty where nothing can be done but wait."""
    return _ADVICE.get(reason, "")
