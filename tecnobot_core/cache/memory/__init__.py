"""The memory tier: objects and packed bytes within a budget, S3-FIFO, exact times."""

from .groups import REST as REST
from .groups import Groups as Groups
from .tier import MISSING as MISSING
from .tier import MemoryTier as MemoryTier
