"""The key of this installation, for keyed hashes and encryption."""

import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path

from ..errors import ConfigurationError

FILE_NAME = "secret_key"


def installation_key(secret: str, data_dir: Path) -> bytes:
    """32 bytes made of *secret*, or of the file ``secret_key`` in *data_dir* where that is empty.

    The file is made, 0600, when there is none; its text, given as *secret*, yields the same key. Raises
    ConfigurationError.
    """
    return hashlib.sha256((secret or _kept_secret(data_dir)).encode()).digest()


def _kept_secret(directory: Path) -> str:
    path = directory / FILE_NAME
    try:
        if not path.exists():
            _make(path)
        text = path.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigurationError(
            f"the secret key cannot be kept in {path} ({error.strerror}); make DATA_DIR writable, or set SECRET_KEY"
        ) from error
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ConfigurationError(
            f"{path} does not hold the 64 hexadecimal digits that were written there; bring them back, or delete the "
            "file and lose what was encrypted with it, or set SECRET_KEY"
        )
    return text


def _make(path: Path) -> None:
    """Write a new secret to *path*, whole or not at all; one that another process wrote meanwhile stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        os.unlink(unfinished)
