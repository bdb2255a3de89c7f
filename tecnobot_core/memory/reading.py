"""How much memory the process and its children hold."""

import contextlib
import mmap
import os
import sys
import weakref
from pathlib import Path

import psutil

if sys.platform != "win32":
    import resource

ROOT = Path("/")


class KeptFile:
    """A small file of the kernel that is read again and again through one descriptor: 3 µs instead of 17."""

    __slots__ = ("__weakref__", "_closing", "_descriptor", "_path", "_pid")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = 0
        self._closing: weakref.finalize[[int], KeptFile] | None = None
        self._open()

    def read(self) -> bytes:
        """Its present content, at most 16 KiB; OSError when it is gone."""
        if self._pid != os.getpid():  # /proc/self is who opened it: after a fork that would be the parent
            self._open()
        return os.pread(self._descriptor, 16384, 0)

    def close(self) -> None:
        """Give the descriptor back; ``read`` would open it again."""
        self._pid = 0
        if self._closing is not None:
            self._closing()

    def _open(self) -> None:
        self.close()
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._closing = weakref.finalize(self, os.close, self._descriptor)
        self._pid = os.getpid()


class ResidentMemory:
    """RSS of one process in bytes, by default this one: from /proc where there is one, otherwise from psutil.

    OSError or psutil.Error when the process has ended.
    """

    def __init__(self, pid: int | None = None, *, root: Path = ROOT) -> None:
        self._pid = pid
        self._statm: KeptFile | None = None
        with contextlib.suppress(FileNotFoundError):
            self._statm = KeptFile(root / f"proc/{pid or 'self'}/statm")
        if self._statm is None:
            self._process = psutil.Process(pid)

    def read(self) -> int:
        """Bytes in RAM now; pages shared with other processes count in full."""
        if self._statm is None:
            return int(self._process.memory_info().rss)
        return int(self._statm.read().split(None, 2)[1]) * mmap.PAGESIZE

    def close(self) -> None:
        """Give the descriptor back."""
        if self._statm is not None:
            self._statm.close()


class Child:
    """One registered child process. ``shown_bytes`` are what the last reading of all showed for it; 0 when it ended."""

    __slots__ = ("memory", "shown_bytes")

    def __init__(self, memory: ResidentMemory) -> None:
        self.memory = memory
        self.shown_bytes = 0


class Children:
    """RSS of the registered child processes, together. One that has ended is forgotten at the next reading."""

    def __init__(self, *, root: Path = ROOT) -> None:
        self._root = root
        self._running: dict[int, Child] = {}

    def __len__(self) -> int:
        return len(self._running)

    def add(self, pid: int) -> Child | None:
        """Count *pid* from now on; again is no error. None when it has ended already."""
        if pid < 1:
            raise ValueError(f"pid must be at least 1, not {pid}")
        self._measure(pid)  # forgets one that has ended, and whose number another has now
        if pid not in self._running:
            with contextlib.suppress(OSError, psutil.Error):
                self._running[pid] = Child(ResidentMemory(pid, root=self._root))
        return self._running.get(pid)

    def remove(self, pid: int) -> None:
        """Count *pid* no longer."""
        if child := self._running.pop(pid, None):
            child.memory.close()
            child.shown_bytes = 0

    def read(self) -> int:
        """Bytes in RAM now, of all of them."""
        return sum(self._measure(pid) for pid in tuple(self._running))

    def close(self) -> None:
        """Forget all."""
        for pid in tuple(self._running):
            self.remove(pid)

    def _measure(self, pid: int) -> int:
        """Read *pid*, and forget it when it has ended."""
        if (child := self._running.get(pid)) is None:
            return 0
        try:
            child.shown_bytes = child.memory.read()
        except (OSError, psutil.Error, IndexError):  # an ended process has no lines
            self.remove(pid)
        return child.shown_bytes


def read_rss_bytes() -> int:
    """Resident memory of this process, in bytes."""
    memory = ResidentMemory()
    try:
        return memory.read()
    finally:
        memory.close()


def read_peak_rss_bytes() -> int:
    """The most resident memory that this program had, in bytes.

    Not getrusage where /proc tells: what that counts begins with the parent's memory at the fork.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        if sys.platform == "win32":
            return int(psutil.Process().memory_info().peak_wset)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere: getrusage(2)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
