"""HybridCache: all figures of its issue, beside aiocache, cashews and cachetools."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from benchmarks._cache.operations import report_operations
from benchmarks._cache.processes import report_expiry, report_import, report_memory, report_shrink
from benchmarks._cache.ratios import report_ratios
from benchmarks._cache.scopes import report_scopes
from benchmarks._cache.store import report_store
from benchmarks._report import Report

REQUIRES: list[str] = ["cashews", "cachetools"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed")
    arguments = parser.parse_args(argv)
    report = Report("cache", versions=("tecnobot-core", "aiocache", "cashews", "cachetools"))
    asyncio.run(report_operations(report))
    asyncio.run(report_store(report))
    asyncio.run(report_ratios(report))
    report_shrink(report)
    report_memory(report)
    report_expiry(report)
    report_import(report)
    asyncio.run(report_scopes(report))
    return report.finish(arguments.check)


if __name__ == "__main__":
    sys.exit(main())
