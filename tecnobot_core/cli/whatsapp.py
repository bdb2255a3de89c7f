"""``tecnobot whatsapp pair`` and ``logout``: joining an account, and leaving it."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable

from ..adapters.neonize import WhatsAppTransport
from ..adapters.neonize.qr import draw_qr
from ..connection import ConnectionManager
from ..errors import ConfigurationError, LoggedOutError, TransportError
from ..events import PairingOffered, SessionRestored, SessionSaveFailed
from .output import complain, say
from .whatsapp_account import Account, account_name, open_account

ATTEMPTS = 3
# The phone goes on talking to a new device for a moment, and shows it as broken when that leaves at once.
STAY_S = 5.0


def pair(arguments: argparse.Namespace) -> int:
    """Join an account, and save its session."""
    return asyncio.run(_pair(arguments))


def log_out(arguments: argparse.Namespace) -> int:
    """Leave the account, and put its session and all copies aside."""
    return asyncio.run(_log_out(arguments))


async def _pair(arguments: argparse.Namespace) -> int:
    async with open_account(arguments.chatbot) as account:
        account.require_stopped()
        if joined := await _joined(account):
            complain(f"joined already: {joined}; leave with: tecnobot whatsapp logout")
            return 1
        visit = Visit(account.transport(), number=arguments.code)
        async with visit.manager:
            await visit.wait_connected()
            if visit.offered:
                await asyncio.sleep(STAY_S)
        joined = await _joined(account)
        found = "joined" if visit.offered else "joined already, there was no need to pair"
        say(f"{found}: {joined}" if joined else found)
        return 1 if visit.unsaved or not visit.offered else 0


async def _log_out(arguments: argparse.Namespace) -> int:
    async with open_account(arguments.chatbot) as account:
        account.require_stopped()
        joined = await _joined(account)
        if account.session_url is None and not joined:
            complain("there is no account to leave")
            return 1
        if not arguments.yes and not _is_sure(f"Leave {joined or 'the account'} for good? [y/N] "):
            return 1
        transport = account.transport()
        visit = Visit(transport, pairs=False)
        try:
            async with visit.manager:
                await visit.wait_connected()
                await transport.log_out()
        except LoggedOutError:
            say("the account had removed this device already; what was kept of it is put aside")
            return 0
        await transport.quarantine_session()
        say("left; what was kept of the session is put aside")
        return 0


class Visit:
    """One connection for a short while. It shows what joins the account, unless it may not join (*pairs*)."""

    def __init__(
        self,
        transport: WhatsAppTransport,
        *,
        number: str | None = None,
        pairs: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.manager = ConnectionManager(transport, max_attempts=ATTEMPTS, show_presence=False)
        self.offered = False
        self.unsaved = False
        self._transport = transport
        self._number = number
        self._pairs = pairs
        self._clock = clock
        self._error: TransportError | None = None
        self.manager.on("pairing", self._offer)
        self.manager.on("session_restored", _tell_restored)
        self.manager.on("session_save_failed", self._tell_unsaved)

    async def wait_connected(self) -> None:
        """TransportError when it cannot be, or a code cannot be had."""
        try:
            await self.manager.wait_connected()
        except TransportError:
            if self._error is not None:
                raise self._error from None
            raise

    async def _offer(self, offer: PairingOffered) -> None:
        first, self.offered = not self.offered, True
        if not self._pairs:
            await self._give_up(TransportError("nobody is joined: the session holds no account", retryable=False))
        elif offer.kind == "code":
            _say_now(f"Enter on the phone, under Linked devices > Link with phone number:  {offer.data}")
        elif self._number is None:
            lasts_s = offer.expires_at - self._clock()
            _say_now(draw_qr(offer.data) + f"Scan with the phone, under Linked devices; valid for {lasts_s:.0f} s")
        elif first:
            try:
                await self._transport.pair_by_code(self._number)
            except TransportError as error:
                await self._give_up(error)

    async def _give_up(self, error: TransportError) -> None:
        self._error = error
        await self.manager.aclose()

    def _tell_unsaved(self, event: SessionSaveFailed) -> None:
        self.unsaved = True
        complain(event.detail)


async def _joined(account: Account) -> str:
    """The account that the session holds, as far as that can be known without connecting; else empty.

    Raises TransportError when the session is damaged.
    """
    if account.session_url is not None:
        return ""
    session = account.session()
    session.prepare()
    if (age_s := await session.bring_back()) is not None:
        _tell_restored(SessionRestored(age_s))
    if not session.path.exists() and session.copies():
        return ""  # connecting restores it
    await session.check()
    return ", ".join(map(account_name, (await session.condition(session.path)).accounts))


def _is_sure(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("this cannot be undone, and nobody can be asked here; say --yes")
    return input(question).strip().lower() in ("y", "yes")


def _tell_restored(event: SessionRestored) -> None:
    complain(f"the session came back from a copy of {event.age_s:.0f} s ago; first answers may be lost")


def _say_now(text: str) -> None:
    say(text)
    sys.stdout.flush()
