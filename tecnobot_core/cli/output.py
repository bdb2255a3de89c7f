"""What commands print."""

import os
import sys


def say(*lines: str) -> None:
    """Print to the standard output."""
    for line in lines:
        sys.stdout.write(line + "\n")


def complain(*lines: str) -> None:
    """Print to the standard error stream."""
    for line in lines:
        sys.stderr.write(line + "\n")


def leave_quietly() -> int:
    """The exit status where whoever reads, such as head, has seen enough."""
    # The interpreter flushes once more at its end, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def count(number: int, noun: str) -> str:
    """ "1 flow", "2 flows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
