"""Copies of a session in PostgreSQL: few, encrypted, and never used once they were revoked."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tecnobot_core.adapters.neonize import WhatsAppTransport
from tecnobot_core.adapters.postgres.chatbots import PostgresChatbots
from tecnobot_core.adapters.postgres.sessions import MAX_BYTES, PostgresSessions, session_copies, stored_copies
from tecnobot_core.config import Settings
from tecnobot_core.connection import ConnectionManager
from tecnobot_core.errors import ConfigurationError, LoggedOutError, StoreError
from tests.whatsapp_server import trust
from tests.whatsapp_server.seeding import seed_device
from tests.whatsapp_server.server import WhatsAppServer

if TYPE_CHECKING:
    from tests.counting import CountingDatabase

pytestmark = pytest.mark.postgres

KEY = b"k" * 32


@pytest.fixture
def copies(database: "CountingDatabase") -> PostgresSessions:
    return PostgresSessions(database, "shop", KEY)


async def contents(database: "CountingDatabase") -> list[bytes]:
    return [row[0] for row in await database.fetch("SELECT content FROM tecnobot.session_copy ORDER BY id")]


async def test_what_was_put_last_comes_back_as_it_was(copies: PostgresSessions) -> None:
    assert await copies.latest() is None
    big = os.urandom(3_000_000)
    for number, content in enumerate([b"", b"\x00" * 100_000, big]):
        await copies.put(content, number + 0.123456789)
        assert await copies.latest() == (content, number + 0.123456789)


async def test_three_copies_are_kept(copies: PostgresSessions, database: "CountingDatabase") -> None:
    for number in range(5):
        await copies.put(b"%d" % number, float(number))
    assert [copy.taken_at for copy in await stored_copies(database, "shop")] == [4, 3, 2]


async def test_the_last_that_came_is_the_newest_whatever_the_clocks_say(copies: PostgresSessions) -> None:
    await copies.put(b"from a clock that is ahead", 2e9)
    await copies.put(b"later", 1e9)
    assert await copies.latest() == (b"later", 1e9)


async def test_the_same_copy_put_twice_is_there_once(copies: PostgresSessions, database: "CountingDatabase") -> None:
    for number in (1, 2, 3, 3):
        await copies.put(b"content", float(number))
    assert [copy.taken_at for copy in await stored_copies(database, "shop")] == [3, 2, 1]


async def test_nothing_of_a_copy_can_be_read_in_the_database(
    copies: PostgresSessions, database: "CountingDatabase"
) -> None:
    await copies.put(b"the private key of the account", 1.0)
    await copies.put(b"the private key of the account", 2.0)
    first, second = await contents(database)
    assert b"private" not in first
    assert first[13:-16] != second[13:-16]  # between nonce and tag


async def test_a_damaged_copy_is_passed_over(
    copies: PostgresSessions, database: "CountingDatabase", caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        await copies.put(b"%d" % number, float(number))
    await database.execute("UPDATE tecnobot.session_copy SET content = '' WHERE taken_at = 2")
    await database.execute(
        "UPDATE tecnobot.session_copy SET content = set_byte(content, 20, 1 # get_byte(content, 20)) WHERE taken_at = 1"
    )
    with caplog.at_level(logging.WARNING):
        assert await copies.latest() == (b"0", 0.0)
    assert caplog.text.count("SECRET_KEY") == 2


async def test_a_copy_opens_only_with_its_secret_its_chatbot_and_its_time(
    copies: PostgresSessions, database: "CountingDatabase"
) -> None:
    await copies.put(b"content", 1.0)
    assert await PostgresSessions(database, "shop", b"K" * 32).latest() is None
    await database.execute("UPDATE tecnobot.session_copy SET taken_at = 5")
    assert await copies.latest() is None
    await database.execute("UPDATE tecnobot.session_copy SET taken_at = 1, chatbot_id = 'bakery'")
    assert await PostgresSessions(database, "bakery", KEY).latest() is None
    await database.execute("UPDATE tecnobot.session_copy SET chatbot_id = 'shop'")
    assert await copies.latest() == (b"content", 1.0)


async def test_what_was_revoked_is_kept_and_never_used(copies: PostgresSessions, database: "CountingDatabase") -> None:
    other = PostgresSessions(database, "bakery", KEY)
    await other.put(b"bread", 1.0)
    for number in range(3):
        await copies.put(b"old account", float(number))
    await copies.revoke()
    assert await copies.latest() is None
    for number in range(10, 14):
        await copies.put(b"new account", float(number))
    assert await copies.latest() == (b"new account", 13.0)
    stored = await stored_copies(database, "shop")
    assert [copy.revoked for copy in stored] == [False] * 3 + [True] * 3
    assert await other.latest() == (b"bread", 1.0)


async def test_a_copy_that_is_too_large_is_refused(copies: PostgresSessions) -> None:
    with pytest.raises(StoreError, match="too large"):
        await copies.put(bytes(MAX_BYTES + 1), 1.0)


async def test_with_the_chatbot_its_copies_go(copies: PostgresSessions, database: "CountingDatabase") -> None:
    await copies.put(b"content", 1.0)
    await PostgresChatbots(database).remove("shop")
    assert await contents(database) == []


async def test_copies_need_a_database_that_outlives_the_machine_and_a_key_that_does(
    database: "CountingDatabase", database_url: str
) -> None:
    def made(**variables: str) -> PostgresSessions | None:
        return session_copies(Settings.from_env(variables), database, "shop")

    assert made() is None
    assert made(DATABASE_URL=database_url, WHATSAPP_SESSION_URL=database_url) is None
    with pytest.raises(ConfigurationError, match="SECRET_KEY must be set when DATABASE_URL is"):
        made(DATABASE_URL=database_url)
    key = "correct horse battery staple, twice"
    first, second = (made(DATABASE_URL=database_url, SECRET_KEY=key, DATA_DIR=where) for where in ("/a", "/b"))
    assert first is not None
    assert second is not None
    await first.put(b"content", 1.0)
    assert await second.latest() == (b"content", 1.0)


def test_a_short_secret_is_refused(database: "CountingDatabase") -> None:
    with pytest.raises(ValueError, match="at least 32 bytes, not 8"):
        PostgresSessions(database, "shop", b"12345678")


# With the real library and the project's own WhatsApp server

needs_library = pytest.mark.skipif(trust.missing() is not None, reason=str(trust.missing()))
Machine = Callable[[str], WhatsAppTransport]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[WhatsAppServer]:
    async with WhatsAppServer(tmp_path) as server:
        yield server


@pytest.fixture
def machine(server: WhatsAppServer, copies: PostgresSessions, tmp_path: Path) -> Machine:
    """A bot on a machine of that name."""
    hook = tmp_path / "trust_the_server.py"
    install = f"runpy.run_path({trust.__file__!r})['install'](bytes.fromhex({server.trust_root.hex()!r}))"
    hook.write_text(f"import runpy\n{install}\n")

    def start(name: str) -> WhatsAppTransport:
        return WhatsAppTransport(
            tmp_path / name,
            copies=copies,
            proxy=server.proxy_url("bot"),
            certificates=Path(server.environment()["SSL_CERT_FILE"]),
            before_connecting=hook,
        )

    return start


async def visit(transport: WhatsAppTransport) -> list[str]:
    """Connect and leave; what happened, by name. TransportError when that cannot be."""
    manager = ConnectionManager(transport, max_attempts=2)
    seen: list[str] = []
    for name in ("session_restored", "session_saved", "session_save_failed"):
        manager.on(name, lambda event, name=name: seen.append(name))
    async with manager, asyncio.timeout(20):
        offered = asyncio.Event()
        manager.on("pairing", lambda event: offered.set())
        await manager.wait_connected()
        assert not offered.is_set()
    return seen


@needs_library
async def test_a_machine_without_files_logs_in_until_the_account_removes_the_device(
    machine: Machine, server: WhatsAppServer, database: "CountingDatabase", tmp_path: Path
) -> None:
    first = machine("first")
    first.session.prepare()
    await asyncio.to_thread(seed_device, first.session.path, "5511900000001", 7, "Bot")
    assert await visit(first) == ["session_saved"]
    assert await visit(machine("second")) == ["session_restored", "session_saved"]
    await server.set_mode("bot", on_connect="once failure 401")
    third = machine("third")
    with pytest.raises(LoggedOutError):
        await visit(third)
    assert all(copy.revoked for copy in await stored_copies(database, "shop"))
    assert not third.session.path.exists()
    # No copy comes back: somebody has to pair.
    manager = ConnectionManager(machine("fourth"))
    async with manager, asyncio.timeout(20):
        offered = asyncio.Event()
        manager.on("pairing", lambda event: offered.set())
        await offered.wait()
