"""A private PostgreSQL, from a wheel or whatever the machine has, for bots without a database server."""

from .server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
