"""What PostgreSQL cannot hold is replaced here, at the door."""

import json
import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ...errors import StoreError

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAX_US = 2**53  # in the year 2255; up to here a float in the database is exact, too


def storable(text: str) -> str:
    """*text* with U+FFFD in the place of each NUL, which PostgreSQL refuses, and lone surrogate, which has no UTF-8."""
    return _UNSTORABLE.sub("\ufffd", text)


def to_json(value: object) -> str:
    """*value* as JSON text that jsonb takes, its texts made storable. Raises StoreError for what is not JSON."""
    try:
        text = _dump(value)
        if "\\u0000" in text or _UNSTORABLE.search(text):
            # Only now, because it copies everything.
            text = _dump(_storable_within(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"a value is not JSON: {error}", retryable=False) from error
    return text


def to_us(at: float) -> int:
    """The Unix time *at* in whole microseconds, the nearest; what lies too far away is brought nearer."""
    return _within(at, round)


def due_us(at: float | None) -> int | None:
    """As ``to_us``, but rounded up, so that at the time that is stored *at* has come. None is none."""
    return None if at is None else _within(at, math.ceil)


def until_us(at: float) -> int:
    """The last microsecond that, read back as a float, is not after *at*."""
    us = to_us(at)
    return us if us / 1_000_000 <= at else us - 1


def _within(at: float, rounded: Callable[[Fraction], int]) -> int:
    if math.isnan(at):
        raise StoreError("a time is not a number", retryable=False)
    if abs(at) * 1e6 >= _MAX_US:
        return _MAX_US if at > 0 else -_MAX_US
    # A product of floats may lie on either side of the true one.
    return rounded(Fraction(at) * 1_000_000)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _storable_within(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {_storable_within(key): _storable_within(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable_within(item) for item in value]
    return value
