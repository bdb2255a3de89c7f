"""What the cache needs from outside: a place for records, marks that invalidate, leases that let one process load."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

EVERYTHING: Final = b""
"""A tag in what a follower of marks is told: all records have it."""
ERASED: Final = b"erased "
"""Before a tag, in a mark: what has the tag was not only invalidated, but is to be gone from everywhere."""


@dataclass(frozen=True, slots=True)
class Record:
    """A cached value as a store keeps it, under the digest of its key.

    Times are Unix seconds on the store's clock. ``loaded_at`` is when its loading began: what was marked invalid since
    then does not count. ``tags`` are digests of everything that can invalidate it: namespace, scope, tags.
    ``supersedes`` is not kept: whether older copies of the key, in any process, do not count once it is written.
    """

    key: bytes
    data: bytes = field(repr=False)
    loaded_at: float
    expires_at: float
    tags: tuple[bytes, ...] = ()
    supersedes: bool = field(default=False, compare=False)


class Tier(Protocol):
    """Where cached bytes live. A missing or expired key is absent from the answer. Failures are StoreError."""

    def now(self) -> float:
        """The store's clock, as well as it is known, in Unix seconds; costs nothing."""
        ...

    async def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        """The records of *keys*. What cannot be read is absent, and counted."""
        ...

    async def put_many(self, records: Sequence[Record]) -> None:
        """Store *records*; of one key what began to load last stays, and of two that began together the later one.

        A tier that is Marks too stores nothing that a mark outdates. One that cannot compare lets the last one stay.
        """
        ...

    async def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove *keys*."""
        ...

    async def erase(self, tag: bytes) -> int:
        """Remove every record that has *tag*, for good; return how many that were."""
        ...


@runtime_checkable
class Marks(Protocol):
    """What was invalidated, for every process that shares the store. A mark is a tag's digest and a time.

    Every record with that tag whose loading began before that time does not count any more.
    """

    async def mark(self, tags: Sequence[bytes], at: float) -> None:
        """Mark *tags* as invalidated at *at*; a later mark stays."""
        ...

    async def follow(self, heard: Callable[[Mapping[bytes, float]], None]) -> None:
        """Give *heard* all marks at once, then each new one as it comes, until cancelled.

        After trouble all of them again: none is missed, some may come twice. Where some may be gone by then, *heard* is
        also given ``EVERYTHING``, with the time until which nothing can be known.
        """
        ...


@runtime_checkable
class Overwrites(Protocol):
    """What was written over, for every process that shares the store. Of one key what began to load last stays."""

    def on_overwritten(self, heard: Callable[[Mapping[bytes, float]], object]) -> None:
        """Tell *heard* the keys that had a record and were put with ``supersedes``, and their ``loaded_at`` of now.

        Also those that this process has put. ``EVERYTHING`` among them: some may have been missed before.
        """
        ...


@runtime_checkable
class Leases(Protocol):
    """Who loads a key, among all processes that share the store. A lease that is not renewed ends by itself."""

    async def acquire(self, key: bytes, ttl_s: float) -> bool:
        """Whether the lease of *key* is ours now; False: another process has it."""
        ...

    async def renew(self, key: bytes, ttl_s: float) -> bool:
        """Hold our lease for another *ttl_s*; False when it was lost."""
        ...

    async def release(self, key: bytes) -> None:
        """Give our lease back and wake those who wait for it."""
        ...

    async def wait(self, key: bytes, timeout_s: float) -> None:
        """Return when the lease of *key* was given back or has run out, or after *timeout_s*."""
        ...
