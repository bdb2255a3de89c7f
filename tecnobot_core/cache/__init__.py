"""HybridCache: remembers answers, asks once, forgets in time, gives memory back."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .face import MemoryFace as MemoryFace
from .hybrid import HybridCache as HybridCache
from .loading import Uncached as Uncached
from .policies import DEFAULT_POLICIES as DEFAULT_POLICIES
from .policies import CachePolicy as CachePolicy
from .policies import policies_with as policies_with

if TYPE_CHECKING:
    from .aiocache_tier import AiocacheTier as AiocacheTier
    from .keys import answer_scope as answer_scope
    from .keys import is_cacheable_request as is_cacheable_request
    from .keys import is_storable_answer as is_storable_answer
    from .keys import request_key as request_key

# What a cache alone does not need comes on first use.
_LATER = {
    "AiocacheTier": "aiocache_tier",
    "answer_scope": "keys",
    "is_cacheable_request": "keys",
    "is_storable_answer": "keys",
    "request_key": "keys",
}


def __getattr__(name: str) -> Any:
    if (module := _LATER.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
