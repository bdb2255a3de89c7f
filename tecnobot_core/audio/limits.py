"""What an upload may be: bytes of the request, seconds by model."""

from collections.abc import Mapping
from dataclasses import dataclass

# Longest recording that a model takes, in seconds; None: any. The service refuses what is longer, whatever its size.
MODEL_MAX_CLIP_S: Mapping[str, float | None] = {
    "gpt-4o-transcribe": 1400.0,
    "gpt-4o-mini-transcribe": 1400.0,
    "gpt-4o-transcribe-diarize": 1400.0,
    "whisper-1": None,
}

MIN_BYTES_FOR_A_SECOND = 500  # 4 kb/s: less than any codec of speech needs, so a bound of what a size can last
_MARGIN = 100  # a hundredth of an upload is left to the rest of the request: 256 KiB of 25 MiB


def max_clip_s_of(model: str | None) -> float | None:
    """The longest clip that *model* takes; the strictest for None, and for the dated name of a model that is known."""
    if model is None:
        return min(cap for cap in MODEL_MAX_CLIP_S.values() if cap is not None)
    known = [name for name in MODEL_MAX_CLIP_S if model == name or model.startswith(f"{name}-")]
    return MODEL_MAX_CLIP_S[max(known, key=len)] if known else None


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one clip may be at most."""

    max_bytes: int
    max_s: float | None

    @classmethod
    def of(cls, max_upload_bytes: int, max_clip_s: float | None) -> "UploadLimits":
        """With the margin that the rest of a request of *max_upload_bytes* needs."""
        return cls(max_upload_bytes - max_upload_bytes // _MARGIN, max_clip_s)

    def admit(self, size_bytes: int, duration_s: float | None) -> bool:
        """Whether a recording may be uploaded in one piece, as far as its header tells."""
        if size_bytes > self.max_bytes:
            return False
        if self.max_s is None:
            return True
        return (size_bytes / MIN_BYTES_FOR_A_SECOND if duration_s is None else duration_s) <= self.max_s
