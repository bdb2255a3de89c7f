"""Manager, gateway and library together, against a server that fails in every way that it can: the truth, and back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core.connection import ConnectionManager, DisconnectReason
from tecnobot_core.connection.status import ConnectionStatus
from tecnobot_core.events import Connected, ConnectionFailed, Disconnected, PairingEnded, PairingOffered
from tests.integration.test_whatsapp_gateway import Stage, staged
from tests.whatsapp_server import trust

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(trust.missing() is not None, reason=str(trust.missing())),
]

MAX_DELAY_S = 2.0


class Link:
    """A manager over the real gateway, and what it told."""

    def __init__(self, stage: Stage, **options: Any) -> None:
        self.stage = stage
        self.manager = ConnectionManager(
            stage.bot, base_delay_s=0.5, max_delay_s=MAX_DELAY_S, jitter=lambda delay_s: delay_s, **options
        )
        self.events: list[object] = []
        self._more = asyncio.Event()
        for kind in (Connected, Disconnected, ConnectionFailed, PairingOffered, PairingEnded):
            self.manager.events.on(kind, self._hear)

    def _hear(self, event: object) -> None:
        self.events.append(event)
        self._more.set()

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._more.clear()
                await self._more.wait()

    @property
    def status(self) -> ConnectionStatus:
        return self.manager.status()

    async def dials(self) -> int:
        return (await self.stage.server.statistics())["upgrades"]


@pytest.fixture
async def empty_stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
async def stage(empty_stage: Stage) -> Stage:
    await empty_stage.seed()
    return empty_stage


@asynccontextmanager
async def connected(stage: Stage, **options: Any) -> AsyncIterator[Link]:
    link = Link(stage, **options)
    async with link.manager:
        async with asyncio.timeout(20):
            await link.manager.wait_connected()
        yield link


@pytest.mark.parametrize("fault", ["streamerr 503", "streamerr 999", "close", "rst"])
async def test_what_the_server_ends_is_connected_again_once(stage: Stage, fault: str) -> None:
    async with connected(stage) as link:
        before = await link.dials()
        await stage.server.fault("bot", fault)
        await link.until(lambda: link.count(Connected) == 2, 20)
        assert link.count(Disconnected) == 1
        await stage.bot.ping()
        assert await link.dials() == before + 1


async def test_a_restart_that_the_server_asks_for_is_the_library_s_own_affair(stage: Stage) -> None:
    async with connected(stage) as link:
        before = await link.dials()
        await stage.server.fault("bot", "streamerr 515")
        async with asyncio.timeout(20):
            while await link.dials() == before:
                await asyncio.sleep(0.05)
            while (await stage.server.statistics())["logins"] < 2:
                await asyncio.sleep(0.05)
        await stage.bot.ping()
        assert await link.dials() == before + 1
        assert (link.status.state, link.count(Disconnected)) == ("connected", 0)


@pytest.mark.parametrize("code", ["401", "403", "406"])
async def test_an_account_that_refuses_the_device_is_dialled_once(stage: Stage, code: str) -> None:
    await stage.server.set_mode("bot", on_connect=f"failure {code}")
    link = Link(stage)
    async with link.manager:
        await link.until(lambda: link.count(ConnectionFailed) == 1, 30)
        assert (link.status.state, link.status.last_reason) == ("failed", DisconnectReason.LOGGED_OUT)
        assert "pair it again" in link.status.advice
        assert await link.dials() == 1
        assert link.count(PairingOffered) == 0
    assert not stage.bot.session.path.exists()
    assert list(stage.bot.session.path.parent.rglob("*quarantine*"))


@pytest.mark.parametrize("fault", ["failure 402 999 60", "failure 418"])
async def test_a_word_that_the_library_cannot_read_is_retried_by_another_process(stage: Stage, fault: str) -> None:
    await stage.server.set_mode("bot", on_connect=f"once {fault}")
    link = Link(stage)
    async with link.manager:
        async with asyncio.timeout(40):
            await link.manager.wait_connected()
        assert (await stage.server.statistics())["links"] == 1  # no other process holds a link


@pytest.mark.parametrize(
    "modes", [{"proxy": "refuse"}, {"proxy": "hang"}, {"upgrade": "hang"}, {"upgrade": "503"}, {"handshake": "hang"}]
)
async def test_what_cannot_connect_tries_on_and_is_connected_when_it_can(stage: Stage, modes: dict[str, str]) -> None:
    async with connected(stage, connect_timeout_s=3, auth_timeout_s=3, heal_timeout_s=1) as link:
        await stage.server.set_mode("bot", **modes)
        await stage.server.cut("bot")
        await link.until(lambda: link.count(Disconnected) == 1, 20)
        async with asyncio.timeout(60):
            while link.status.opens < 3:
                await asyncio.sleep(0.05)
        assert link.status.state != "connected"
        await stage.server.set_mode("bot", **dict.fromkeys(modes))
        async with asyncio.timeout(MAX_DELAY_S + 3 + 10):  # a try that hangs is given up first
            await link.manager.wait_connected()
        assert link.count(Disconnected) == 1
        await stage.bot.ping()


async def test_a_server_that_says_nothing_after_the_handshake_is_given_up_and_tried_again(stage: Stage) -> None:
    await stage.server.set_mode("bot", on_connect="once mute")
    link = Link(stage, auth_timeout_s=3)
    async with link.manager:
        async with asyncio.timeout(30):
            await link.manager.wait_connected()
        assert link.status.opens == 2


async def test_a_half_open_link_is_found_and_replaced_in_time(stage: Stage) -> None:
    async with connected(stage) as link:
        loop = asyncio.get_running_loop()
        await stage.server.fault("bot", "mute")
        began = loop.time()
        await link.until(lambda: link.count(Disconnected) == 1, 60)
        lost_s = loop.time() - began
        await link.until(lambda: link.count(Connected) == 2, 60)
        assert lost_s <= 41
        assert loop.time() - began <= 50


async def test_codes_that_nobody_scans_end_as_the_library_ends_them(empty_stage: Stage) -> None:
    link = Link(empty_stage)
    async with link.manager:
        await link.until(lambda: link.count(ConnectionFailed) == 1, 200)
        assert link.status.last_reason == DisconnectReason.PAIRING_TIMEOUT
        assert link.count(PairingOffered) == 6
        assert not next(event for event in link.events if isinstance(event, PairingEnded)).paired
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began <= 10
