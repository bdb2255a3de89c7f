"""What the library says about the link, as frames."""

import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from .frames import Frame

# Codes of goneonize's main.go; the messages of the same names are in Neonize.proto.
PAIR_STATUS, CONNECTED, KEEP_ALIVE_TIMEOUT, KEEP_ALIVE_RESTORED = 2, 3, 4, 5
LOGGED_OUT, STREAM_REPLACED, TEMPORARY_BAN, CONNECT_FAILURE, CLIENT_OUTDATED = 6, 7, 8, 9, 10
STREAM_ERROR, DISCONNECTED, MESSAGE, RECEIPT, OFFLINE_SYNC_COMPLETED = 11, 12, 17, 18, 27
WANTED = (
    *(PAIR_STATUS, CONNECTED, KEEP_ALIVE_TIMEOUT, KEEP_ALIVE_RESTORED, LOGGED_OUT, STREAM_REPLACED, TEMPORARY_BAN),
    *(CONNECT_FAILURE, CLIENT_OUTDATED, STREAM_ERROR, DISCONNECTED, MESSAGE, RECEIPT, OFFLINE_SYNC_COMPLETED),
)

# whatsmeow's ConnectFailureReason, by the names that Neonize.proto gives to it.
_CONNECT_FAILURES = {
    "GENERIC": ("auth_failed", False),
    "LOGGED_OUT": ("logged_out", False),
    "MAIN_DEVICE_GONE": ("logged_out", False),
    "UNKNOWN_LOGOUT": ("logged_out", False),
    "TEMP_BANNED": ("banned", False),
    "CLIENT_OUTDATED": ("outdated", False),
    "BAD_USER_AGENT": ("auth_failed", False),
}
# How a series of QR codes ends without an account: whatsmeow's qrchan.go. What is not here is told in its own word.
_PAIRING_ENDS = {
    "timeout": ("pairing_timeout", "nobody confirmed the pairing in time"),
    "error": ("pairing_failed", "the pairing is not valid, start again with a new code"),
    "passkey-request": ("pairing_failed", "the phone asks for a passkey, which neonize cannot give"),
    "err-unexpected-state": ("pairing_failed", "the server refused the connection while it was paired"),
    "err-scanned-without-multidevice": ("pairing_failed", "the WhatsApp of the phone is too old to link a device"),
    "err-client-outdated": ("outdated", "the server refuses this version of neonize"),
}
# whatsmeow's pair.go; the text ends where the entry of the log goes on with its level.
_PAIRING_ERROR = re.compile(rb"Failed to pair device: (?P<why>[^\x00-\x1f]+)")
# whatsmeow's connectionevents.go: after pairing, and when it likes, the server asks to connect anew. The library tries
# that once, and tells nobody else when it failed.
_NOT_RECONNECTED = b"Failed to reconnect after 515 code"
_RECEIPTS = {"DELIVERED": "delivered", "INACTIVE": "delivered", "READ": "read", "PLAYED": "played"}


def read(definitions: ModuleType, code: int, content: bytes) -> Iterator[Frame]:
    """The frames that the event *code* with *content* makes; none for those that do not matter here."""
    match code:
        case _ if code == CONNECTED:
            yield {"type": "opened"}
        case _ if code == DISCONNECTED:
            yield {**_lost("network", "the server or the network ended the link", retryable=True), "heals": True}
        case _ if code == STREAM_ERROR:
            error = definitions.StreamError.FromString(content)
            yield {"type": "trouble", "detail": f"stream error {error.Code}"}
        case _ if code == KEEP_ALIVE_TIMEOUT:
            missed = definitions.KeepAliveTimeout.FromString(content).ErrorCount
            yield {"type": "liveness", "ok": False, "missed": missed}
        case _ if code == KEEP_ALIVE_RESTORED:
            yield {"type": "liveness", "ok": True, "missed": 0}
        case _ if code == PAIR_STATUS:
            yield _paired(definitions.PairStatus.FromString(content))
        case _ if code == RECEIPT:
            yield from _receipt(definitions.Receipt.FromString(content))
        case _:
            yield from _ended(definitions, code, content)


def login_status(status: str, *, code_lasts_s: float = 0.0, error: str = "") -> Iterator[Frame]:
    """What the end of a series of QR codes means; ``success`` is told by the event that follows it.

    A link that was cut ends it with "timeout" too: then the code that was shown would have lasted for *code_lasts_s*.
    *error* is why, as the library's log has it.
    """
    if status == "success":
        return
    if status == "timeout" and code_lasts_s > 0:
        yield _lost("network", "the link was cut during pairing", retryable=True)
        return
    reason, detail = _PAIRING_ENDS.get(status, ("pairing_failed", f"pairing ended: {status}"))
    detail = f"{detail} ({error})" if error and status == "error" else detail
    yield {"type": "paired", "ok": False, "reason": reason, "detail": detail}
    yield _lost(reason, detail, retryable=False)


def pairing_error(line: bytes) -> str:
    """Why a pairing failed, where *line* of the library's log tells it, as nothing else does; else empty."""
    match = _PAIRING_ERROR.search(line)
    return "" if match is None else match["why"].decode("utf-8", "replace")


def read_log(line: bytes) -> Iterator[Frame]:
    """The frame that a *line* of the library's log makes, where no event tells the same."""
    if _NOT_RECONNECTED in line:
        yield _lost("restart_required", "the server wanted a new connection, which could not be made", retryable=True)


def _ended(definitions: ModuleType, code: int, content: bytes) -> Iterator[Frame]:
    """Events after which the library does nothing more, and does not say so."""
    if code == LOGGED_OUT:
        event = definitions.LoggedOut.FromString(content)
        yield _lost("logged_out", _name(event, "Reason"), retryable=False)
    elif code == STREAM_REPLACED:
        yield _lost("replaced", "the session was opened elsewhere", retryable=False)
    elif code == TEMPORARY_BAN:
        ban = definitions.TemporaryBan.FromString(content)
        yield {**_lost("banned", _name(ban, "Code"), retryable=False), "retry_after_s": float(ban.Expire)}
    elif code == CLIENT_OUTDATED:
        yield _lost("outdated", "the server refuses this version of neonize", retryable=False)
    elif code == CONNECT_FAILURE:
        failure = definitions.ConnectFailure.FromString(content)
        name = _name(failure, "Reason")
        reason, retryable = _CONNECT_FAILURES.get(name, ("server_error", True))
        yield _lost(reason, f"{name} {failure.Message}".strip(), retryable=retryable)


def _lost(reason: str, detail: str, *, retryable: bool) -> Frame:
    return {"type": "lost", "reason": reason, "detail": detail, "retryable": retryable}


def _paired(event: Any) -> Frame:
    ok = _name(event, "Status") == "SUCCESS"
    return {"type": "paired", "ok": ok, "reason": "pairing_failed", "detail": "" if ok else event.Error}


def _receipt(event: Any) -> Iterator[Frame]:
    kind = _RECEIPTS.get(_name(event, "Type"))
    if kind is not None and not event.MessageSource.IsFromMe:
        chat = event.MessageSource.Chat
        yield {"type": "receipt", "ids": list(event.MessageIDs), "chat": f"{chat.User}@{chat.Server}", "kind": kind}


def _name(event: Any, field: str) -> str:
    descriptor = event.DESCRIPTOR.fields_by_name[field]
    value = descriptor.enum_type.values_by_number.get(getattr(event, field))
    return str(getattr(event, field)) if value is None else str(value.name)
