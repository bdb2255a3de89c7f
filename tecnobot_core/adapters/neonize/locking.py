"""Whether somebody runs an account, which must not be changed under them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import TransportError

# That of the gateway process, which holds it as long as it lives.
_LOCK = "spool.lock"


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """No process runs the account in *directory* meanwhile. TransportError, at once, when one does."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TransportError(f"a bot runs with the account in {directory}; stop it first") from None
        yield
    finally:
        os.close(descriptor)


def is_running(directory: Path) -> bool:
    """Whether a process runs the account in *directory* now."""
    if not directory.is_dir():
        return False
    try:
        with alone(directory):
            return False
    except TransportError:
        return True
