"""What people attached, fetched when it is wanted and gone afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..connection import FetchesMedia
from ..messages import MediaReference
from ..temporary_files import TemporaryFiles

MIB = 1024 * 1024


class Attachments:
    """Fetches attachments of *transport* into *files*, none of more than *max_bytes*."""

    def __init__(self, transport: FetchesMedia, files: TemporaryFiles, *, max_bytes: int = 25 * MIB) -> None:
        self._transport = transport
        self._files = files
        self._max_bytes = max_bytes

    @asynccontextmanager
    async def fetched(self, media: MediaReference) -> AsyncIterator[Path]:
        """A file with the content of *media*. Raises TransportError and TemporarySpaceError."""
        # Where the size is not known it may be any.
        n_bytes = self._max_bytes if media.size_bytes is None else min(media.size_bytes, self._max_bytes)
        async with self._files.lease(".media", n_bytes) as path:
            await self._transport.fetch_media(media, path, max_bytes=self._max_bytes)
            yield path
