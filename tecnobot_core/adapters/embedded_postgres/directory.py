"""The folder of a private server: whose it is, who may start a server in it, and what a server leaves there."""

import fcntl
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from ...errors import ConfigurationError

_LOG_MAX_BYTES = 1024 * 1024
_SOCKET_ADDRESS_MAX_BYTES = 103  # the shortest sun_path: macOS, 104 with the final NUL (Linux: 108)


@dataclass(frozen=True, slots=True)
class Identity:
    """The user that the server runs as; PostgreSQL refuses to run as root."""

    uid: int
    gid: int

    @classmethod
    def for_data(cls, data: Path) -> Self:
        """Ourselves; for root whoever owns *data*, else ``postgres``, else ``nobody``."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        with suppress(FileNotFoundError):
            owner = data.stat()
            if owner.st_uid != 0:
                return cls(owner.st_uid, owner.st_gid or owner.st_uid)  # never root's group
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                user = pwd.getpwnam(name)
                return cls(user.pw_uid, user.pw_gid)
        raise ConfigurationError("the server must not run as root, and there is no user postgres or nobody: add one")

    def take(self, path: Path | int) -> None:
        """Own *path* (an open file by its number); only root has anything to give."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)

    def check_name(self) -> None:
        """ConfigurationError for a user without a name, as ``initdb`` refuses it."""
        try:
            pwd.getpwuid(self.uid)
        except KeyError:
            raise ConfigurationError(
                f"PostgreSQL makes a database only for a user with a name, and uid {self.uid} has none here: "
                f"add one (in an image: RUN useradd --uid {self.uid} bot), or run the bot as another user"
            ) from None


class PrivateDirectory:
    """A folder for one database, closed to all but the server's user; created with its parents where missing.

    Locked while any process of a server in it lives: every one of them inherits the open lock file, and the kernel
    lets go when the last has ended, whatever ended it. No pid is trusted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.data = self.path / "data"
        self.log = self.path / "server.log"
        self._lock = self.path / "server.lock"
        self._pid_file = self.data / "postmaster.pid"

    def prepare(self) -> Identity:
        """Make the folder and close it to others; return whose it is now."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._refuse_foreign()
        identity = Identity.for_data(self.data)
        identity.take(self.path)
        if self.path.stat().st_mode & 0o777 != 0o700:
            self.path.chmod(0o700)
        return identity

    def try_lock(self, identity: Identity) -> BinaryIO | None:
        """The lock, open and held; None while a server lives or another program starts one.

        Close it, never unlock it: it is shared with the server that inherits it.
        """
        lock = self._open(self._lock, identity)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return lock

    def is_served(self, identity: Identity) -> bool:
        """Whether a server lives; yes where that cannot be seen, as while the disk is away or read-only."""
        try:
            lock = self.try_lock(identity)
        except OSError:
            return True
        if lock is not None:
            lock.close()
        return lock is None

    def open_log(self, identity: Identity) -> BinaryIO:
        """The log, to be appended to; one that has grown beyond 1 MiB becomes ``server.log.1`` first."""
        with suppress(FileNotFoundError):
            if self.log.lstat().st_size > _LOG_MAX_BYTES:
                self.log.replace(self.log.with_name("server.log.1"))
        return self._open(self.log, identity)

    def data_version(self) -> int | None:
        """The major version of PostgreSQL that made the database; None before there is one."""
        file = self.data / "PG_VERSION"
        try:
            return int(file.read_text().split(".")[0])
        except FileNotFoundError:
            return None
        except ValueError:
            raise ConfigurationError(f"{file} names no version, so {self.data} is no database; restore it") from None

    @contextmanager
    def new_data(self, identity: Identity) -> Iterator[Path]:
        """A folder to make the database in, which takes its place only when that went well."""
        partial = self.path / "data.partial"
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(mode=0o700)
        identity.take(partial)
        try:
            yield partial
            partial.rename(self.data)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)  # what a dying process still writes, the next start removes
            raise
        _sync(self.path)

    def adopt_data(self, identity: Identity) -> None:
        """Give *identity* a database that belongs to root, as one does that was restored from a backup."""
        if self.data.stat().st_uid != identity.uid:
            for parent, _, files in os.walk(self.data, topdown=False):  # the folder itself last, as it tells the end
                for name in (*files, "."):
                    os.chown(os.path.join(parent, name), identity.uid, identity.gid, follow_symlinks=False)

    def server_pid(self) -> int | None:
        """The pid that the last server wrote, of whatever pid namespace; None when there is none to read."""
        try:
            return int(self._pid_file.read_text().partition("\n")[0])
        except (FileNotFoundError, ValueError):
            return None

    def is_ready(self, pid: int) -> bool:
        """Whether server *pid* says that it takes connections, in the last line of its pid file, where pg_ctl looks."""
        try:
            lines = self._pid_file.read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(pid)] and lines[-1].strip() == "ready"

    def remove_remnants(self) -> None:
        """Remove what keeps PostgreSQL from starting after a crash; only for who holds the lock."""
        if self.server_pid() is None:  # cut short by a full disk, perhaps
            self._pid_file.unlink(missing_ok=True)
        for path in self.path.glob(".s.PGSQL.*"):
            path.unlink()

    @contextmanager
    def socket_directory(self) -> Iterator[Path]:
        """A name of this folder that fits into the address of a Unix socket, valid inside."""
        address = os.fsencode(self.path / ".s.PGSQL.5432")
        if len(address) <= _SOCKET_ADDRESS_MAX_BYTES and b"," not in address:  # a comma separates hosts in a URL
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="tecnobot-", dir="/tmp") as folder:
            link = Path(folder, "server")
            link.symlink_to(self.path)
            yield link

    def _refuse_foreign(self) -> None:
        """Not to take over a home or a project by mistake: a folder in use by others is left as it is."""
        names = set(os.listdir(self.path)) - {"lost+found"}
        if names and self._lock.name not in names and self.data_version() is None:
            raise ConfigurationError(
                f"{self.path} holds other files, such as {min(names)}, and no database: name a new or an empty folder"
            )

    def _open(self, path: Path, identity: Identity) -> BinaryIO:
        # Not through a link: the folder is the server's, and root, who opens here, gives away what it opens.
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        identity.take(descriptor)
        return os.fdopen(descriptor, "ab")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
