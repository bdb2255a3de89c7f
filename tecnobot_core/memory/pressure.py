"""The ladder of refusal: attachments, then messages, then a new process."""

from .ports import MemoryLevel

REFUSING_SHARE = 0.97  # messages are refused when releasing did not get below
RECYCLING_SHARE = 0.95  # a new process is wanted when this lasts


class Ladder:
    """What is still admitted. *recycle_after_s* is how long the last step has to last for a new process, None never."""

    def __init__(self, critical: float, *, recycle_after_s: float | None) -> None:
        self.admits_media = True
        self.admits_messages = True
        self._critical = critical
        self._recycle_after_s = recycle_after_s
        self._full_since: float | None = None
        self._recycled = False

    def update(self, level: MemoryLevel, share: float, now: float) -> bool:
        """Take a reading from after the release, *now* in seconds; True once, when a new process is wanted."""
        self.admits_media = level != "critical"
        # What was refused once is admitted again only below where "critical" begins.
        refuses_from = self._critical if not self.admits_messages else max(REFUSING_SHARE, self._critical)
        self.admits_messages = share < refuses_from or level != "critical"
        return self._wants_recycling(share, now)

    def _wants_recycling(self, share: float, now: float) -> bool:
        if share < max(RECYCLING_SHARE, self._critical):
            self._full_since = None
            return False
        if self._full_since is None:
            self._full_since = now
        if self._recycled or self._recycle_after_s is None or now - self._full_since < self._recycle_after_s:
            return False
        self._recycled = True
        return True
