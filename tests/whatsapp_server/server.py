"""The handle on a server that runs in a process of its own: it goes on while the test's loop stands still."""

import asyncio
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.whatsapp_server import launch

_START_S = 20
_STOP_S = 5
_EVERYONE = "*"


class WhatsAppServer:
    """Runs while the ``async with`` block does. *directory*, which must exist, takes certificates and the log.

    Wherever a *client* is named, None means all of them; a client is named by ``proxy_url``.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._one_command = asyncio.Lock()

    async def __aenter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *launch.command("tests.whatsapp_server", str(self._directory)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=2**26,
            )
        try:
            async with asyncio.timeout(_START_S):
                self._where = await self._read()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    @property
    def log(self) -> Path:
        """What the server complained about."""
        return self._directory / "whatsapp_server.log"

    @property
    def trust_root(self) -> bytes:
        """For ``trust.install`` in the client's process."""
        return bytes.fromhex(self._where["root"])

    def proxy_url(self, client: str) -> str:
        """The only way in, for the client of this name."""
        return f"http://{client}:x@127.0.0.1:{self._where['proxy']}"

    def environment(self) -> dict[str, str]:
        """This process's, and what a client process must have from its start: Go reads it once."""
        return {**os.environ, "SSL_CERT_FILE": self._where["authority"]}

    async def set_mode(self, client: str | None = None, **modes: str | None) -> None:
        """Begin lasting faults, ``faults.MODES``; None ends one. ``ValueError`` says which there are."""
        for name, value in modes.items():
            await self._command(f"mode {client or _EVERYONE} {name}={value or ''}")

    async def clear_modes(self) -> None:
        """End all lasting faults, of everyone."""
        await self._command("clear")

    async def fault(self, client: str | None, text: str) -> int:
        """Do one of ``faults.FAULTS`` to what is connected now; return how many links that were."""
        count: int = await self._command(f"fault {client or _EVERYONE} {text}")
        return count

    async def cut(self, client: str | None = None) -> int:
        """End connections at once, those that hang included; return how many."""
        count: int = await self._command(f"cut {client or _EVERYONE}")
        return count

    async def statistics(self) -> dict[str, int]:
        """Counts since the start: connections, websockets, logins, messages, receipts, counters_reused…; links now."""
        counts: dict[str, int] = await self._command("statistics")
        return counts

    async def devices(self) -> dict[str, dict[str, int]]:
        """By "number:device": online, queued (nodes not acknowledged), one_time_keys."""
        devices: dict[str, dict[str, int]] = await self._command("devices")
        return devices

    async def scan(self, number: str, text: str, *, forged: str = "") -> str:
        """Let the phone of *number* read the text of a QR code; return "number:device" of what may join now.

        *forged*, one of ``phone.FORGERIES``: the confirmation comes from somebody without the key for that part.
        """
        label: str = await self._command(f"scan {number} {text} {forged}")
        return label

    async def enter(self, number: str, code: str) -> None:
        """Type *code* on the phone of *number*; ``pairings`` tells what came of it."""
        await self._command(f"enter {number} {code}")

    async def unlink(self, label: str) -> None:
        """Let the phone remove the device *label*, "number:device"."""
        await self._command(f"unlink {label}")

    async def pairings(self) -> list[dict[str, Any]]:
        """Who was offered to join, oldest first: client, state (``pairing.Candidate``), detail, device."""
        pairings: list[dict[str, Any]] = await self._command("pairings")
        return pairings

    async def trace(self, since: float = 0) -> list[dict[str, Any]]:
        """What passed from the Unix time *since*: at, way, device, tag, id, type, peer (``relay.Passage``)."""
        trace: list[dict[str, Any]] = await self._command(f"trace {since}")
        return trace

    async def _command(self, line: str) -> Any:
        async with self._one_command:
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode() + b"\n")
            answer = await self._read()
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["value"]

    async def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the WhatsApp server has ended: {self.log.read_text() or 'it said nothing'}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
