"""The cache's store in PostgreSQL: a tier for HybridCache, and a plain aiocache backend over the same table."""

from .plain import PostgresCache as PostgresCache
from .tier import PostgresTier as PostgresTier
