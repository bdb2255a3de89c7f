"""The command lines: what ffmpeg may open, what it makes, how it tells its progress."""

from collections.abc import Sequence
from pathlib import Path

from ...audio.ports import Codec, Encoding, Span

SAMPLE_RATE_HZ = 16_000  # what transcription models hear; more costs bytes and is thrown away
SILENCE_DB = -35
SILENCE_S = 0.4  # a pause between sentences, not between words

# Both lists are needed: with "file" alone, a playlist with the name of a recording still reads any local file.
PROTOCOLS = "file"
FORMATS = "ogg,mov,mp3,aac,amr,amrnb,amrwb,wav,flac,matroska,caf,aiff,asf,w64"

_LEAD_S = 10.0  # more than a page of any container

# Frames of 60 ms, as WhatsApp's own notes have: 2 % smaller than those of 20 ms and no worse. Less effort (a lower
# -compression_level) saves a quarter of the processor's time at 5, but speech suffers; at 8, number of bytes and scores
# were those of 10.
_OPUS = ("libopus", "-application", "voip", "-frame_duration", "60")

_QUIET = ("-hide_banner", "-nostdin", "-nostats", "-v", "error", "-threads", "1", "-filter_threads", "1")
# The same source gives the same bytes, so that a recording that was forwarded has the same hash.
_EXACT = ("-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")
_PROGRESS = ("-progress", "pipe:1", "-stats_period", "0.5")


def encode_command(source: Path, target: Path, encoding: Encoding) -> list[str]:
    """Encode, and tell the silences on the way."""
    silences = [f"silencedetect=n={SILENCE_DB}dB:d={SILENCE_S}"]
    # Each line is written at once, so that none of them is torn apart by a report of the progress.
    silences += [f"ametadata=mode=print:key=lavfi.silence_{edge}:file=-:direct=1" for edge in ("start", "end")]
    filters = ",".join([_resample(), "asetpts=N/SR/TB", *silences])
    return [
        *(*_QUIET, *_PROGRESS, *_input(source, encoding.max_s)),
        *("-map", "0:a:0", "-af", filters, *_output(target, encoding)),
    ]


def cut_command(source: Path, spans: Sequence[Span], targets: Sequence[Path], codec: Codec) -> list[str]:
    """Copy the packets of each span into its target.

    Each reads the source from a little before its start: read once for all, every packet would go through every target.
    """
    command, outputs = [*_QUIET], []
    for index, (span, target) in enumerate(zip(spans, targets, strict=True)):
        # Seeking finds a page, not a packet; what lies before the start is dropped exactly, on the way out.
        lead_s = min(_LEAD_S, span.start_s)
        length_s = span.end_s - span.start_s
        seek = ("-ss", f"{span.start_s - lead_s:.6f}") if span.start_s > lead_s else ()
        command += [*seek, *_input(source, lead_s + length_s + 1)]
        # From zero there is no start: it would drop the first packet, which begins before zero.
        start = ("-ss", f"{lead_s:.6f}", "-avoid_negative_ts", "make_zero") if lead_s > 0 else ()
        outputs += ["-map", f"{index}:a:0", *start, "-t", f"{length_s:.6f}", "-c", "copy", *_EXACT]
        outputs += _file(target, codec)
    return [*command, *outputs]


def join_command(sources: Sequence[Path], target: Path, encoding: Encoding, pause_s: float) -> list[str]:
    """Encode one after the other."""
    command = [*_QUIET]
    chains = []
    for index, source in enumerate(sources):
        command += _input(source, encoding.max_s)
        pause = f",apad=pad_dur={pause_s:.3f}" if pause_s > 0 and index < len(sources) - 1 else ""
        chains.append(f"[{index}:a:0]{_resample()},aformat=sample_fmts=flt:channel_layouts=mono{pause}[a{index}]")
    joined = "".join(f"[a{index}]" for index in range(len(sources)))
    chains.append(f"{joined}concat=n={len(sources)}:v=0:a=1[joined]")
    return [*command, "-filter_complex", ";".join(chains), "-map", "[joined]", *_output(target, encoding)]


def samples_command(source: Path, span: Span) -> list[str]:
    """Write the samples of *span*: 16 bits, little-endian, mono."""
    raw = ("-map", "0:a:0", "-ac", "1", "-ar", str(SAMPLE_RATE_HZ), "-c:a", "pcm_s16le", "-f", "s16le", "pipe:1")
    return [*_QUIET, "-ss", f"{span.start_s:.6f}", *_input(source, span.end_s - span.start_s), *raw]


def _input(source: Path, max_s: float | None = None) -> list[str]:
    limit = () if max_s is None else ("-t", f"{max_s:.6f}")
    whitelists = ("-protocol_whitelist", PROTOCOLS, "-format_whitelist", FORMATS)
    return [*limit, *whitelists, "-i", f"file:{source.absolute()}"]


def _resample() -> str:
    return f"aresample={SAMPLE_RATE_HZ}"


def _output(target: Path, encoding: Encoding) -> list[str]:
    coder = _OPUS if encoding.codec == "opus" else ("libmp3lame",)
    return [
        *("-vn", "-sn", "-dn", "-ac", "1", "-ar", str(SAMPLE_RATE_HZ), "-b:a", str(encoding.bit_rate)),
        *("-c:a", *coder, *_EXACT, *_file(target, encoding.codec)),
    ]


def _file(target: Path, codec: Codec) -> tuple[str, ...]:
    return ("-f", "ogg" if codec == "opus" else "mp3", "-y", f"file:{target.absolute()}")
