"""The real library against the tests' own WhatsApp server: who is there, and what the bot's side told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tecnobot_core.adapters.neonize import WhatsAppTransport
from tecnobot_core.connection.ports import Opened, TransportEvent
from tecnobot_core.events import MessageMissed
from tecnobot_core.messages import InboundMessage, OutboundMessage
from tests.whatsapp_server import trust
from tests.whatsapp_server.customer import Customer
from tests.whatsapp_server.seeding import seed_device
from tests.whatsapp_server.server import WhatsAppServer

EventT = TypeVar("EventT")

MIB = 1 << 20
BOT = "5511900000001"
WAIT_S = 60.0

# What the gateway process runs before it connects.
_TRUST = "import runpy\nrunpy.run_path({path!r})['install'](bytes.fromhex({root!r}))\n"


@dataclass(frozen=True)
class Account:
    """Where a bot's session is and how it connects; can be told to another process as JSON."""

    directory: str
    proxy: str
    certificates: str
    hook: str

    def transport(self, **options: Any) -> WhatsAppTransport:
        """What opens it, in this process."""
        return WhatsAppTransport(
            Path(self.directory),
            proxy=self.proxy,
            certificates=Path(self.certificates),
            before_connecting=Path(self.hook),
            **options,
        )


class Hearing:
    """What a transport told, and a way to wait for it."""

    def __init__(self) -> None:
        self.events: list[TransportEvent] = []
        self.messages: list[InboundMessage] = []
        self._changed = asyncio.Event()

    def hear(self, event: TransportEvent) -> None:
        """The transport's sink."""
        self.events.append(event)
        if isinstance(event, InboundMessage):
            self.messages.append(event)
        self._changed.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
        """TimeoutError when *condition* does not come true."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def all(self, kind: type[EventT], since: int = 0) -> list[EventT]:
        """The events of *kind*, from number *since* on."""
        return [event for event in self.events[since:] if isinstance(event, kind)]

    @property
    def missed(self) -> set[str]:
        """Ids of what was announced as lost."""
        return {event.message_id for event in self.all(MessageMissed)}


class Stage(Hearing):
    """A server, one paired bot over its transport alone, and customers on demand."""

    def __init__(self, server: WhatsAppServer, directory: Path) -> None:
        super().__init__()
        self.server = server
        self.directory = directory
        self.account = account(server, directory, "bot")
        self.bot = self.account.transport()

    def customer(self, name: str = "ana", number: int = 1) -> Customer:
        """Somebody with a companion device, as most have."""
        return Customer(self.server, name, f"551198888{number:04}", self.directory, device=3)

    async def open(self) -> None:
        """Return when messages flow."""
        begin = len(self.events)
        await self.bot.open(self.hear)
        await self.until(lambda: bool(self.all(Opened, begin)))

    async def hears(self, text: str) -> InboundMessage:
        """The message of that *text*, once it is there."""
        await self.until(lambda: any(message.text == text for message in reversed(self.messages)))
        return next(message for message in reversed(self.messages) if message.text == text)

    async def acknowledge_all(self) -> None:
        """As if all were journaled."""
        await self.bot.acknowledge([message.id for message in self.messages])

    @property
    def child(self) -> psutil.Process:
        """The process with the library."""
        return only_child(self.bot)


def only_child(bot: WhatsAppTransport) -> psutil.Process:
    """The process that *bot* runs; LookupError while there is none."""
    if bot._gateway is None:
        raise LookupError("no gateway process runs")
    return psutil.Process(bot._gateway.pid)


def answer(message: InboundMessage, text: str) -> OutboundMessage:
    """An answer that can be sent once."""
    return OutboundMessage(chat=message.chat, key=f"{message.id} {text}", text=text)


@asynccontextmanager
async def stage(directory: Path, *, paired: bool = True) -> AsyncIterator[Stage]:
    """A stage in *directory*, which is made."""
    await asyncio.to_thread(directory.mkdir, parents=True)
    async with WhatsAppServer(directory) as server:
        made = Stage(server, directory)
        made.bot.session.prepare()
        if paired:
            await asyncio.to_thread(seed_device, made.bot.session.path, BOT, 7, "Bot")
        try:
            yield made
        finally:
            await made.bot.close()


def account(server: WhatsAppServer, directory: Path, name: str) -> Account:
    """A bot called *name* in faults, its session below *directory*."""
    hook = directory / "trust_the_server.py"
    hook.write_text(_TRUST.format(path=trust.__file__, root=server.trust_root.hex()))
    certificates = server.environment()["SSL_CERT_FILE"]
    return Account(str(directory / f"whatsapp-{name}"), server.proxy_url(name), certificates, str(hook))
