"""One life of a link: what a transport tells from one ``open`` to the next."""

import asyncio
from collections.abc import Callable

from ..events import Event, MessageMissed, PairingEnded, PairingOffered, SessionRestored
from ..messages import InboundMessage
from .inbound import Changes, Inbound
from .ports import Liveness, Lost, Opened, Recovered, TransportEvent
from .reasons import DisconnectReason
from .status import Record


class Link:
    """The sink of one ``open``; after ``end`` it hears nothing, so an old link cannot speak for a new one.

    ``lost`` is set by a loss, and ``attention`` by all that the manager must look at soon.
    """

    def __init__(self, record: Record, inbound: Inbound, changes: Changes, publish: Callable[[Event], None]) -> None:
        self.opened = False
        self.up = False  # "connected" was published, and no "disconnected" yet
        self.recovered = False
        self.doubted = False
        self.loss: Lost | None = None
        self.pairing_since: float | None = None
        self.paired_at: float | None = None
        self.lost = asyncio.Event()
        self.attention = asyncio.Event()
        self._ended = False
        self._record = record
        self._inbound = inbound
        self._changes = changes
        self._publish = publish

    @property
    def is_pairing(self) -> bool:
        """Whether a person has something to do before the link opens."""
        return self.pairing_since is not None and self.paired_at is None

    def take(self, event: TransportEvent) -> None:
        """What the transport tells."""
        if self._ended:
            return
        self._note(event)
        match event:
            case Opened():
                self._open()
            case Recovered():
                self._recover()
            case Lost(reason=DisconnectReason.ENDED):
                self._inbound.end()  # answers still go out
            case Lost():
                self._lose(event)
            case Liveness(ok=ok):
                self._doubt(not ok)
            case PairingOffered() | PairingEnded() | SessionRestored() | MessageMissed():
                self._tell(event)
            case _:
                self._inbound.put(event)
        self._changes.notify()

    def end(self) -> None:
        """Hear nothing more."""
        self._ended = True

    def go_on(self) -> None:
        """The loss was dealt with."""
        self.loss = None
        self.recovered = self.doubted = False
        self.lost.clear()
        self.attention.clear()

    def _note(self, event: TransportEvent) -> None:
        if isinstance(event, InboundMessage):
            self._record.useful()
        elif event != Liveness(ok=False) and not isinstance(event, Lost | SessionRestored):
            self._record.alive()

    def _open(self) -> None:
        if not self.opened or self.loss is not None:
            self._inbound.clear()  # not acknowledged, so they come again
        self.opened = True
        self._recover()

    def _recover(self) -> None:
        if self.loss is not None and self.loss.heals:
            self.recovered = True
            self.attention.set()

    def _lose(self, loss: Lost) -> None:
        self.recovered = False
        if self.loss is None or (self.loss.heals and not loss.heals):
            self.loss = loss
            self.lost.set()
            self.attention.set()

    def _doubt(self, doubted: bool) -> None:
        self.doubted = doubted
        if doubted and self.loss is None:
            self.attention.set()

    def _tell(self, event: PairingOffered | PairingEnded | SessionRestored | MessageMissed) -> None:
        now = asyncio.get_running_loop().time()
        match event:
            case PairingOffered():
                self.pairing_since = now if self.pairing_since is None else self.pairing_since
            case PairingEnded(paired=True):
                self.paired_at = now
            case PairingEnded(detail=detail):
                self._lose(Lost(DisconnectReason.PAIRING_TIMEOUT, detail, retryable=False))
            case MessageMissed():
                self._record.messages_missed += 1
        self._publish(event)
