"""What must be installed, looked up without loading any of it."""

import importlib.util
from importlib.metadata import version

from ...errors import MissingDependencyError

NEONIZE = "0.5.2"
# The library's message definitions were made by this version, and refuse an older one; neonize itself asks for less.
PROTOBUF = (7, 34, 1)

_EXTRA = "whatsapp"


def require() -> None:
    """MissingDependencyError, with the line that installs it, when something is missing or of another version."""
    if importlib.util.find_spec("neonize") is None or version("neonize") != NEONIZE:
        raise MissingDependencyError(f"neonize {NEONIZE}", extra=_EXTRA)
    if _numbers(version("protobuf")) < PROTOBUF:
        raise MissingDependencyError(f"protobuf {'.'.join(map(str, PROTOBUF))} or newer", extra=_EXTRA)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
