"""What PostgreSQL's text cannot hold is replaced here, at the door."""

import json
import re
from typing import Any

from ...errors import StoreError

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


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
