"""The ``tecnobot`` command, wrapped for tests: its transport trusts the project's own server.

Run by ``launch.py``: ``tests.whatsapp_server.command SETTINGS ARGUMENT...``; SETTINGS is JSON, ARGUMENTs go to the
command.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

from tecnobot_core.cli import main as command
from tecnobot_core.cli import whatsapp_account


def main() -> int:
    """The command's exit code."""
    settings: dict[str, str] = json.loads(sys.argv.pop(1))
    account: Any = whatsapp_account
    account.WhatsAppTransport = functools.partial(
        account.WhatsAppTransport,
        proxy=settings["proxy"],
        certificates=Path(settings["certificates"]),
        before_connecting=Path(settings["before_connecting"]),
    )
    return command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
