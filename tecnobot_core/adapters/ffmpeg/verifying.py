"""Whether a program is ffmpeg, asked once before it is given anything."""

import signal

from ...errors import AudioError
from .failures import failure
from .finding import Program
from .running import Ended, Limits, run

MIB = 1024 * 1024
_LIMITS = (5, MIB, 20.0)  # seconds of processor, bytes of a file, seconds in all: a tenth of one is usual
_VERSION = b"ffmpeg version"


async def verify(program: Program) -> None:
    """AudioError "engine_missing" when *program* does not answer ``-version`` as ffmpeg does."""
    said = bytearray()

    def take(data: bytes) -> None:
        said.extend(data[: len(_VERSION) - len(said)])

    ended = await run([str(program.path), "-version"], Limits(program.address_bytes, *_LIMITS), take)
    if ended.code == -signal.SIGKILL and not ended.late and (error := failure(ended, str(program.path))):
        raise error
    if ended.late or ended.code != 0 or said != _VERSION:
        raise AudioError(
            f"{_problem(program, ended)}; set FFMPEG_PATH to an ffmpeg, or unset it", kind="engine_missing"
        )


def _problem(program: Program, ended: Ended) -> str:
    if ended.code == 127:
        return f"{program.path} does not run ({ended.said[-200:] or 'exit code 127'})"
    if ended.late:
        return f"{program.path} is not ffmpeg: it did not answer -version within {_LIMITS[2]:g} s"
    return f"{program.path} is not ffmpeg: wanted is an answer to -version that begins with {_VERSION.decode()!r}"
