"""The ``tecnobot`` command."""

import sys
from collections.abc import Sequence
from importlib import import_module

from ..errors import ConfigurationError, TecnobotError
from .output import complain, leave_quietly
from .parser import make_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv*, by default that of the process; return the exit status.

    0: done. 1: it was found that something is not as it should be. 2: it could not be done. 130: interrupted.
    """
    arguments = make_parser().parse_args(argv)
    module, _, function = arguments.run.partition(":")
    try:
        # Only now, so that help and a mistyped command need nothing of what the others stand on.
        status: int = getattr(import_module(f".{module}", __name__), function)(arguments)
        sys.stdout.flush()
    except ConfigurationError as error:
        complain(*error.problems)
    except (TecnobotError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            return leave_quietly()
        complain(f"tecnobot: {error}")
    except KeyboardInterrupt:
        return 130
    else:
        return status
    return 2
