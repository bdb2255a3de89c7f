"""Where the ffmpeg program is: the setting, the PATH, the wheel of the extra ``audio``."""

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigurationError, MissingDependencyError

MIB = 1024 * 1024
# Address space that the largest of our jobs needs, measured: the static program of the wheel works with 256 MiB, a
# distribution's with 384 MiB, as it loads about a hundred libraries.
_WHEEL_ADDRESS_BYTES = 384 * MIB
_OTHER_ADDRESS_BYTES = 512 * MIB
# Resident memory, measured: of the wheel's program 33 to 36 MiB for what is usual, 39.5 MiB for an hour of M4A; of a
# distribution's 54 to 56 MiB.
_WHEEL_MEMORY_BYTES = 40 * MIB
OTHER_MEMORY_BYTES = 56 * MIB


@dataclass(frozen=True, slots=True)
class Program:
    """An ffmpeg, the address space that it is given, and the memory that it takes at most."""

    path: Path
    address_bytes: int = _OTHER_ADDRESS_BYTES
    memory_bytes: int = OTHER_MEMORY_BYTES


def find_ffmpeg(
    setting: Path | None = None, *, search_path: str | None = None, packages: Iterable[str] | None = None
) -> Program:
    """*setting*, or without it the first on *search_path* (the PATH), or the wheel's in *packages* (``sys.path``).

    Raises ConfigurationError when *setting* is no program, MissingDependencyError when there is none.
    """
    if setting is not None:
        if not _runs(setting):
            raise ConfigurationError(f"FFMPEG_PATH is {setting}; wanted is an executable program, ffmpeg")
        return Program(setting.absolute())
    if found := shutil.which("ffmpeg", path=search_path):
        return Program(Path(found).absolute())
    # Not by the wheel's own function: it reads the environment, and starts a program to ask for its version.
    for folder in sys.path if packages is None else packages:
        for path in sorted(Path(folder, "imageio_ffmpeg", "binaries").glob("ffmpeg-*"), reverse=True):
            if _runs(path):
                return Program(path.absolute(), _WHEEL_ADDRESS_BYTES, _WHEEL_MEMORY_BYTES)
    raise MissingDependencyError("ffmpeg", extra="audio")


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
