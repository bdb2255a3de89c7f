"""What an ended child means, in the words of the error tree."""

import re
import signal

from ...errors import AudioError, TemporarySpaceError
from .running import Ended

# 255: it stopped in order on a signal, here that of the processor time.
_OVER_LIMIT = (-signal.SIGXCPU, -signal.SIGXFSZ, 255)
_UNSUPPORTED = re.compile(
    r"unknown decoder|decoder .*not found|no decoder|could not find codec parameters|unsupported codec"
    r"|decoding requested, but no decoder",
    re.IGNORECASE,
)
_NO_TRACK = re.compile(r"matches no streams|does not contain any stream|no such (?:audio )?stream", re.IGNORECASE)
_NO_OPUS = re.compile(r"unknown encoder 'libopus'", re.IGNORECASE)


def lacks_opus(ended: Ended) -> bool:
    """Whether this program was built without an encoder for Opus."""
    return ended.code != 0 and _NO_OPUS.search(ended.said) is not None


def failure(ended: Ended, program: str) -> Exception | None:
    """The error that *ended* is; None when it is none."""
    if ended.late or ended.code in _OVER_LIMIT or "File too large" in ended.said:
        return AudioError(
            "the recording took more time or space than its length allows; record it again, or send a shorter one",
            kind="too_long",
        )
    if ended.code == 0:
        return None
    if "No space left on device" in ended.said:
        return TemporarySpaceError("the disk is full; free some space where temporary files are kept")
    if ended.code == 127:
        return AudioError(
            f"{program} does not run ({_last(ended)}); install it with: pip install 'tecnobot-core[audio]'",
            kind="engine_missing",
        )
    if ended.said.endswith("No such file or directory"):
        return TemporarySpaceError(
            "the recording, or the directory of temporary files, was removed while it was converted; send it again"
        )
    if _NO_TRACK.search(ended.said):
        return AudioError("this file has no audio track; send a voice note", kind="no_audio_track")
    if _UNSUPPORTED.search(ended.said):
        return AudioError(
            "this kind of recording cannot be decoded here; send it as a voice note, or as MP3", kind="unsupported"
        )
    if ended.code == -signal.SIGKILL:
        return AudioError("ffmpeg was killed, perhaps for want of memory; try again", kind="cannot_decode")
    return AudioError(
        f"the recording cannot be decoded ({_last(ended)}); record it again, or send it as a voice note",
        kind="cannot_decode",
    )


def _last(ended: Ended) -> str:
    """The last thing it said. The paths in it are temporary, so they say nothing to anyone."""
    line = ended.said.splitlines()[-1] if ended.said else f"exit code {ended.code}"
    return re.sub(r"(?:file:)?/\S+/", "", line)[:200]
