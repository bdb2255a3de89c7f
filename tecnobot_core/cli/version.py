"""``tecnobot version``."""

import argparse

from .. import __version__
from .output import say


def show(arguments: argparse.Namespace) -> int:
    """Print the version of the package."""
    say(f"tecnobot_core {__version__}")
    return 0
