"""The faulty proxy in front of an echo server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tecnobot_core.testing import FakeClock, FaultyProxy


class EchoServer:
    """Says what it hears; ``heard`` is all of it."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.heard += data
                writer.write(data)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)

    @property
    def clients(self) -> int:
        return len(self._writers)


@pytest.fixture
async def echo() -> EchoServer:
    return EchoServer()


@pytest.fixture
async def target(echo: EchoServer) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[:2]
    server.close()
    await until(lambda: echo.clients == 0)


@pytest.fixture
async def proxy(target: tuple[str, int]) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(target) as proxy:
        yield proxy


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def connect(proxy: FaultyProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(proxy.host, proxy.port)


async def ask(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], text: bytes) -> bytes:
    reader, writer = stream
    writer.write(text)
    async with asyncio.timeout(10):
        return await reader.readexactly(len(text))


async def answers(proxy: FaultyProxy) -> bool:
    """Whether a new connection works."""
    stream = await connect(proxy)
    answer = await ask(stream, b"hola")
    stream[1].close()
    return answer == b"hola"


async def ends(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    """Whether the connection ends without another byte."""
    try:
        async with asyncio.timeout(10):
            return await stream[0].read() == b""
    except ConnectionError:
        return True
    finally:
        stream[1].close()


async def test_what_goes_in_comes_out_unchanged_and_the_end_too(proxy: FaultyProxy) -> None:
    reader, writer = await connect(proxy)
    sent = bytes(range(256)) * 4096

    async def send() -> None:
        writer.write(sent)
        writer.write_eof()
        await writer.drain()

    received, _ = await asyncio.gather(reader.read(-1), send())
    assert received == sent
    writer.close()
    await until(lambda: proxy.connections == 0)
    assert proxy.accepted == 1


async def test_the_target_may_be_a_unix_socket(echo: EchoServer, tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(echo.serve, tmp_path / "s")
    async with FaultyProxy(tmp_path / "s") as proxy:
        stream = await connect(proxy)
        assert await ask(stream, b"hola") == b"hola"
        stream[1].close()
        await until(lambda: echo.clients == 0)
    server.close()


async def test_a_target_that_is_away_ends_the_connection(tmp_path: Path) -> None:
    async with FaultyProxy(tmp_path / "nothing") as proxy:
        assert await ends(await connect(proxy))
        await until(lambda: proxy.connections == 0)


async def test_a_delay_holds_every_byte_back_in_each_direction(target: tuple[str, int], echo: EchoServer) -> None:
    clock = FakeClock()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await clock.sleep(seconds)

    async with FaultyProxy(target, delay_s=0.5, clock=clock, sleep=sleep) as proxy:
        reader, writer = await connect(proxy)
        writer.write(b"a")
        await until(lambda: slept == [0.5])
        await clock.advance(0.49)
        assert echo.heard == b""
        await clock.advance(0.01)
        await until(lambda: slept == [0.5, 0.5])
        assert echo.heard == b"a"
        await clock.advance(0.5)
        assert await reader.readexactly(1) == b"a"
        writer.close()


async def test_a_delay_does_not_change_the_rate(proxy: FaultyProxy) -> None:
    proxy.delay_s = 0.1
    reader, writer = await connect(proxy)
    began_at = time.monotonic()
    sent = bytes(32 * 65536)
    writer.write(sent)
    assert await reader.readexactly(len(sent)) == sent
    assert 0.2 <= time.monotonic() - began_at < 2.0  # chunk after chunk it would take 6.4 s
    writer.close()


async def test_nothing_travels_while_stalled(proxy: FaultyProxy, echo: EchoServer) -> None:
    stream = await connect(proxy)
    assert await ask(stream, b"1") == b"1"
    proxy.stalled = True
    stream[1].write(b"2")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await stream[0].read(1)
    assert echo.heard == b"1"
    proxy.stalled = False
    assert await stream[0].readexactly(1) == b"2"
    stream[1].close()


@pytest.mark.parametrize("stalled", [False, True])
async def test_a_cut_ends_every_connection_on_both_sides(proxy: FaultyProxy, echo: EchoServer, stalled: bool) -> None:
    streams = [await connect(proxy) for _ in range(3)]
    for stream in streams:
        await ask(stream, b"x")
    proxy.stalled = stalled
    streams[0][1].write(b"on its way")
    assert (proxy.connections, echo.clients) == (3, 3)
    assert proxy.cut() == 3
    assert [await ends(stream) for stream in streams] == [True] * 3
    await until(lambda: echo.clients == 0)
    assert proxy.connections == 0
    proxy.stalled = False
    assert await answers(proxy)


async def test_a_lost_answer_is_a_request_that_arrived_and_a_connection_that_is_cut(
    proxy: FaultyProxy, echo: EchoServer
) -> None:
    stream = await connect(proxy)
    await ask(stream, b"1")
    proxy.lose_answers = True
    stream[1].write(b"2")
    assert await ends(stream)
    assert echo.heard == b"12"
    proxy.lose_answers = False
    assert await answers(proxy)


async def test_refusing_lets_nobody_new_in_and_keeps_who_is_there(proxy: FaultyProxy) -> None:
    stream = await connect(proxy)
    port = proxy.port
    await ask(stream, b"1")
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    assert await ask(stream, b"2") == b"2"
    await proxy.listen()
    assert proxy.port == port
    assert await answers(proxy)
    stream[1].close()


async def test_closing_ends_all_connections(target: tuple[str, int], echo: EchoServer) -> None:
    async with FaultyProxy(target) as proxy:
        stream = await connect(proxy)
        await ask(stream, b"1")
    assert await ends(stream)
    await until(lambda: echo.clients == 0)
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
