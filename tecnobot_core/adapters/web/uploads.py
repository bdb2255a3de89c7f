"""Files that pages upload, kept on disk until the turn of their message is done."""

import asyncio
import hashlib
import logging
import math
import secrets
import shutil
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from ...errors import TransportError
from ...messages import MediaReference
from ...tasks import in_thread
from .feed import MIB
from .sniffing import image_type, is_text
from .upload_disk import append, create, find, finish, is_name, part_of

logger = logging.getLogger(__name__)

UploadKind = Literal["voice", "image"]

MAX_BYTES: dict[UploadKind, int] = {"voice": 25 * MIB, "image": 8 * MIB}
SWEEP_EVERY_S = 3600.0
_BLOCK_BYTES = 256 * 1024
_CHARGE_BYTES = 4096  # what the smallest file takes of a disk, so that the budget bounds their number too
_MAX_DONE = 1000
_NO_ROOM = 507


class UploadError(TransportError):
    """An upload is not taken; the message says why, ``status`` says it in HTTP."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence, retryable=status == _NO_ROOM)
        self.status = status


class Uploads:
    """A directory (0700) of uploaded files (0600, random names), at most *max_bytes* in all.

    A file belongs to a message, named by ``owner_of``, and stays until it is discarded, or *keep_s* are over: a bot
    that was killed finds it again. Below *min_free_bytes* of free space nothing is taken. *clock* is in Unix seconds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = 256 * MIB,
        keep_s: float = 86_400.0,
        min_free_bytes: int = 64 * MIB,
        clock: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] = lambda directory: shutil.disk_usage(directory).free,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self._free_bytes = free_bytes
        self._sleep = sleep
        self._opened = False
        self._used_bytes = 0
        self._files: dict[str, tuple[int, float]] = {}  # by name: bytes charged, when it was stored
        self._owned: dict[str, set[str]] = {}
        self._stored: dict[str, MediaReference] = {}  # by owner, of this process
        self._done: dict[str, None] = {}

    @property
    def used_bytes(self) -> int:
        """What is kept and being written, in bytes."""
        return self._used_bytes

    async def open(self) -> None:
        """Find what an earlier process kept, and remove what is too old. A directory that cannot be used is logged."""
        try:
            await self._prepare()
        except OSError as error:
            logger.warning("uploads cannot be kept in %s: %s", self._directory, error.strerror)
            return
        await self.sweep()

    async def run(self) -> None:
        """Sweep every hour until cancelled."""
        while True:
            await self._sleep(SWEEP_EVERY_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Remove what was kept for *keep_s*."""
        oldest = self._clock() - self._keep_s
        for name in [name for name, (_, stored_at) in self._files.items() if stored_at < oldest]:
            await self._remove(name)

    def stored(self, owner: str) -> MediaReference | None:
        """What *owner* uploaded to this process and still has here."""
        return self._stored.get(owner)

    def is_done(self, owner: str) -> bool:
        """Whether the turn of *owner* was done lately, so that it needs no file any more."""
        return owner in self._done

    def discard(self, owners: Iterable[str]) -> Awaitable[None] | None:
        """Remove what *owners* uploaded, once awaited; None when there is nothing."""
        having = [owner for owner in owners if owner in self._owned]
        return self._discard(having) if having else None

    def path_of(self, media: MediaReference) -> Path:
        """The file of *media*. Raises TransportError, not retryable, when it is gone."""
        path = self._directory / media.address
        if not is_name(media.address) or not path.is_file():
            raise TransportError("the uploaded file is not kept any more", retryable=False)
        return path

    async def store(
        self, owner: str, kind: UploadKind, chunks: AsyncIterable[bytes], *, file_name: str = ""
    ) -> MediaReference:
        """Keep what *chunks* give. Raises UploadError; whatever happens, no unfinished file is left."""
        name = f"{secrets.token_hex(16)}-{owner}"
        try:
            await self._prepare()
            size_bytes, sha256, mime = await self._write(name, kind, chunks)
        except OSError as error:
            logger.warning("an upload cannot be kept: %s", error)
            raise UploadError(_NO_ROOM, f"the file cannot be kept: {error.strerror}") from error
        self._own(name, size_bytes, self._clock())
        media = MediaReference(
            kind=kind, address=name, mime=mime, size_bytes=size_bytes, sha256=sha256, file_name=file_name
        )
        self._stored[owner] = media
        return media

    async def _write(self, name: str, kind: UploadKind, chunks: AsyncIterable[bytes]) -> tuple[int, str, str]:
        """Size, hash and type of what was written."""
        path = self._directory / name
        digest = hashlib.sha256()
        size_bytes, mime = 0, ""
        try:
            self._charge(name, 0)
            with ExitStack() as opened:
                file = await in_thread(lambda: opened.enter_context(create(path)))
                async for block in _blocks(chunks):
                    mime = mime if size_bytes else _type_of(block, kind)
                    size_bytes += len(block)
                    if size_bytes > MAX_BYTES[kind]:
                        raise UploadError(413, too_big(kind))
                    self._charge(name, size_bytes)
                    await in_thread(partial(self._append, file, digest.update, block))
                if not size_bytes:
                    raise UploadError(400, "the file is empty")
                await in_thread(partial(finish, file, path, self._clock()))
        except BaseException:
            self._release(name)
            await in_thread(partial(part_of(path).unlink, missing_ok=True))
            raise
        return size_bytes, digest.hexdigest(), mime

    def _charge(self, name: str, size_bytes: int) -> None:
        """Count *size_bytes* in all for *name*, which is being written."""
        more_bytes = max(size_bytes, _CHARGE_BYTES) - self._files.get(name, (0, 0.0))[0]
        if self._used_bytes + more_bytes > self._max_bytes:
            raise UploadError(_NO_ROOM, "there is no room for files right now; earlier ones must be answered first")
        self._count(name, size_bytes, math.inf)

    def _count(self, name: str, size_bytes: int, stored_at: float) -> None:
        charged_bytes = max(size_bytes, _CHARGE_BYTES)
        self._used_bytes += charged_bytes - self._files.get(name, (0, 0.0))[0]
        self._files[name] = (charged_bytes, stored_at)

    def _release(self, name: str) -> None:
        self._used_bytes -= self._files.pop(name, (0, 0.0))[0]

    def _own(self, name: str, size_bytes: int, stored_at: float) -> None:
        self._count(name, size_bytes, stored_at)
        self._owned.setdefault(name.partition("-")[2], set()).add(name)

    def _append(self, file: IO[bytes], update: Callable[[bytes], object], block: bytes) -> None:
        if self._free_bytes(self._directory) - len(block) < self._min_free_bytes:
            raise UploadError(_NO_ROOM, "the disk is nearly full; the file cannot be kept")
        append(file, block)
        update(block)

    async def _discard(self, owners: Iterable[str]) -> None:
        for owner in owners:
            self._done[owner] = None
            if len(self._done) > _MAX_DONE:
                del self._done[next(iter(self._done))]
            for name in tuple(self._owned.get(owner, ())):
                await self._remove(name)

    async def _remove(self, name: str) -> None:
        self._forget(name)
        try:
            await in_thread(partial((self._directory / name).unlink, missing_ok=True))
        except OSError as error:
            logger.warning("an uploaded file cannot be removed: %s", error)

    def _forget(self, name: str) -> None:
        owner = name.partition("-")[2]
        self._release(name)
        self._stored.pop(owner, None)
        names = self._owned.get(owner, set())
        names.discard(name)
        if not names:
            self._owned.pop(owner, None)

    async def _prepare(self) -> None:
        """Find what is there, at first, and again when the directory was removed under a running bot."""
        if self._opened and await in_thread(self._directory.is_dir):
            return
        known = [name for name, (_, stored_at) in self._files.items() if stored_at < math.inf]
        found = await in_thread(partial(find, self._directory, self._clock()))
        for name in known:
            if name not in found:
                self._forget(name)
        for name, (size_bytes, stored_at) in found.items():
            if name not in self._files:
                self._own(name, size_bytes, stored_at)
        self._opened = True


def owner_of(chat: str, message_id: str) -> str:
    """The name under which the files of a message are kept: tells nothing about who wrote it."""
    return hashlib.blake2s(f"{chat}/{message_id}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def too_big(kind: UploadKind) -> str:
    """The sentence for a file above its limit."""
    noun = {"voice": "a recording", "image": "an image"}[kind]
    return f"{noun} may have {MAX_BYTES[kind] // MIB} MiB"


def _type_of(head: bytes, kind: UploadKind) -> str:
    """The MIME type of an image; none for a recording, which is examined by whoever listens to it."""
    if kind == "image":
        if (mime := image_type(head)) is None:
            raise UploadError(415, "this is not an image; wanted is PNG, JPEG, WebP or GIF")
        return mime
    if is_text(head):
        raise UploadError(415, "this is text, not a recording")
    return ""


async def _blocks(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """*chunks* joined to blocks that are worth a thread each."""
    block = bytearray()
    async for chunk in chunks:
        block += chunk
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
