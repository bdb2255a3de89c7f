"""What was invalidated, as times that are compared at every read."""

from collections.abc import Callable, Collection, Mapping

MAX_MARKS = 20_000
CHECKED_S = 5.0
_TICK_S = 1e-6  # a store keeps microseconds, and two stamps must stay apart in it


class Generation:
    """The time between two marks, until ``until`` at the latest, on whatever clock the reader has."""

    __slots__ = ("until",)

    def __init__(self, until: float = float("-inf")) -> None:
        self.until = until


class KnownMarks:
    """The newest mark of each tag that this process knows, and the clock that puts loads and marks in one order.

    What began to load before a mark of one of its tags, or at the same time, does not count any more. Every stamp is
    later than all stamps and all marks before it, whatever the clock does (a hybrid logical clock): what begins after a
    mark counts, within one tick of the clock and after it was set back.

    What was written over elsewhere is known by its key, which is a tag too: what began before its new value does not
    count. That is only to be known while something older may be in memory, so ``forget_overwritten`` forgets it.

    ``generation`` is another one after every mark: what was found to count under the present one still does.
    """

    def __init__(self, now: Callable[[], float], *, max_marks: int = MAX_MARKS) -> None:
        self.newest = float("-inf")
        self.generation = Generation()
        self._now = now
        self._max_marks = max_marks
        self._floor = float("-inf")
        self._last = float("-inf")
        self._marks: dict[bytes, float] = {}
        self._overwritten: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def stamp(self) -> float:
        """The time now, in Unix seconds of the store or in those of the clock, later than all before."""
        self._last = max(round(self._now(), 6), round(self._last + _TICK_S, 6))
        return self._last

    def renew(self) -> None:
        """Begin another generation: something else than a mark may end what was found to count."""
        self.generation = Generation()

    def generation_at(self, now: float) -> Generation:
        """The present generation, or a new one of ``CHECKED_S`` where that has ended at *now*."""
        if now >= self.generation.until:
            self.generation = Generation(now + CHECKED_S)
        return self.generation

    def add(self, marks: Mapping[bytes, float]) -> None:
        """Know *marks*; of one tag the latest stays."""
        for tag, at in marks.items():
            if at > self._marks.get(tag, self._floor):
                self._marks[tag] = at
                self.newest = max(self.newest, at)
        self._last = max(self._last, self.newest)
        self.renew()
        if len(self._marks) > self._max_marks:
            self._forget_older_half()

    @property
    def overwritten(self) -> int:
        """How many keys are known to have been written over."""
        return len(self._overwritten)

    def add_overwritten(self, overwritten: Mapping[bytes, float]) -> None:
        """Know by their keys when the values began that are in the store now.

        Keys of aiocache's face, whose entries are looked at in every hit: so it needs no other ``generation``.
        """
        for key, at in overwritten.items():
            self._overwritten.pop(key, None)  # the newest last
            self._overwritten[key] = at
            self.newest = max(self.newest, at)
        self._last = max(self._last, self.newest)

    def is_overwritten(self, key: bytes) -> bool:
        """Whether *key* is known to have been written over."""
        return key in self._overwritten

    def forget_overwritten(self, count: int) -> None:
        """Forget the *count* that were heard longest ago: nothing in memory is older than they are."""
        for key in list(self._overwritten)[:count]:
            del self._overwritten[key]

    def add_for_all(self, at: float) -> None:
        """Everything that began to load until *at* does not count any more."""
        self._floor = max(self._floor, at)
        self.newest = max(self.newest, at)
        self._last = max(self._last, at)
        self.renew()
        self._marks = {tag: time for tag, time in self._marks.items() if time > self._floor}

    def counts(self, began_at: float, tags: Collection[bytes]) -> bool:
        """Whether what began to load at *began_at* with *tags* still counts."""
        if began_at > self.newest:
            return True
        # Of most entries no tag is marked, which is seen in a third of the time.
        if began_at > self._floor and self._marks.keys().isdisjoint(tags) and self._overwritten.keys().isdisjoint(tags):
            return True
        return self.outdated_by(began_at, tags) is None

    def outdated_by(self, began_at: float, tags: Collection[bytes]) -> bytes | None:
        """The tag whose mark says that it does not count; b"" when all that is so old does not; None when it counts."""
        marks, overwritten, floor = self._marks, self._overwritten, self._floor
        if began_at <= floor:
            return b""
        for tag in tags:
            if began_at <= marks.get(tag, floor) or began_at < overwritten.get(tag, floor):
                return tag
        return None

    def _forget_older_half(self) -> None:
        # Everything as old as a forgotten mark stops counting with it: some hits are lost, none is wrong.
        times = sorted(self._marks.values())
        self.add_for_all(times[len(times) // 2])
