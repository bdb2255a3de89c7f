"""The temporary files of one job: none until the first is needed, none when it ends."""

from collections.abc import AsyncIterable
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import AudioError
from ..tasks import in_thread
from ..temporary_files import TemporaryFiles


class Workspace:
    """Leases files of *files*, or of a directory of its own, until it is left."""

    def __init__(self, files: TemporaryFiles | None) -> None:
        self._files = files
        self._leases = AsyncExitStack()

    async def lease(self, suffix: str, n_bytes: int) -> Path:
        """A new file of at most *n_bytes*."""
        if self._files is None:
            self._files = await self._leases.enter_async_context(TemporaryFiles())
        return await self._leases.enter_async_context(self._files.lease(suffix, n_bytes))

    async def keep(self, data: bytes) -> Path:
        """A file that holds *data*."""
        path = await self.lease("", len(data))
        await in_thread(partial(path.write_bytes, data))
        return path

    async def keep_stream(self, chunks: AsyncIterable[bytes], size_bytes: int) -> tuple[Path, int]:
        """A file that holds *chunks*, and how many bytes came; AudioError "too_big" when more than *size_bytes* do."""
        path = await self.lease("", size_bytes)
        arrived_bytes = 0
        with ExitStack() as opened:
            file = await in_thread(lambda: opened.enter_context(path.open("wb")))
            async for chunk in chunks:
                arrived_bytes += len(chunk)
                refuse_more_than(size_bytes, arrived_bytes)
                await in_thread(partial(file.write, chunk))
        return path, arrived_bytes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leases.__aexit__(exc_type, exc, traceback)


def refuse_more_than(size_bytes: int, arrived_bytes: int) -> None:
    """Raise AudioError when a source gives more than it declared."""
    if arrived_bytes > size_bytes:
        raise AudioError(
            f"the recording is larger than the {size_bytes:,} bytes that were declared; send it again", kind="too_big"
        )
