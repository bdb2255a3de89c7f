"""What came in and was not acknowledged, and what became of what went out: on disk before anybody else hears of it."""

import contextlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Literal

from .arrivals import Arrivals
from .frames import Frame
from .records import encode_record, read_record, read_records, sync_folder, write_all

MAX_SEEN = 5_000  # ids that tell a message that was dropped from one that only came twice
MAX_OUTCOMES = 2_000
COMPACT_ABOVE_BYTES = 1024 * 1024

# "begun" before it is known what became of it; a process that finds it knows nothing more.
Outcome = Literal["begun", "sent", "no", "maybe"]


class Spool:
    """An append-only file of inbound messages, acknowledgements and outcomes; all methods may be called by any thread.

    A message is on disk when ``add`` returns. It stays until it is acknowledged, also over restarts. An
    acknowledgement and an outcome after "begun" are not forced to disk: a lost one costs a message that comes twice,
    or an outcome "begun", never a loss. ``damaged_bytes`` is what a disk has spoilt of the file; it was then put aside,
    under the name ``spool.damaged``, and what could be read of it is used.
    """

    def __init__(self, path: Path, *, compact_above_bytes: int = COMPACT_ABOVE_BYTES) -> None:
        self._path = path
        self._compact_above_bytes = self._compact_at_bytes = compact_above_bytes
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, tuple[int, int, int]] = OrderedDict()  # id → number, offset, length
        self._last_number = 0
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._arrivals = Arrivals()
        self._outcomes: OrderedDict[str, tuple[Outcome, str]] = OrderedDict()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.damaged_bytes = 0
        self._size = self._load()
        if self.damaged_bytes:
            with contextlib.suppress(OSError):
                self._compact()
        self._arrivals.begin()
        sync_folder(path.parent)

    def close(self) -> None:
        """Use it no more."""
        with self._lock:
            os.close(self._file)

    def __len__(self) -> int:
        """Messages that are not acknowledged."""
        return len(self._waiting)

    def add(self, message: Frame) -> bool:
        """Keep *message*; False when its id was seen before. Raises OSError when it cannot be written."""
        with self._lock:
            if message["id"] in self._seen:
                return False
            self._note_waiting(message["id"], *self._append({"in": message}, durable=True))
            return True

    def has_seen(self, message_id: str) -> bool:
        """Whether a message of that id was added, and is not long ago."""
        with self._lock:
            return message_id in self._seen

    def note_seen(self, message_id: str) -> None:
        """Remember *message_id*, of which nothing is kept."""
        with self._lock:
            if message_id not in self._seen:
                self._append({"seen": [message_id]})
                self._note_seen(message_id)

    def note_arriving(self, message_id: str, chat: str, at: float) -> None:
        """Something of that id begins to arrive from *chat* at the Unix time *at*; not forced to disk."""
        with self._lock:
            if message_id not in self._seen:
                self._append({"arr": [message_id, chat, at]})
                self._arrivals.note(message_id, chat, at)

    def lost_arrivals(self) -> Sequence[tuple[str, str]]:
        """Ids and chats of what arrived at an earlier process and was never taken in. Each is told once."""
        with self._lock:
            left = self._arrivals.left()
            if left:
                self._append({"seen": [message_id for message_id, _ in left]})
            for message_id, _ in left:
                self._note_seen(message_id)
            return left

    def settle_arrivals(self, now: float) -> None:
        """Forget what arrived long before the Unix time *now* and came to nothing."""
        with self._lock:
            if settled := self._arrivals.settled(now):
                for message_id in settled:
                    self._arrivals.forget(message_id)
                self._append({"gone": settled})

    def after(self, number: int, limit: int) -> Sequence[tuple[int, Frame]]:
        """At most *limit* waiting messages numbered above *number* (0: all), each with its number, oldest first."""
        with self._lock:
            places = islice((place for place in self._waiting.values() if place[0] > number), limit)
            return [(place[0], read_record(self._file, *place[1:])["in"]) for place in places]

    def count_up_to(self, number: int) -> int:
        """How many waiting messages have *number* or one below it."""
        with self._lock:
            return sum(1 for _ in takewhile(lambda place: place[0] <= number, self._waiting.values()))

    def acknowledge(self, message_ids: Sequence[str]) -> None:
        """Forget these messages; ids that are not waiting do not matter."""
        with self._lock:
            ids = [message_id for message_id in dict.fromkeys(message_ids) if message_id in self._waiting]
            if not ids:
                return
            # On a full disk they are forgotten here all the same; another process would tell them once more.
            for message_id in ids:
                del self._waiting[message_id]
            self._append({"ack": ids})
            self._compact_if_due()

    def begin_sending(self, key: str) -> None:
        """Note, durably, that what has *key* is about to be sent."""
        self._set_outcome(key, "begun", "", durable=True)

    def end_sending(self, key: str, outcome: Outcome, detail: str) -> None:
        """Note what became of *key*; *detail* is the sent message's id, or what failed."""
        # A disk that takes nothing makes no sent message unsent: only another process will not know of it.
        with contextlib.suppress(OSError):
            self._set_outcome(key, outcome, detail, durable=False)

    def outcome(self, key: str) -> tuple[Outcome, str] | None:
        """What became of *key*, and its detail; None when it was not sent here, or long ago."""
        with self._lock:
            return self._outcomes.get(key)

    def _set_outcome(self, key: str, outcome: Outcome, detail: str, *, durable: bool) -> None:
        with self._lock:
            if not durable:
                self._note_outcome(key, outcome, detail)
            self._append({"out": [key, outcome, detail]}, durable=durable)
            self._note_outcome(key, outcome, detail)
            self._compact_if_due()

    def _append(self, record: dict[str, Any], *, durable: bool = False) -> tuple[int, int]:
        data = encode_record(record)
        begin = self._size
        write_all(self._file, data)
        self._size += len(data)
        if durable:
            os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)
        return begin, len(data)

    def _load(self) -> int:
        """Read the file, put it aside if it is damaged, and drop a torn end; its size."""
        end = 0
        for offset, length, record in read_records(self._file):
            self.damaged_bytes += offset - end
            self._replay(record, offset, length)
            end = offset + length
        if self.damaged_bytes:
            shutil.copyfile(self._path, self._path.with_suffix(".damaged"))
        os.ftruncate(self._file, end)
        return end

    def _replay(self, record: dict[str, Any], offset: int, length: int) -> None:
        match record:
            case {"in": message}:
                self._note_waiting(message["id"], offset, length)
            case {"ack": ids}:
                for message_id in ids:
                    self._waiting.pop(message_id, None)
            case {"seen": ids}:
                for message_id in ids:
                    self._note_seen(message_id)
            case {"arr": [message_id, chat, at]}:
                self._arrivals.note(message_id, chat, at)
            case {"gone": ids}:
                for message_id in ids:
                    self._arrivals.forget(message_id)
            case {"out": [key, outcome, detail]}:
                self._note_outcome(key, outcome, detail)

    def _note_waiting(self, message_id: str, offset: int, length: int) -> None:
        self._last_number += 1
        self._waiting[message_id] = (self._last_number, offset, length)
        self._note_seen(message_id)

    def _note_seen(self, message_id: str) -> None:
        self._arrivals.forget(message_id)
        self._seen[message_id] = None
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)

    def _note_outcome(self, key: str, outcome: Outcome, detail: str) -> None:
        self._outcomes[key] = (outcome, detail)
        self._outcomes.move_to_end(key)
        if len(self._outcomes) > MAX_OUTCOMES:
            self._outcomes.popitem(last=False)

    def _compact_if_due(self) -> None:
        if self._size > self._compact_at_bytes:
            try:
                self._compact()
            except OSError:
                self._compact_at_bytes = 2 * self._size  # the old file is whole and goes on growing

    def _compact(self) -> None:
        """Write what still counts into a new file, and put that in the old one's place."""
        fresh = self._path.with_suffix(".new")
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            waiting, size = self._copy_to(file)
            os.fsync(file)
            os.replace(fresh, self._path)
        except OSError:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._size, self._waiting = file, size, waiting
        # What still waits may be much; without this every acknowledgement would write it all again.
        self._compact_at_bytes = max(self._compact_above_bytes, 2 * size)
        sync_folder(self._path.parent)

    def _copy_to(self, file: int) -> tuple[OrderedDict[str, tuple[int, int, int]], int]:
        """Write what still counts into *file*; where the waiting messages are in it, and its size."""
        records: list[dict[str, Any]] = [{"seen": list(self._seen)}, *self._arrivals.records()]
        records += [{"out": [key, *outcome]} for key, outcome in self._outcomes.items()]
        head = b"".join(map(encode_record, records))
        write_all(file, head)
        waiting, size = OrderedDict[str, tuple[int, int, int]](), len(head)
        for message_id, (number, offset, length) in self._waiting.items():
            write_all(file, os.pread(self._file, length, offset))
            waiting[message_id] = (number, size, length)
            size += length
        return waiting, size
