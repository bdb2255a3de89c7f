"""A private server that ends, a disk that is full or read-only, while bots talk: back by itself, nothing lost."""

import asyncio
import fcntl
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO

import asyncpg
import psutil
import pytest

from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.embedded_postgres.connecting import dsn, ensure_database
from tecnobot_core.adapters.embedded_postgres.directory import PrivateDirectory
from tecnobot_core.adapters.embedded_postgres.keeping import STEADY_S, Keeper
from tecnobot_core.adapters.postgres import Database
from tecnobot_core.errors import StoreError
from tecnobot_core.testing import FakeClock
from tests.crash.checks import bot_process, conversation, ends_by_itself, eventually, everything_agrees, finishes
from tests.crash.phones import Phones
from tests.crash.servers import MIB, kill_cluster, new_folder, read_only, rights_are_kept, use_up_wal
from tests.example_process import EXAMPLE, environment, serving

pytestmark = pytest.mark.postgres

SOON_S = 10  # "a few seconds", on a machine that others use too

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts disks")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder that does not exist; those above it keep their rights."""
    with new_folder() as folder:
        yield folder / "postgres"


@pytest.fixture(scope="module")
def shared_directory() -> Iterator[Path]:
    """A folder in which all tests of the server alone start theirs."""
    with new_folder() as folder:
        yield folder / "postgres"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no right to mount a disk")
    try:
        with rights_are_kept(disk, *disk.parents):
            yield disk
    finally:
        # Lazy, as a server that has lost its bot may still be ending.
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IO[str]]:
    """What a bot says."""
    with (tmp_path_factory.mktemp("log") / "bot.log").open("a+") as file:
        yield file


def said(log: IO[str]) -> list[str]:
    log.seek(0)
    return log.read().splitlines()


@asynccontextmanager
async def phones_for(messages: Sequence[tuple[str, str]]) -> AsyncIterator[Phones]:
    with tempfile.TemporaryDirectory() as folder:
        async with Phones(Path(folder) / "phones", messages) as phones:
            yield phones


async def has_answered(phones: Phones, number: int, timeout_s: float = 60) -> None:
    await eventually(lambda: len(phones.keys) >= number, timeout_s)


async def goes_on(phones: Phones, messages: Sequence[tuple[str, str]]) -> None:
    await has_answered(phones, min(len(phones.keys) + 20, len(messages)), SOON_S)


def server_of(directory: Path) -> psutil.Process:
    pid = PrivateDirectory(directory).server_pid()
    assert pid is not None
    return psutil.Process(pid)


async def is_served_by(directory: Path, bot: asyncio.subprocess.Process) -> None:
    """What was on its way may be answered before the server is there again."""

    def is_so() -> bool:
        pid = PrivateDirectory(directory).server_pid()
        with suppress(psutil.NoSuchProcess):
            return pid is not None and psutil.Process(pid).ppid() == bot.pid
        return False

    await eventually(is_so, SOON_S)


def is_locked(directory: Path) -> bool:
    with (directory / "server.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def ask(server: EmbeddedPostgres, question: str) -> object:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


# The server alone.


async def test_a_killed_server_runs_again_and_the_log_tells_both_in_a_line_each(
    shared_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedPostgres(shared_directory) as server:
        await ask(server, "CREATE TABLE IF NOT EXISTS kept ()")
        killed = server.pid
        kill_cluster(killed)
        await eventually(lambda: server.pid != killed, SOON_S)
        assert await ask(server, "SELECT count(*) FROM kept") == 0
        assert server.owner
    assert caplog.messages == [
        f"PostgreSQL in {shared_directory} has ended, starting it again",
        f"PostgreSQL in {shared_directory} runs again",
    ]
    assert not is_locked(shared_directory)


async def test_who_stays_starts_the_server_when_its_owner_leaves(shared_directory: Path) -> None:
    async with EmbeddedPostgres(shared_directory) as first, EmbeddedPostgres(shared_directory) as second:
        address = second.dsn
        await first.aclose()
        await eventually(lambda: second.owner, SOON_S)
        assert await ask(second, "SELECT 1") == 1
        assert second.dsn == address
        async with first:
            assert (first.owner, first.pid) == (False, second.pid)
    assert not is_locked(shared_directory)


async def test_a_stop_while_the_server_is_started_again_leaves_nothing_running(shared_directory: Path) -> None:
    async with EmbeddedPostgres(shared_directory) as server:
        log = shared_directory / "server.log"
        n_starts = log.read_text().count("starting PostgreSQL")
        kill_cluster(server.pid)
        await eventually(lambda: log.read_text().count("starting PostgreSQL") > n_starts, SOON_S)
        async with asyncio.timeout(3):
            await server.aclose()
        assert not is_locked(shared_directory)


async def test_a_server_that_was_stopped_in_order_stays_so(
    shared_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedPostgres(shared_directory):
        pass
    assert not is_locked(shared_directory)
    assert caplog.messages == []


async def test_a_database_that_went_away_is_not_replaced_by_an_empty_one(
    shared_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedPostgres(shared_directory) as server:
        await ask(server, "CREATE TABLE IF NOT EXISTS kept ()")
        (shared_directory / "data").rename(shared_directory / "elsewhere")
        server_pid = server.pid
        kill_cluster(server_pid)
        await eventually(lambda: any("is gone; bring back the folder" in line for line in caplog.messages), SOON_S)
        assert not (shared_directory / "data").exists()
        (shared_directory / "elsewhere").rename(shared_directory / "data")
        await eventually(lambda: server.pid != server_pid, SOON_S)
        assert await ask(server, "SELECT count(*) FROM kept") == 0


async def test_two_chatbots_that_change_over_fit_in_with_pools_of_ten_each_also_when_all_come_back_at_once(
    shared_directory: Path,
) -> None:
    async with EmbeddedPostgres(shared_directory) as server, AsyncExitStack() as pools:
        databases = [Database(server.dsn, min_size=10, max_size=10) for _ in range(4)]
        for database in databases:
            await pools.enter_async_context(database)
        kill_cluster(server.pid)
        asked = (database.fetchval("SELECT 1", idempotent=True) for database in databases for _ in range(10))
        assert await asyncio.gather(*asked) == [1] * 40


async def test_a_start_does_not_fail_because_bots_were_faster_and_hold_every_connection(shared_directory: Path) -> None:
    one = {"max_connections": "1", "superuser_reserved_connections": "0"}
    async with EmbeddedPostgres(shared_directory, options=one) as server:
        connection = await asyncpg.connect(server.dsn)
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await ask(server, "SELECT 1")
        await ensure_database(shared_directory)
        await connection.close()


async def test_what_does_not_start_is_tried_ever_later_and_at_once_after_a_steady_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, slept = FakeClock(), list[float]()
    lives_s = iter([STEADY_S, STEADY_S - 1, STEADY_S])
    outcomes = iter([False] * 8 + [True, True, True])

    async def wait_gone() -> None:
        if (life_s := next(lives_s, None)) is None:
            raise asyncio.CancelledError
        await clock.advance(life_s)

    async def reopen() -> None:
        if not next(outcomes):
            raise StoreError("the disk is full", retryable=False)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with pytest.raises(asyncio.CancelledError):
        await Keeper(Path("/x"), wait_gone=wait_gone, reopen=reopen, clock=clock, sleep=sleep).run()
    assert slept == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 0]
    assert [line.partition("/x ")[2] for line in caplog.messages] == [
        "has ended, starting it again",
        "does not start, trying again: the disk is full",
        "runs again",
        *("has ended, starting it again", "runs again") * 2,
    ]


# Bots that talk meanwhile.


async def leave(
    directory: Path, messages: list[tuple[str, str]], how: Callable[[asyncio.subprocess.Process], None]
) -> None:
    """Two chatbots share the server; the one that owns it leaves, and comes back."""
    async with phones_for(messages) as ones, phones_for(messages) as twos, AsyncExitStack() as running:
        owner = await running.enter_async_context(bot_process(directory, ones, 0, "one"))
        survivor = await running.enter_async_context(bot_process(directory, twos, 1, "two"))
        await has_answered(twos, len(messages) // 4)
        assert server_of(directory).ppid() == owner.pid
        how(owner)
        await owner.wait()
        await goes_on(twos, messages)
        await is_served_by(directory, survivor)
        back = await running.enter_async_context(bot_process(directory, ones, 2, "one"))
        await eventually(lambda: ones.all_acknowledged and twos.all_acknowledged)
        await asyncio.gather(finishes(back, ones, dsn(directory)), finishes(survivor, twos, dsn(directory)))
        async with EmbeddedPostgres(directory) as server:
            await everything_agrees(server.dsn, ones, messages, cuts=1, chatbot="one")
            await everything_agrees(server.dsn, twos, messages, cuts=0, chatbot="two")


async def test_a_bot_gets_its_database_back_when_the_owner_of_the_server_is_killed(directory: Path) -> None:
    await leave(directory, conversation(chats=40, each=15), asyncio.subprocess.Process.kill)


@pytest.mark.slow
@pytest.mark.parametrize("how", [asyncio.subprocess.Process.kill, asyncio.subprocess.Process.terminate])
async def test_a_busy_bot_gets_its_database_back_when_the_owner_of_the_server_leaves(
    directory: Path, how: Callable[[asyncio.subprocess.Process], None]
) -> None:
    await leave(directory, conversation(chats=40, each=100), how)


async def change_over(directory: Path, messages: list[tuple[str, str]], times: int) -> None:
    """A new deployment starts before the old one, which owns the server, has stopped; and so on."""
    async with phones_for(messages) as phones, AsyncExitStack() as running:
        bot = await running.enter_async_context(bot_process(directory, phones, 0))
        for number in range(1, times + 1):
            await has_answered(phones, len(messages) * number // (times + 2))
            newer = await running.enter_async_context(bot_process(directory, phones, number))
            await ends_by_itself(bot)
            await goes_on(phones, messages)
            await is_served_by(directory, newer)
            bot = newer
        await finishes(bot, phones, dsn(directory))
        async with EmbeddedPostgres(directory) as server:
            await everything_agrees(server.dsn, phones, messages, cuts=3 * times)


async def test_the_new_process_of_a_chatbot_takes_the_server_over_from_the_old_one(directory: Path) -> None:
    await change_over(directory, conversation(chats=40, each=40), times=1)


@pytest.mark.slow
async def test_eight_deployments_hand_the_server_on_while_messages_flow(directory: Path) -> None:
    await change_over(directory, conversation(chats=40, each=300), times=8)


async def power_cuts(directory: Path, messages: list[tuple[str, str]], cuts: int, log: IO[str]) -> None:
    async with phones_for(messages) as phones, bot_process(directory, phones, 0, log=log.fileno()) as bot:
        for cut in range(cuts):
            await has_answered(phones, len(messages) * (cut + 1) // (cuts + 2))
            kill_cluster(server_of(directory).pid)
            await goes_on(phones, messages)
        await finishes(bot, phones, dsn(directory))
        async with EmbeddedPostgres(directory) as server:
            await everything_agrees(server.dsn, phones, messages, cuts=0)
    lines = said(log)
    assert [sum(end in line for line in lines) for end in ("has ended", "runs again")] == [cuts, cuts]


async def test_a_bot_whose_cluster_is_killed_starts_it_again_and_goes_on(directory: Path, log: IO[str]) -> None:
    await power_cuts(directory, conversation(chats=40, each=20), cuts=2, log=log)


@pytest.mark.slow
async def test_a_bot_whose_cluster_is_killed_15_times_goes_on(directory: Path, log: IO[str]) -> None:
    await power_cuts(directory, conversation(chats=40, each=300), cuts=15, log=log)


@contextmanager
def no_room(disk: Path) -> Iterator[None]:
    """Take all room of *disk* while inside."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(MIB))
    yield
    ballast.unlink()


@as_root
@pytest.mark.parametrize("full_for", ["tables", "the journal"])
async def test_a_full_disk_holds_the_messages_until_there_is_room(
    small_disk: Path, log: IO[str], full_for: str
) -> None:
    directory, messages = small_disk / "postgres", conversation(chats=40, each=20)
    async with phones_for(messages) as phones, bot_process(directory, phones, 0, log=log.fileno()) as bot:
        await has_answered(phones, 100)
        connection, sign = await asyncpg.connect(dsn(directory)), "No space left"
        with no_room(small_disk):
            if full_for == "the journal":
                await use_up_wal(directory, connection)
                sign = "has ended"  # why, only its own log tells, if that finds room
            await eventually(lambda: any(sign in line for line in said(log)))
            connection.terminate()
            assert bot.returncode is None
            assert len(phones.keys) < len(messages)
        await finishes(bot, phones, dsn(directory))
        async with EmbeddedPostgres(directory) as server:
            await everything_agrees(server.dsn, phones, messages, cuts=0)
    assert any("has ended" in line for line in said(log)) == (full_for == "the journal")


async def test_a_folder_that_loses_its_write_permission_holds_the_messages_until_it_has_it_again(
    directory: Path, log: IO[str]
) -> None:
    messages = conversation(chats=40, each=20)
    async with phones_for(messages) as phones, bot_process(directory, phones, 0, log=log.fileno()) as bot:
        await has_answered(phones, 100)
        with read_only(directory / "data"):
            await use_up_wal(directory)
            await eventually(lambda: any("Permission denied" in line for line in said(log)))
            assert bot.returncode is None
            assert len(phones.keys) < len(messages)
        await finishes(bot, phones, dsn(directory))
        async with EmbeddedPostgres(directory) as server:
            await everything_agrees(server.dsn, phones, messages, cuts=0)


END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = $1"


async def test_files_that_lose_their_write_permission_hold_the_messages_until_they_have_it_again(
    directory: Path, log: IO[str]
) -> None:
    messages = conversation(chats=40, each=20)
    async with phones_for(messages) as phones, bot_process(directory, phones, 0, log=log.fileno()) as bot:
        await has_answered(phones, 100)
        operator = await asyncpg.connect(dsn(directory))
        await operator.fetch(END_OTHERS, "nobody")  # what it needs is open now
        with read_only(directory / "data", files_too=True):
            await operator.fetch(END_OTHERS, "tecnobot")
            await operator.close()
            await eventually(lambda: any("Permission denied" in line for line in said(log)))
            assert bot.returncode is None
            assert len(phones.keys) < len(messages)
        await finishes(bot, phones, dsn(directory))
        async with EmbeddedPostgres(directory) as server:
            await everything_agrees(server.dsn, phones, messages, cuts=0)


# The example, as its users start it.


def readiness(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{url}readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@as_root
async def test_a_disk_that_ended_the_server_is_told_by_the_readiness_until_there_is_room(small_disk: Path) -> None:
    with serving(small_disk / "data") as (process, url):
        await eventually(lambda: readiness(url)[0] == 200)
        connection = await asyncpg.connect(dsn(small_disk / "data" / "postgres"))
        with no_room(small_disk):
            await use_up_wal(small_disk / "data" / "postgres", connection)
            await eventually(lambda: "the database has not answered for" in readiness(url)[1])
        await eventually(lambda: readiness(url)[0] == 200)
        assert process.poll() is None


def start_example(data_dir: Path) -> subprocess.CompletedProcess[str]:
    """It ends by itself: there is nothing in its input."""
    command = [sys.executable, str(EXAMPLE), "chat"]
    return subprocess.run(
        command, env=environment(data_dir), input="", capture_output=True, text=True, timeout=60, check=False
    )


def assert_one_sentence(finished: subprocess.CompletedProcess[str], *wanted: str) -> None:
    assert finished.returncode == 2, finished.stderr
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith("tecnobot: ")
    for words in wanted:
        assert words in finished.stderr


def content(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every name in *folder*, with mode, owner and a digest of what it holds."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_uid,
            sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A DATA_DIR with a database."""
    with new_folder() as folder:
        assert start_example(folder / "data").returncode == 0
        yield folder / "data"


@contextmanager
def version(data: Path, text: str) -> Iterator[None]:
    file = data / "PG_VERSION"
    before = file.read_text()
    file.write_text(text)
    yield
    file.write_text(before)


def test_a_database_of_another_major_version_is_one_sentence_and_left_as_it_is(data_dir: Path) -> None:
    data = data_dir / "postgres" / "data"
    with version(data, "12\n"):
        before = content(data)
        finished = start_example(data_dir)
        assert_one_sentence(finished, "holds a database of PostgreSQL 12", "is PostgreSQL 18", "set POSTGRES_BIN_DIR")
        assert content(data) == before


def test_a_database_without_a_version_is_one_sentence_and_left_as_it_is(data_dir: Path) -> None:
    data = data_dir / "postgres" / "data"
    with version(data, ""):  # as a full disk leaves files
        before = content(data)
        assert_one_sentence(start_example(data_dir), "PG_VERSION names no version")
        assert content(data) == before


async def test_a_database_that_cannot_be_written_is_one_sentence_at_the_start(data_dir: Path) -> None:
    before = content(data_dir / "postgres" / "data")
    with read_only(data_dir / "postgres" / "data"):
        assert_one_sentence(start_example(data_dir), "Permission denied")
    assert content(data_dir / "postgres" / "data") == before
    async with EmbeddedPostgres(data_dir / "postgres") as server:
        assert await ask(server, "SELECT 1") == 1


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


@as_root
async def test_a_disk_that_is_read_only_is_one_sentence_at_the_start(small_disk: Path) -> None:
    server = EmbeddedPostgres(small_disk / "data" / "postgres")
    async with server:
        pass
    remount(small_disk, "ro")
    assert_one_sentence(start_example(small_disk / "data"), "cannot hold a database: Read-only file system")
    remount(small_disk, "rw")
    async with server:
        assert await ask(server, "SELECT 1") == 1
