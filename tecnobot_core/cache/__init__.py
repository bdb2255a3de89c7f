"""HybridCache: remembers answers, asks once, forgets in time, gives memory back."""

from .aiocache_tier import AiocacheTier as AiocacheTier
from .face import MemoryFace as MemoryFace
from .hybrid import HybridCache as HybridCache
from .keys import answer_scope as answer_scope
from .keys import is_cacheable_request as is_cacheable_request
from .keys import is_storable_answer as is_storable_answer
from .keys import request_key as request_key
from .loading import Uncached as Uncached
from .policies import DEFAULT_POLICIES as DEFAULT_POLICIES
from .policies import CachePolicy as CachePolicy
from .policies import policies_with as policies_with
