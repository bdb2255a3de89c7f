"""What Python and the C library hold though nobody uses it: given back to the system, rarely."""

import ctypes
import gc
from collections.abc import Callable

from .ports import Clock

MIB = 1024 * 1024
ENOUGH_BYTES = 16 * MIB  # freed since the last trim: less is not worth stopping the event loop
ENOUGH_SHARE = 1 / 16  # of the limit, where that is less
TRIM_PAUSE_S = 5.0
URGENT_TRIM_PAUSE_S = 0.25  # a trim of a heap of 200 MB takes some 80 ms
COLLECT_PAUSE_S = 30.0  # a full collection of a million objects takes some 300 ms
MAX_FROZEN_BY_PYTHON = 1000  # objects: Python 3.12 freezes 375 of its own at the start, others none


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
BIG_BLOCK_BYTES = 128 * 1024


def find_trim() -> Callable[[], object] | None:
    """``malloc_trim(0)`` of glibc; None with another C library, or an allocator put before it."""
    if (library := _glibc()) is None:
        return None
    trim = library.malloc_trim
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda: trim(0)


def map_big_blocks() -> bool:
    """Let blocks of 128 KiB and more have pages of their own, for the rest of the process; False without glibc.

    So glibc begins, but it raises that bound up to 32 MiB as blocks are freed. From then on buffers of media lie in the
    heap, where they leave holes that the next ones do not fit into: memory then grows beyond what was reserved.
    """
    if (library := _glibc()) is None:
        return False
    library.mallopt(M_MMAP_THRESHOLD, BIG_BLOCK_BYTES)
    # Setting one stops the adjusting of both; 128 KiB would be a system call for every few messages.
    library.mallopt(M_TRIM_THRESHOLD, MIB)
    return True


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no library without a name
        return None
    if any(hasattr(library, name) for name in ("mallctl", "mi_version")):  # jemalloc, mimalloc: no effect there
        return None
    return library if hasattr(library, "malloc_trim") else None  # musl and macOS have none


class Heap:
    """Decides when trimming and collecting are worth their time.

    Trimming is what gives memory back with glibc: a heap of many blocks of which most were freed keeps all of its pages
    until then. Nothing helps where single small objects survive in each page.
    """

    def __init__(
        self,
        limit_bytes: int,
        *,
        clock: Clock,
        trim: Callable[[], object] | None,
        collect: Callable[[], object] = gc.collect,
    ) -> None:
        self.enough_bytes = max(min(ENOUGH_BYTES, int(limit_bytes * ENOUGH_SHARE)), 1)
        self.trims = 0
        self.collections = 0
        self._clock = clock
        self._trim = trim
        self._collect = collect
        self._untrimmed_bytes = 0
        self._trimmed_at = self._collected_at = float("-inf")
        self._freezes = False

    def note_freed(self, n_bytes: int) -> None:
        """Somebody let go of *n_bytes*."""
        self._untrimmed_bytes += n_bytes

    def trim(self, *, urgent: bool, exhausted: bool = False) -> bool:
        """Give back what was freed if that is enough by now; True when nothing more can be expected of it.

        *exhausted*: nobody has more to free, so that there is no reason to wait for more.
        """
        if self._trim is None:
            self._untrimmed_bytes = 0
            return True
        if self._untrimmed_bytes < (1 if exhausted else self.enough_bytes):
            return False
        if self._clock() - self._trimmed_at < (URGENT_TRIM_PAUSE_S if urgent else TRIM_PAUSE_S):
            return False
        self._trim_now()
        return True

    def collect(self) -> bool:
        """Look for garbage in cycles among all objects, and trim; False when that was done not long ago."""
        if self._clock() - self._collected_at < COLLECT_PAUSE_S:
            return False
        self._collected_at = self._clock()
        self.collections += 1
        self._collect()
        if self._trim is not None:
            self._trim_now()
        return True

    def freeze(self) -> None:
        """Leave what lives now out of later collections, which then take next to no time.

        Not where somebody else has done so: then it is theirs to undo.
        """
        if gc.get_freeze_count() <= MAX_FROZEN_BY_PYTHON:
            self._collect()
            gc.freeze()
            self._freezes = True

    def unfreeze(self) -> None:
        """Undo ``freeze``."""
        if self._freezes:
            gc.unfreeze()
            self._freezes = False

    def _trim_now(self) -> None:
        assert self._trim is not None
        self._untrimmed_bytes = 0
        self.trims += 1
        self._trim()
        self._trimmed_at = self._clock()
