"""Where temporary files are kept."""

import os
import stat
import sys
import tempfile
from pathlib import Path


def default_directory() -> Path:
    """The system's choice (TMPDIR first), or /var/tmp where that is memory."""
    places = [Path(tempfile.gettempdir()), Path("/var/tmp")]
    on_disk = [place for place in places if os.access(place, os.W_OK) and not is_in_memory(place)]
    return (on_disk or places)[0] / f"tecnobot-{_user()}"


def is_in_memory(path: Path) -> bool:
    """Whether *path* lies on a tmpfs or ramfs; False where that cannot be seen."""
    try:
        device = os.stat(path).st_dev
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    place = f"{os.major(device)}:{os.minor(device)}"
    fields = [line.partition(" - ") for line in mounts]
    return any(left.split()[2] == place and right.split()[0] in {"tmpfs", "ramfs"} for left, _, right in fields)


def is_ours_alone(directory: Path) -> bool:
    """Whether nobody else could have made *directory*, or can look into it."""
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077 and status.st_uid == _user()


def _user() -> int:
    return os.getuid() if sys.platform != "win32" else 0
