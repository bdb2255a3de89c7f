"""What a person has to do to join the account, for the pairing page."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...errors import MissingDependencyError
from ...events import Connected, ConnectionFailed, EventBus, PairingEnded, PairingOffered
from .qr import QrDrawing, draw_qr

PairingState = Literal["waiting", "offered", "paired", "failed"]


@dataclass(slots=True)
class _Offer:
    event: PairingOffered
    drawing: QrDrawing | None = None


class WebPairing:
    """Holds what was offered last, a QR code and a code, each until it expires, is replaced, or somebody has paired.

    ``watch`` the events of the connection. Whoever sees ``value`` can join the account: a WebServer shows it only to
    who has its token. *clock* is in Unix seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._offers: dict[str, _Offer] = {}
        self._state: PairingState = "waiting"
        self._detail = self._reason = ""

    def watch(self, events: EventBus) -> None:
        """Follow what happens from now on."""
        events.on(PairingOffered, self._offer)
        events.on(PairingEnded, self._end)
        events.on(Connected, self._connect)
        events.on(ConnectionFailed, self._fail)

    def value(self) -> dict[str, object]:
        """In JSON types: state, qr (size and SVG path of its modules), code, expires_at, detail, reason.

        ``detail`` says in English why there is nothing, ``reason`` is the word for it in `ConnectionFailed`.
        ``expires_at`` is when the last of what is offered does, in Unix seconds. What there is not is None, or empty.
        """
        now = self._clock()
        self._offers = {kind: offer for kind, offer in self._offers.items() if offer.event.expires_at > now}
        state = "waiting" if self._state == "offered" and not self._offers else self._state
        qr, detail = self._qr()
        code = self._offers.get("code")
        return {
            "state": state,
            "qr": qr,
            "code": None if code is None else code.event.data,
            "expires_at": max((offer.event.expires_at for offer in self._offers.values()), default=None),
            "detail": detail or self._detail,
            "reason": self._reason,
        }

    def _qr(self) -> tuple[dict[str, object] | None, str]:
        """The drawing, or why there is none."""
        if (offer := self._offers.get("qr")) is None:
            return None, ""
        if offer.drawing is None:
            try:
                offer.drawing = draw_qr(offer.event.data)
            except MissingDependencyError as error:
                return None, f"the QR code cannot be drawn: {error}"
        return {"size": offer.drawing.size, "path": offer.drawing.path}, ""

    def _offer(self, event: PairingOffered) -> None:
        self._state, self._detail, self._reason = "offered", "", ""
        self._offers[event.kind] = _Offer(event)

    def _end(self, event: PairingEnded) -> None:
        self._settle("paired" if event.paired else "failed", "" if event.paired else event.detail)

    def _connect(self, event: Connected) -> None:
        self._settle("paired", "")

    def _fail(self, event: ConnectionFailed) -> None:
        self._settle("failed", event.advice or event.detail, event.reason)

    def _settle(self, state: PairingState, detail: str, reason: str = "") -> None:
        self._offers.clear()
        self._state, self._detail, self._reason = state, detail, reason
