"""Values as JSON."""

import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from enum import Enum


def json_value(value: object) -> object:
    """*value* in JSON types: dataclasses as objects, numbers that JSON lacks as null, all else as it prints.

    Strings too are taken as they print, so a chat id stays hashed.
    """
    if isinstance(value, Enum):
        return json_value(value.value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_value(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, Sequence | Set) and not isinstance(value, str | bytes | bytearray):
        return [json_value(item) for item in value]
    return str(value)


def encode_json(value: object) -> bytes:
    """*value* in JSON types as ASCII: a lone surrogate travels as its escape, which UTF-8 could not carry."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
