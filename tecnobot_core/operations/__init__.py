"""What keeps a running bot in view of its owner."""

from .logs import LogHandle as LogHandle
from .logs import configure_logging as configure_logging
