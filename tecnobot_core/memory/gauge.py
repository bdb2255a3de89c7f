"""How full the limit is: the process and its children, or the container where that is worse."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import ConfigurationError
from .containers import Container, ContainerUsage, find_containers
from .reading import ROOT, Child, Children, ResidentMemory

logger = logging.getLogger(__name__)

LimitSource = Literal["setting", "container"]
MIB = 1024 * 1024
START_FACTOR = 1.25  # of what the process holds at the start: less would be "warning" for ever


class Reading(NamedTuple):
    """``used_bytes`` is what counts against the limit; ``container_bytes`` is None where no container limits."""

    used_bytes: int
    rss_bytes: int
    children_bytes: int
    container_bytes: int | None


class Gauge:
    """Reads what counts against *limit_bytes*, or against the limit of the container where that is the smaller.

    A *probe* is read instead of process, children and container, and then *limit_bytes* is the limit.
    """

    def __init__(self, limit_bytes: int, probe: Callable[[], int] | None, root: Path = ROOT) -> None:
        self.limit_bytes = limit_bytes
        self.source: LimitSource = "setting"
        self.children = Children(root=root)
        self.probe = probe
        self._root = root
        self._rss: ResidentMemory | None = None
        self._containers: list[ContainerUsage] = []
        if probe is None:
            self._heed(find_containers(root))

    def read(self) -> Reading:
        """A fresh reading."""
        if self.probe is not None:
            used_bytes = int(self.probe())
            return Reading(used_bytes, used_bytes, 0, None)
        if self._rss is None:
            self._rss = ResidentMemory(root=self._root)
        rss_bytes = self._rss.read()
        children_bytes = self.children.read() if len(self.children) else 0
        own_bytes = rss_bytes + children_bytes
        if not self._containers:
            return Reading(own_bytes, rss_bytes, children_bytes, None)
        container_bytes = max(self._container_shares(), default=0)
        return Reading(max(own_bytes, container_bytes), rss_bytes, children_bytes, container_bytes)

    def measure(self, pid: int) -> Child | None:
        """Register *pid*, and give what readings show of it; None when it ended, or when a probe is read instead."""
        child = self.children.add(pid)
        return child if self.probe is None else None

    def demand_room_to_start(self) -> None:
        """ConfigurationError when the limit is below what this process needs to begin."""
        if self.probe is not None:  # what that tells need not be what this process needs
            return
        base_bytes = self.read().rss_bytes
        if self.limit_bytes < (wanted_bytes := int(base_bytes * START_FACTOR)):
            whose = "MEMORY_LIMIT" if self.source == "setting" else "the memory limit of the container"
            raise ConfigurationError(
                f"{whose} is {self.limit_bytes // MIB} MiB, but the process takes {base_bytes // MIB} MiB before it"
                f" has begun to work; wanted is at least {-(-wanted_bytes // MIB)} MiB"
            )

    def close(self) -> None:
        """Give all descriptors back; the next reading opens those that it needs."""
        self.children.close()
        for container in self._containers:
            container.close()
        if self._rss is not None:
            self._rss.close()

    def _heed(self, containers: list[Container]) -> None:
        for container in containers:
            try:
                self._containers.append(ContainerUsage(container))
            except OSError as error:
                logger.warning("the memory use of the container cannot be read: %s", error)
        smallest_bytes = min((container.limit_bytes for container in containers), default=self.limit_bytes)
        if smallest_bytes < self.limit_bytes:
            logger.warning(
                "the memory limit is %d MiB, but the container allows %d MiB; the container's counts",
                self.limit_bytes // MIB,
                smallest_bytes // MIB,
            )
            self.limit_bytes, self.source = smallest_bytes, "container"

    def _container_shares(self) -> Iterator[int]:
        """What each container uses, in proportion to our limit: a container of twice the limit counts half."""
        for container in tuple(self._containers):
            try:
                yield container.read() * self.limit_bytes // container.limit_bytes
            except (OSError, ValueError) as error:
                logger.warning("the memory use of the container can no longer be read: %s", error)
                self._containers.remove(container)
