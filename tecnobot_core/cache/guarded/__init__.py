"""A store that costs nothing when it is broken: reads of one tick together, writes behind, a circuit breaker."""

from .statistics import StoreStatistics as StoreStatistics
from .tier import GuardedTier as GuardedTier
