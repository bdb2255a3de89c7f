"""A person with WhatsApp: a real client in a process of its own, and what a test makes it do."""

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.whatsapp_server import launch
from tests.whatsapp_server.seeding import seed_device
from tests.whatsapp_server.server import WhatsAppServer

WAL = "?_journal_mode=WAL&_busy_timeout=10000&_txlock=immediate&_foreign_keys=on&_z=1"
"""Database options under which the library is about twice as fast as with its own."""

Event = dict[str, Any]

_CONNECT_S = 30
_STOP_S = 5


class ClientError(Exception):
    """The client could not do what it was told; the text is the library's."""


class Customer:
    """The account *number* on one of its devices; device 0 is a phone. *name* is also the client's name in faults.

    Its session is kept in *directory*, so that another ``Customer`` of the same name there goes on with it. An account
    exists for others once it has connected once. People are addressed by number, or by the address of a chat.
    """

    def __init__(
        self, server: WhatsAppServer, name: str, number: str, directory: Path, *, device: int = 0, paired: bool = True
    ) -> None:
        self.name = name
        self.number = number
        self.events: list[Event] = []
        """Everything that the client reported, in order: "event", "at" (Unix time), and more by kind."""
        self.database = directory / f"{name}.db"
        self.log = directory / f"{name}.log"
        self._server = server
        self._device = device
        self._paired = paired
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._commands = 0
        self._changed = asyncio.Event()
        self._messages_taken = 0
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *, connect: bool = True) -> None:
        """Start the process; with *connect* return when it is connected, TimeoutError when it is not in 30 s."""
        if self._process is not None:
            raise RuntimeError(f"the client {self.name} runs already; stop it first")
        if self._paired and not self.database.exists():
            await asyncio.to_thread(seed_device, self.database, self.number, self._device, self.name)
        since = len(self.events)
        ours, theirs = socket.socketpair()
        with theirs, self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *launch.command("tests.whatsapp_server.client_process", json.dumps(self._settings(theirs.fileno()))),
                env=self._server.environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=2**26)
        self._reading = asyncio.create_task(self._read(reader), name=f"read {self.name}")
        if not connect:
            return
        try:
            await self.wait_for("ConnectedEv", since=since, timeout_s=_CONNECT_S)
        except BaseException:
            await self.kill()
            raise

    async def say(self, text: str, to: str) -> str:
        """Return the message's id. Raises ``ClientError``."""
        message_id: str = await self.do("say", text=text, to=to)
        return message_id

    async def say_many(self, prefix: str, count: int, to: str) -> list[float]:
        """*prefix* with a number behind it, *count* times, each after the ack of the one before; seconds of each."""
        took: list[float] = await self.do("say_many", prefix=prefix, count=count, to=to)
        return took

    async def send_voice(self, data: bytes, to: str, *, seconds: int = 2) -> str:
        """Upload and send a voice note; return the message's id."""
        fields = {"seconds": seconds, "mimetype": "audio/ogg; codecs=opus", "PTT": True}
        return await self.send_media("audio", data, to, **fields)

    async def send_image(self, data: bytes, to: str, *, caption: str = "") -> str:
        return await self.send_media("image", data, to, mimetype="image/jpeg", caption=caption)

    async def send_media(self, kind: str, data: bytes, to: str, **fields: Any) -> str:
        """Upload and send an audio, image, video or document, with more *fields* of WhatsApp's message."""
        message_id: str = await self.do("send_media", kind=kind, content=data.hex(), fields=fields, to=to)
        return message_id

    async def send(self, message: dict[str, Any], to: str) -> str:
        """Send any message, written as protobuf's JSON of WhatsApp's ``Message``, such as a location or a reaction."""
        message_id: str = await self.do("send", message=message, to=to)
        return message_id

    async def download(self, message_id: str) -> bytes:
        """The decrypted media of a received message."""
        return bytes.fromhex(await self.do("download", message_id=message_id))

    async def type(self, to: str, *, on: bool = True, recording: bool = False) -> None:
        await self.do("type", to=to, on=on, recording=recording)

    async def mark(self, message_id: str, *, played: bool = False) -> None:
        """As read, or as played."""
        await self.do("mark", message_id=message_id, played=played)

    async def show(self, *, available: bool) -> None:
        """Presence; until it is available, receipts are of type inactive and nobody sees it typing."""
        await self.do("show", available=available)

    async def watch(self, number: str) -> None:
        """Ask for someone's presence."""
        await self.do("watch", number=number)

    async def echo(self, *, on: bool = True) -> None:
        """Answer each text at once with "echo: " before it."""
        await self.do("echo", on=on)

    async def ping(self) -> float:
        """Seconds of a round trip to the server."""
        took: float = await self.do("ping")
        return took

    async def pair_by_code(self, number: str) -> str:
        code: str = await self.do("pair_by_code", number=number)
        return code

    async def next_message(self, timeout_s: float = 10) -> Event:
        """The first message that was not taken before: id, text, chat, sender, from_me, message (as JSON) and more."""
        messages = await self.wait_for("MessageEv", count=self._messages_taken + 1, timeout_s=timeout_s)
        self._messages_taken += 1
        return messages[self._messages_taken - 1]

    def forget(self) -> None:
        """Drop the events so far, taken or not."""
        self.events.clear()
        self._messages_taken = 0

    async def wait_for(
        self,
        event: str,
        accept: Callable[[Event], bool] = lambda _: True,
        *,
        count: int = 1,
        since: int = 0,
        timeout_s: float = 10,
    ) -> list[Event]:
        """The events of a kind, once they are *count*; *since* is a length that ``events`` had."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found = [each for each in self.events[since:] if each["event"] == event and accept(each)]
                    if len(found) >= count:
                        return found
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"{self.name} saw {len(found)} of {count} {event} in {timeout_s} s") from None

    async def do(self, command: str, /, **arguments: Any) -> Any:
        """Run a command of ``client_process``; its answer. Raises ``ClientError``, also when the process ends."""
        if self._reading.done():
            raise ClientError(f"the client {self.name} has ended; see {self.log}")
        self._commands += 1
        answer = self._answers[self._commands] = asyncio.get_running_loop().create_future()
        line = json.dumps({"do": command, "number": self._commands, "arguments": arguments})
        self._writer.write(line.encode() + b"\n")
        return await answer

    async def stop(self) -> None:
        """Let the client disconnect, and the process end; kill it when it takes more than 5 s."""
        if self._process is None:
            return
        try:
            async with asyncio.timeout(_STOP_S):
                await self.do("stop")
        except (TimeoutError, ClientError):
            pass
        await self._end()

    async def ended(self, timeout_s: float = 30) -> int:
        """The exit status, once the process has ended by itself; negative for a signal."""
        assert self._process is not None
        async with asyncio.timeout(timeout_s):
            status = await self._process.wait()
        await self._end()
        return status

    async def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._end()

    def _settings(self, descriptor: int) -> dict[str, Any]:
        return {
            "name": self.name,
            "database": str(self.database),
            "options": WAL,
            "proxy": self._server.proxy_url(self.name),
            "root": self._server.trust_root.hex(),
            "socket": descriptor,
        }

    async def _end(self) -> None:
        assert self._process is not None
        self._writer.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading
        self._process = None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                self._take(json.loads(line))
        except ConnectionError:
            pass  # killed
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ClientError(f"the client {self.name} has ended; see {self.log}"))
                answer.exception()  # whoever waits has it; nobody waiting is no news
        self._answers.clear()

    def _take(self, item: dict[str, Any]) -> None:
        if "answer" not in item:
            self.events.append(item)
            self._changed.set()
            self._changed = asyncio.Event()
            return
        answer = self._answers.pop(item["answer"])
        if answer.done():
            return  # whoever asked has given up
        if "error" in item:
            answer.set_exception(ClientError(item["error"]))
        else:
            answer.set_result(item["value"])
