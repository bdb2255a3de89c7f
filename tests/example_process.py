"""The example as a process of its own, for tests."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.whatsapp_server import launch, trust
from tests.whatsapp_server.seeding import seed_device
from tests.whatsapp_server.server import WhatsAppServer

EXAMPLE = Path(__file__).parents[1] / "examples" / "tecnobot_app.py"
DEMO = EXAMPLE.parent / "data" / "demo_shop.toml"

# What the gateway process runs before it connects; it knows nothing of the tests otherwise.
_TRUST = """
import runpy
runpy.run_path({path!r})["install"](bytes.fromhex({root!r}))
"""


def environment(data_dir: Path, **extra: str) -> dict[str, str]:
    """What the example sees: little of ours, and a free port."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "DATA_DIR": str(data_dir), "WEB_PORT": "0", "PYTHONUTF8": "1", **extra}


@contextlib.contextmanager
def serving(data_dir: Path, **extra: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The web page, and its address."""
    command = [sys.executable, str(EXAMPLE)]
    with subprocess.Popen(command, env=environment(data_dir, **extra), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = re.search(r"http://\S+", process.stdout.readline())
            assert url is not None
            yield process, url[0]
        finally:
            process.kill()


class WhatsAppExample:
    """The example over the WhatsApp of *server*, where its name is "bot"; everything it keeps is in *directory*.

    *more* is TOML that is put behind the demo business, *environment* the example's variables. It can be started again
    and again. ``said`` holds the lines that it printed, ``events`` what happened in it, over all its starts.
    """

    def __init__(
        self,
        server: WhatsAppServer,
        directory: Path,
        *,
        more: str = "",
        settle_s: float = 0.0,
        held_s: float = 20.0,
        **environment: str,
    ) -> None:
        self.data_dir = directory / "data"
        self.said: list[str] = []
        self.log = directory / "example.log"
        self.wanted_neonize = ""
        """Another version than the one that is installed; empty: that one."""
        self._server = server
        self._environment = environment
        self._events = directory / "events.jsonl"
        self._process: asyncio.subprocess.Process | None = None
        self._changed = asyncio.Event()
        hook, demo = directory / "trust_the_server.py", directory / "demo.toml"
        hook.write_text(_TRUST.format(path=trust.__file__, root=server.trust_root.hex()))
        demo.write_text(DEMO.read_text("utf-8") + more, "utf-8")
        self._settings = {
            "proxy": server.proxy_url("bot"),
            "certificates": server.environment()["SSL_CERT_FILE"],
            "before_connecting": str(hook),
            "demo": str(demo),
            "settle_s": settle_s,
            "held_s": held_s,
            "events": str(self._events),
        }

    async def seed(self, number: str, device: int = 7) -> None:
        """Let it be paired with the account *number* already."""
        folder = self.data_dir / "whatsapp"
        folder.mkdir(mode=0o700, parents=True)
        await asyncio.to_thread(seed_device, folder / "session.db", number, device, "Bot")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await self.end(signal.SIGKILL)

    async def start(self, *arguments: str) -> None:
        """Start it; what it says comes by and by."""
        settings = {**self._settings, "wanted_neonize": self.wanted_neonize}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *launch.command("tests.whatsapp_example", json.dumps(settings), "--whatsapp", *arguments),
                env=environment(self.data_dir, **self._environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self._reading = asyncio.create_task(self._read(), name="read the example")

    async def connect(self, *arguments: str) -> None:
        """Start it, and return when it is connected."""
        begin = len(self.said)
        await self.start(*arguments)
        await self.until(lambda: "WhatsApp is connected" in self.said[begin:])

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal; its exit status."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        return await self.ended()

    async def ended(self, timeout_s: float = 20) -> int:
        """The exit status, once it has ended by itself."""
        assert self._process is not None
        async with asyncio.timeout(timeout_s):
            status = await self._process.wait()
        await self._reading
        self._process = None
        return status

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        """Return when *condition* holds; what it is about may be of another process."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(f"{self.said[-5:]} {self.log.read_text()[-2000:]}") from None

    @property
    def process(self) -> psutil.Process:
        """It itself."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def gateway(self) -> psutil.Process:
        """The process in which the library lives."""
        return next(child for child in self.process.children() if "child/__main__.py" in " ".join(child.cmdline()))

    @property
    def url(self) -> str:
        """Of its web server; of the last start."""
        found = re.search(r"http://\S+/", next(line for line in reversed(self.said) if "http://" in line))
        assert found is not None
        return found[0]

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What happened, or what of the event class *name*."""
        lines = self._events.read_text("utf-8").splitlines(keepends=True) if self._events.exists() else []
        told = [json.loads(line) for line in lines if line.endswith("}\n")]
        return [event for event in told if event["event"] == name or not name]

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.said.append(line.decode().rstrip("\n"))
