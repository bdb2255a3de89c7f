"""The other side of the link: it sends, takes acknowledgements and answers, and outlives every kill."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

AHEAD = 60  # messages that are delivered ahead of their acknowledgement


class Phones:
    """Delivers *messages* of (chat, id) in order to whoever connects to *path*, until they are acknowledged."""

    def __init__(self, path: Path, messages: Sequence[tuple[str, str]]) -> None:
        self.path = path
        self.sent: defaultdict[str, list[str]] = defaultdict(list)  # chat -> keys, in the order of their coming
        self.connections = 0
        self._unacknowledged = dict.fromkeys(id for _, id in messages)
        self._chats = {id: chat for chat, id in messages}
        self._writer: asyncio.StreamWriter | None = None
        self._delivered: set[str] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        if self._writer is not None:
            self._writer.close()
        await self._server.wait_closed()

    @property
    def all_acknowledged(self) -> bool:
        """Whether the bot has journaled every message."""
        return not self._unacknowledged

    @property
    def keys(self) -> list[str]:
        """Every key that came, once for each time that it came."""
        return [key for keys in self.sent.values() for key in keys]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = writer
        self.connections += 1
        self._delivered = set()
        self._deliver()
        try:
            while line := await reader.readline():
                if not line.endswith(b"\n"):
                    return  # cut by a kill in the middle of a line: as if it had not been sent
                self._take(json.loads(line), writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _take(self, line: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        match line["type"]:
            case "acknowledge":
                for id in line["ids"]:
                    self._unacknowledged.pop(id, None)
                self._deliver()
            case "send":
                self.sent[line["chat"]].append(line["key"])
                _write(writer, {"type": "sent", "key": line["key"]})

    def _deliver(self) -> None:
        assert self._writer is not None
        for id in list(self._unacknowledged)[:AHEAD]:
            if id not in self._delivered:
                self._delivered.add(id)
                _write(self._writer, {"type": "message", "chat": self._chats[id], "id": id})


def _write(writer: asyncio.StreamWriter, line: dict[str, Any]) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(line).encode() + b"\n")
