"""AudioPreprocessor: all figures of its issue, beside pydub and plain ffmpeg in the same run."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._audio.conversions import report_engines, report_note, report_parts
from benchmarks._audio.harm import report_hostile, report_jobs, report_sweep
from benchmarks._report import Report

REQUIRES: list[str] = ["pydub"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed")
    parser.add_argument(
        "--long",
        action="store_true",
        help="60 min of mp3, 3 h of ogg, 100 MB of wav and 1,000 jobs, as the goals say: half an hour, 2 GB for pydub",
    )
    parser.add_argument("--directory", type=Path, help="where files are put, on a disk: 500 MB with --long")
    arguments = parser.parse_args(argv)
    report = Report("audio", versions=("tecnobot-core", "pydub", "imageio-ffmpeg"))
    if not arguments.long:
        print("shortened: 4 min of mp3, 10 min of ogg with a cap of 140 s, 12 MB of wav, 100 jobs; --long is in full")
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        folder = Path(name)
        report_note(report, folder)
        report_engines(report, folder, minutes=60 if arguments.long else 4, rounds=1 if arguments.long else 3)
        report_parts(report, folder, minutes=180 if arguments.long else 10, cap_s=1400 if arguments.long else 140)
        report_hostile(report, folder)
        report_jobs(report, folder, 1000 if arguments.long else 100)
        report_sweep(report, folder)
    return report.finish(arguments.check)


if __name__ == "__main__":
    sys.exit(main())
