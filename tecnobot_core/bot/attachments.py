"""What people attached, fetched when it is wanted and gone afterwards."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path

from ..connection import FetchesMedia
from ..errors import AudioError
from ..messages import MediaReference
from ..temporary_files import TemporaryFiles

MIB = 1024 * 1024


class Attachments:
    """Fetches attachments of *transport* into *files*, none of more than *max_bytes*.

    *reserve*, as ``MemoryManager.reserve``, is asked for *memory_factor* times the size before anything is fetched, and
    has it back as soon as the file is there. 4 is what the gateway process of WhatsApp took for an attachment of 16
    MiB, which it holds encrypted, decrypted and on its way; register that process as a child, so that readings show it.
    """

    def __init__(
        self,
        transport: FetchesMedia,
        files: TemporaryFiles,
        *,
        max_bytes: int = 25 * MIB,
        reserve: Callable[[int], AbstractAsyncContextManager[object]] | None = None,
        memory_factor: float = 4.0,
    ) -> None:
        if not memory_factor >= 0:
            raise ValueError(f"memory_factor must be at least 0, not {memory_factor}")
        self._transport = transport
        self._files = files
        self._max_bytes = max_bytes
        self._reserve = reserve or (lambda n_bytes: nullcontext())
        self._memory_factor = memory_factor

    @asynccontextmanager
    async def fetched(self, media: MediaReference) -> AsyncIterator[Path]:
        """A file with the content of *media*.

        Raises AudioError "too_big" where the size is told and above the most, TransportError, TemporarySpaceError, and
        MemoryBusyError when there is no memory for it.
        """
        # Where the size is not known it may be any.
        n_bytes = self._max_bytes if media.size_bytes is None else media.size_bytes
        if n_bytes > self._max_bytes:
            raise AudioError(
                f"the attachment has {n_bytes:,} bytes; at most {self._max_bytes:,} are fetched; send a shorter one",
                kind="too_big",
            )
        async with AsyncExitStack() as kept:
            async with self._reserve(int(self._memory_factor * n_bytes)):
                path = await kept.enter_async_context(self._files.lease(".media", n_bytes))
                await self._transport.fetch_media(media, path, max_bytes=self._max_bytes)
            yield path
