"""What the memory manager needs from others, and the words it shares with them."""

from collections.abc import Awaitable, Callable, Coroutine
from enum import IntEnum
from typing import Any, Literal, Protocol

MemoryLevel = Literal["normal", "warning", "critical"]
Clock = Callable[[], float]
Sleep = Callable[[float], Coroutine[Any, Any, object]]


class Release(Protocol):
    """Frees about *wanted_bytes* and tells how many it freed; plain or async. An async one may be cancelled."""

    def __call__(self, wanted_bytes: int, /) -> int | Awaitable[int]: ...


class Priority(IntEnum):
    """Who is asked first: the lower number. From ``HISTORIES`` on a releaser is asked at "critical" only."""

    FILES = 10
    MEDIA = 20
    REPLIES = 30
    HISTORIES = 40
