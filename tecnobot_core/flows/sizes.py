"""How much memory the flows of a chatbot take, about: measured on some of them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from .matching import MatchIndex

_SAMPLE = 32  # flows; looking at all of thousands would cost a tenth of loading them
_KEYWORD_BYTES = 90  # in the tables of an index, measured with tracemalloc over corpora of 100 to 5,000 flows
_INDEX_BYTES = 2_000  # of one that is empty
_BLOCK_BYTES = 16  # memory is given out in multiples of it


def estimate_bytes(index: MatchIndex) -> int:
    """About the bytes that *index* and its flows take; within a third of what tracemalloc finds."""
    flows = tuple(index)
    if not flows:
        return _INDEX_BYTES
    sample: Sequence[Any] = flows[:: -(-len(flows) // _SAMPLE)]
    known: set[int] = set()
    in_sample = sum(_size(flow, known) + _KEYWORD_BYTES * len(flow.keywords) for flow in sample)
    return _INDEX_BYTES + in_sample * len(flows) // len(sample)


def _size(value: object, known: set[int]) -> int:
    """Bytes of *value* and what it alone holds; what many flows share is in *known* after the first."""
    if id(value) in known or isinstance(value, bool | float | type(None)):
        return 0
    known.add(id(value))
    own = -(-sys.getsizeof(value) // _BLOCK_BYTES) * _BLOCK_BYTES
    if is_dataclass(value):
        return own + sum(_size(getattr(value, field.name), known) for field in fields(value))
    if isinstance(value, Mapping):
        return own + sum(_size(item, known) for pair in value.items() for item in pair)
    if isinstance(value, tuple | list):
        return own + sum(_size(item, known) for item in value)
    return own
