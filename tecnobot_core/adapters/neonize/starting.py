"""How the gateway process is started."""

from collections.abc import Sequence
from pathlib import Path


def arguments(fake: bool, before_connecting: Path | None) -> Sequence[str]:
    """Its options, which are for tests."""
    options = ["--fake"] if fake else []
    if before_connecting is not None:
        options += ["--before-connecting", str(before_connecting.absolute())]
    return options


def environment_of(certificates: Path | None) -> dict[str, str]:
    """What the library's runtime reads when it starts, and nothing of the bot's, which holds secrets."""
    environment = {
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        # A tighter heap: an attachment is several copies for a moment.
        "GOGC": "50",
        "GOMEMLIMIT": "96MiB",
        # Without it the library marks every message as a business bot's.
        "NEONIZE_BOT_TAG": "off",
    }
    if certificates is not None:
        environment["SSL_CERT_FILE"] = str(certificates.absolute())
    return environment
