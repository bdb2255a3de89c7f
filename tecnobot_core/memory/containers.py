"""The memory limits of the container: control groups of version 1 and 2, from ours up to the root."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .reading import ROOT, KeptFile

logger = logging.getLogger(__name__)

NO_LIMIT_BYTES = 2**60  # version 1 says "none" as the largest multiple of a page below 2**63


@dataclass(frozen=True, slots=True)
class _Version:
    """Where a version of control groups keeps its numbers."""

    usage: str
    limits: tuple[str, ...]
    # Files that were read once and can be dropped at any time; the kernel counts them as usage.
    inactive: bytes


VERSIONS = {
    "cgroup": _Version("memory.usage_in_bytes", ("memory.limit_in_bytes",), b"total_inactive_file"),
    "cgroup2": _Version("memory.current", ("memory.max", "memory.high"), b"inactive_file"),
}


@dataclass(frozen=True, slots=True)
class Container:
    """A control group with a limit; *directory* is its folder."""

    directory: Path
    limit_bytes: int
    version: _Version


class ContainerUsage:
    """What a container uses, read through kept descriptors (some 40 µs)."""

    def __init__(self, container: Container) -> None:
        self.limit_bytes = container.limit_bytes
        self._inactive = b"\n" + container.version.inactive + b" "
        self._usage = KeptFile(container.directory / container.version.usage)
        self._stat = KeptFile(container.directory / "memory.stat")

    def read(self) -> int:
        """Bytes in use now that cannot be dropped at once: usage less inactive files."""
        inactive = (b"\n" + self._stat.read()).partition(self._inactive)[2].split(None, 1)
        return max(int(self._usage.read()) - int(inactive[0] if inactive else 0), 0)

    def close(self) -> None:
        """Give the descriptors back."""
        self._usage.close()
        self._stat.close()


def find_containers(root: Path = ROOT) -> list[Container]:
    """The control groups above this process that limit memory, inner ones first; [] where there are none.

    *root* is where /proc and the mounted hierarchies are. Both versions may be mounted at once; each is asked.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text()
        mounts = (root / "proc/self/mountinfo").read_text()
    except OSError:
        return []
    paths = dict(_paths(memberships.splitlines()))
    found: list[Container] = []
    for kind, top, point in _mounts(mounts.splitlines()):
        if kind in paths:
            # Once: a hierarchy may be mounted in several places.
            directory, mount = _directory(paths.pop(kind), top, root / point.lstrip("/"))
            found += _limited(directory, mount, VERSIONS[kind])
    return found


def _paths(memberships: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Our path in each hierarchy that could hold the memory controller: cgroups(7), /proc/pid/cgroup."""
    for line in memberships:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield "cgroup2", path
        elif "memory" in controllers.split(","):
            yield "cgroup", path


def _mounts(mounts: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Kind, the path in the hierarchy that is mounted, and where: proc(5), /proc/pid/mountinfo."""
    for line in mounts:
        place, _, rest = line.partition(" - ")
        fields, source = place.split(), rest.split()
        if len(fields) < 5 or len(source) < 3:
            continue
        if source[0] == "cgroup2" or (source[0] == "cgroup" and "memory" in source[2].split(",")):
            yield source[0], _unescape(fields[3]), _unescape(fields[4])


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _directory(path: str, top: str, mount: Path) -> tuple[Path, Path]:
    """Our folder and the uppermost one that can be seen."""
    try:
        directory = mount / PurePosixPath(path).relative_to(top)
    except ValueError:  # seen from inside a container, our path may lie outside of what is mounted
        return mount, mount
    # Inside a container the path may be the host's, while the mount shows our own group as its top.
    return (directory, mount) if ".." not in path and directory.is_dir() else (mount, mount)


def _limited(directory: Path, mount: Path, version: _Version) -> Iterator[Container]:
    first = True
    while True:
        limits = [limit for name in version.limits if (limit := _limit(directory / name))]
        if first and (limit := _hierarchical_limit(directory)):
            limits.append(limit)
        if limits:
            yield Container(directory, min(limits), version)
        if directory == mount:
            return
        first, directory = False, directory.parent


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:  # the root has no limit, and a group without the controller no file
        return None
    return int(text) if text.isdecimal() and 0 < int(text) < NO_LIMIT_BYTES else None


def _hierarchical_limit(directory: Path) -> int | None:
    """Version 1 tells also the limits of groups above that cannot be seen from here."""
    try:
        text = "\n" + (directory / "memory.stat").read_text()
    except OSError:
        return None
    number = text.partition("\nhierarchical_memory_limit ")[2].split(None, 1)
    limit = int(number[0]) if number else NO_LIMIT_BYTES
    return limit if 0 < limit < NO_LIMIT_BYTES else None
