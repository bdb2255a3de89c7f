"""MemoryManager: keeps the process inside its limit before the kernel does it."""

from .leaks import LeakReport as LeakReport
from .leaks import LineGrowth as LineGrowth
from .leaks import TypeGrowth as TypeGrowth
from .manager import MemoryManager as MemoryManager
from .ports import MemoryLevel as MemoryLevel
from .ports import Priority as Priority
from .ports import Release as Release
from .reading import read_peak_rss_bytes as read_peak_rss_bytes
from .reading import read_rss_bytes as read_rss_bytes
from .reserving import Lease as Lease
from .reserving import Reservation as Reservation
from .statistics import MemoryStatistics as MemoryStatistics
from .statistics import ReleaserStatistics as ReleaserStatistics
from .statistics import ReservationStatistics as ReservationStatistics
