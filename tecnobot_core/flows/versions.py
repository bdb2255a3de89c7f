"""The versions of flows that conversations stand on, as programs: the current ones, and some older ones."""

import json
import logging
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

from ..errors import FlowError
from .matching import MatchIndex
from .model import Flow
from .ports import KeepsVersions
from .program import Program
from .reading import write_steps
from .steps import AnyStep

logger = logging.getLogger(__name__)

MAX_OLD = 256  # programs; more than the conversations that are answered at once, with their callers, stand on
_VERSION_BITS = 52  # whole in JSON, wherever that is read


def version_of(flow: Flow) -> int:
    """The version that the store gave a flow; without one, what follows from its steps, alike in every process."""
    if flow.version:
        return flow.version
    stored = json.dumps(write_steps(flow.steps), sort_keys=True).encode()
    number = int.from_bytes(blake2b(stored, digest_size=8).digest(), "big") >> (64 - _VERSION_BITS)
    return number or 1


class Programs:
    """The programs of the flows of a chatbot. *store* is None where older versions are not kept.

    Programs are looked up without waiting, so ``load`` has to read older ones before. The *max_old* that were used last
    are remembered, and that a version is gone, until the flows change.
    """

    def __init__(self, chatbot_id: str, store: KeepsVersions | None, *, max_old: int = MAX_OLD) -> None:
        self._chatbot_id = chatbot_id
        self._store = store
        self._max_old = max_old
        self._current: dict[str, tuple[Flow, Program]] = {}
        # Each with the version of the chatbot's flows for which it was looked for; the least recently used first.
        self._old: OrderedDict[tuple[str, int], tuple[int | None, Program | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._current) + len(self._old)

    def current(self, flow: Flow) -> Program:
        """The program of *flow*, which is the current one of its id."""
        known = self._current.get(flow.id)
        if known is not None and known[0] is flow:
            return known[1]
        if known is None:
            program = Program(flow.id, lambda: version_of(flow), flow.steps)
        elif known[1].version == (version := version_of(flow)):
            program = known[1]
        else:
            program = Program(flow.id, version, flow.steps)
            self._put(known[1], known_for=None)
        self._current[flow.id] = (flow, program)
        return program

    def old(self, flow_id: str, version: int) -> Program | None:
        """An older version, if it was loaded and is not gone."""
        key = (flow_id, version)
        if key not in self._old:
            return None
        self._old.move_to_end(key)
        return self._old[key][1]

    def follow(self, index: MatchIndex) -> None:
        """Take over from *index* what the flows are now; conversations go on in what they were."""
        for flow_id, (_, program) in list(self._current.items()):
            if (flow := index.get(flow_id)) is not None:
                self.current(flow)
            else:
                del self._current[flow_id]
                self._put(program, known_for=None)

    def forget(self, flow_id: str) -> None:
        """Drop the older versions of a flow."""
        for key in [key for key in self._old if key[0] == flow_id]:
            del self._old[key]

    async def load(self, wanted: Iterable[tuple[str, int]], flows_version: int) -> None:
        """Read older versions that are not known for *flows_version*. Raises StoreError."""
        if self._store is None:
            return
        for flow_id, version in wanted:
            known_for, program = self._old.get((flow_id, version), (None, None))
            if known_for == flows_version:
                continue
            steps = await self._read(self._store, flow_id, version)
            if steps is None:
                self._set((flow_id, version), (flows_version, None))
            else:
                self._put(program or Program(flow_id, version, steps), known_for=flows_version)

    async def _read(self, store: KeepsVersions, flow_id: str, version: int) -> tuple[AnyStep, ...] | None:
        try:
            return await store.load_version(self._chatbot_id, flow_id, version)
        except FlowError as error:
            logger.warning("version %d is gone, its conversations go on in the current one: %s", version, error)
            return None

    def _put(self, program: Program, *, known_for: int | None) -> None:
        self._set((program.flow_id, program.version), (known_for, program))

    def _set(self, key: tuple[str, int], entry: tuple[int | None, Program | None]) -> None:
        self._old[key] = entry
        self._old.move_to_end(key)
        while len(self._old) > self._max_old:
            self._old.popitem(last=False)
