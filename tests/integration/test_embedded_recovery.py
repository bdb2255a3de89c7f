"""A private server that waits for a recovery which nobody does is ended and started again; one that recovers is not."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest

from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.embedded_postgres.connecting import dsn, lets_nobody_in
from tecnobot_core.adapters.embedded_postgres.directory import PrivateDirectory
from tecnobot_core.adapters.embedded_postgres.family import Family
from tecnobot_core.adapters.embedded_postgres.recovering import LOOK_EVERY_S, PATIENCE_S, RecoveryWatch
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock
from tests.crash.checks import eventually
from tests.crash.servers import kill_cluster, new_folder, read_only, use_up_wal

pytestmark = pytest.mark.postgres

SOON_S = 20
SPEED = 20

# Opens the folder in argv[1], and stays.
OWNER = """
import asyncio, sys
from pathlib import Path
from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1]), sleep=lambda seconds: asyncio.sleep(3600)) as server:
        print(server.pid, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


def fast_clock() -> float:
    return SPEED * time.monotonic()


async def fast_sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / SPEED)


def server_in(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory, clock=fast_clock, sleep=fast_sleep)


@pytest.fixture
def directory() -> Iterator[Path]:
    with new_folder() as folder:
        yield folder / "postgres"


async def make_tables(url: str) -> None:
    """One whose files PostgreSQL removes before it recovers, and one that it keeps."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE UNLOGGED TABLE IF NOT EXISTS lost AS SELECT 1; CREATE TABLE kept AS SELECT 1")
    await connection.close()


async def tables(url: str) -> tuple[int, int]:
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow("SELECT (SELECT count(*) FROM lost), (SELECT count(*) FROM kept)")
        assert row is not None
        return tuple(row)
    finally:
        await connection.close()


def family(directory: Path, pid: Callable[[], int | None]) -> Family:
    return Family(directory / "data", pid, clock=fast_clock, sleep=fast_sleep)


def titles(directory: Path) -> set[str]:
    found = family(directory, PrivateDirectory(directory).server_pid).titles()
    return {title.removeprefix("postgres: tecnobot: ") for title in found}


async def get_stuck(directory: Path, is_so: Callable[[], bool]) -> None:
    """As a folder that may not be written makes it, and goes on being so until *is_so*."""
    with read_only(directory / "data"):
        await use_up_wal(directory)
        await eventually(is_so, SOON_S)


async def test_a_server_that_does_not_recover_is_ended_and_the_next_one_recovers(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_in(directory) as server:
        await make_tables(server.dsn)
        stuck, ending = server.pid, f"PostgreSQL in {directory} does not recover, ending it"
        await get_stuck(directory, lambda: ending in caplog.messages)
        await eventually(lambda: server.pid != stuck, SOON_S)
        assert await tables(server.dsn) == (0, 1)
        assert server.owner
    assert caplog.messages[0] == ending
    assert caplog.messages[-1] == f"PostgreSQL in {directory} runs again"


async def test_a_server_that_does_not_recover_and_lost_its_owner_keeps_nobody_from_opening(directory: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, directory), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    stuck = int(await owner.stdout.readline())
    await make_tables(dsn(directory))
    await get_stuck(directory, lambda: titles(directory) == {"checkpointer", "background writer"})
    owner.kill()
    await owner.wait()
    async with server_in(directory) as server:
        assert server.owner
        assert server.pid != stuck
        assert await tables(server.dsn) == (0, 1)


async def startup_process(directory: Path) -> psutil.Process:
    """The process that recovers, as soon as there is one; held."""
    postmaster = psutil.Process(PrivateDirectory(directory).server_pid())
    async with asyncio.timeout(SOON_S):
        while True:
            for process in postmaster.children():
                with suppress(psutil.Error):
                    if " ".join(process.cmdline()).startswith("postgres: tecnobot: startup"):
                        process.suspend()
                        return process
            await asyncio.sleep(0)


async def test_a_server_that_recovers_for_long_is_left_alone(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    # What is not yet in the tables takes a while to replay.
    options = {"max_wal_size": "1GB", "wal_compression": "off"}
    async with EmbeddedPostgres(directory, options=options) as server:
        await make_tables(server.dsn)
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("CREATE TABLE much (x text)")
        await connection.execute("INSERT INTO much SELECT repeat('x', 1000) FROM generate_series(1, 60000)")
        pid, clock, processes = server.pid, FakeClock(), family(directory, lambda: server.pid)
        watch = RecoveryWatch(
            directory,
            titles=processes.titles,
            lets_nobody_in=lambda: lets_nobody_in(server.dsn),
            end=processes.end,
            clock=clock,
            sleep=clock.sleep,
        )
        psutil.Process(connection.get_server_pid()).kill()
        connection.terminate()
        recovering = await startup_process(directory)
        assert await lets_nobody_in(server.dsn)
        for _ in range(10):
            await watch.check()
            await clock.advance(PATIENCE_S)
            await asyncio.sleep(0.02)  # whoever asked is gone
        recovering.resume()

        async def is_whole() -> bool:
            with suppress(asyncpg.CannotConnectNowError):
                return await tables(server.dsn) == (0, 1)
            return False

        await eventually(is_whole, SOON_S)
        assert server.pid == pid
    assert caplog.messages == []


async def test_a_server_that_does_not_even_quit_is_killed(directory: Path) -> None:
    async with server_in(directory) as server:
        await make_tables(server.dsn)
        held = server.pid
        psutil.Process(held).suspend()
        await family(directory, lambda: held).end()
        await eventually(lambda: server.pid != held, SOON_S)
        assert await tables(server.dsn) == (0, 1)


async def test_a_pid_that_is_a_stranger_s_now_is_left_alone(directory: Path) -> None:
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        (directory / "data").mkdir(parents=True)
        strange = family(directory, lambda: stranger.pid)
        assert strange.titles() == []
        await strange.end()
        assert stranger.returncode is None
        assert psutil.Process(stranger.pid).status() != psutil.STATUS_ZOMBIE
    finally:
        stranger.kill()
        await stranger.wait()


async def test_a_server_that_works_is_found_among_all_processes_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server_in(directory) as server:
        watched = family(directory, lambda: server.pid)
        await eventually(lambda: "postgres: tecnobot: walwriter" in watched.titles(), SOON_S)
        monkeypatch.setattr(psutil.Process, "children", None)
        assert watched.titles() == ["postgres: tecnobot: walwriter"]
        monkeypatch.undo()
        kill_cluster(server.pid)
        await eventually(lambda: watched.titles() != ["postgres: tecnobot: walwriter"], SOON_S)


# The watch alone.

STUCK = ("postgres: checkpointer", "postgres: background writer")
WORKS = (*STUCK, "postgres: tecnobot: walwriter")


class Looks:
    """A watch over a server that has *titles*, and lets nobody in, or does."""

    def __init__(self) -> None:
        self.titles: Sequence[str] = STUCK
        self.is_closed = True
        self.asked = self.ended = 0
        self.clock = FakeClock()
        self.watch = RecoveryWatch(
            Path("/x"),
            titles=lambda: self.titles,
            lets_nobody_in=self._lets_nobody_in,
            end=self._end,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    async def _lets_nobody_in(self) -> bool:
        self.asked += 1
        return self.is_closed

    async def _end(self) -> None:
        self.ended += 1

    async def after(self, seconds: float, *titles: str, is_closed: bool = True) -> int:
        """How many servers were ended, with a look after *seconds*."""
        await self.clock.advance(seconds)
        self.titles, self.is_closed = titles, is_closed
        await self.watch.check()
        return self.ended


async def test_it_is_ended_after_the_patience_and_not_before() -> None:
    looks = Looks()
    assert [await looks.after(s, *STUCK) for s in (0, PATIENCE_S - 1, 1, 1, PATIENCE_S)] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("titles", "is_closed"),
    [
        ((*STUCK, "postgres: tecnobot: startup recovering 000000010000000000000003"), True),
        ((*STUCK, "postgres: startup "), True),
        ((*STUCK, "postgres: wal writer process"), True),
        (WORKS, True),
        (("postgres: tecnobot: checkpointer performing shutdown checkpoint",), True),
        (STUCK, False),
        ((), True),
    ],
)
async def test_what_recovers_works_stops_in_order_or_has_ended_begins_the_patience_anew(
    titles: tuple[str, ...], is_closed: bool
) -> None:
    looks = Looks()
    await looks.after(0, *STUCK)
    assert await looks.after(PATIENCE_S, *titles, is_closed=is_closed) == 0
    assert await looks.after(0, *STUCK) == 0
    assert await looks.after(PATIENCE_S, *STUCK) == 1


@pytest.mark.parametrize("unknown", ["", "/usr/lib/postgresql/18/bin/postgres -D /data"])
async def test_a_process_without_a_name_may_be_the_one_that_recovers(unknown: str) -> None:
    looks = Looks()
    await looks.after(0, *STUCK)
    assert await looks.after(9 * PATIENCE_S, *STUCK, unknown) == 0
    assert await looks.after(0, *STUCK) == 1


async def test_a_connection_that_is_being_made_recovers_nothing() -> None:
    looks = Looks()
    connecting = "postgres: tecnobot: postgres tecnobot [local] startup"
    assert [await looks.after(s, *STUCK, connecting) for s in (0, PATIENCE_S)] == [0, 1]


async def test_a_server_that_works_is_asked_nothing() -> None:
    looks = Looks()
    await looks.after(0, *WORKS)
    assert looks.asked == 0


async def test_it_looks_again_and_again() -> None:
    looks = Looks()
    async with Tasks("test") as tasks:
        tasks.start(looks.watch.run(), "watch")
        await looks.clock.advance(LOOK_EVERY_S + PATIENCE_S)
    assert looks.ended == 1
