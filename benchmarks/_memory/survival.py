"""The storm at several limits, with the manager and without; every run is a process of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks._memory.bot import MIB, Storm
from benchmarks._memory.outside import LOADED_SHARE, Outcome, run
from benchmarks._memory.timed import add_timed
from benchmarks._report import Report

MAX_PEAKS = {512: 0.92, 256: 0.93, 128: 0.95}  # by limit in MiB; of the limit
MIN_THROUGHPUTS = {512: 0.9, 128: 0.8}  # of the bot without a limit
MIN_MEAN = 0.65
KEEPS_HISTORIES = (512, 256)
MAX_ADDED_LAG_MS = 50
COMPARED_MIB = 512
MAX_OF_UNLIMITED = 0.6


@dataclass(frozen=True)
class Plan:
    """How much is measured: seeds with and without the manager, messages of a storm and of the comparison."""

    seeds: int
    seeds_off: int
    n_messages: int
    n_compared: int


class Storms:
    """Outcomes by limit; 0 is the bot without one. Of one seed all run in turn, so that ratios are fair."""

    def __init__(self, plan: Plan) -> None:
        self.on: dict[int, list[Outcome]] = {limit: [] for limit in (0, *MAX_PEAKS)}
        self.off: dict[int, list[Outcome]] = {limit: [] for limit in MAX_PEAKS}
        for seed in range(1, plan.seeds + 1):
            turn = seed % len(self.on)
            for limit in (*self.on, *self.on)[turn : turn + len(self.on)]:  # nobody is always the first
                self.on[limit].append(_storm(limit, seed, plan.n_messages))
        for limit in self.off:
            for seed in range(1, plan.seeds_off + 1):
                self.off[limit].append(run(Storm(None, seed, plan.n_messages), kill_above_mib=limit))

    def ended(self, limit: int) -> list[tuple[Outcome, Outcome]]:
        """Of each seed that survived *limit*, the bot without a limit and the one with it."""
        return [pair for pair in zip(self.on[0], self.on[limit], strict=True) if not pair[1].killed]


def report_storms(report: Report, plan: Plan) -> None:
    """All rows about the storm."""
    storms = Storms(plan)
    for limit in MAX_PEAKS:
        _report_survival(report, limit, storms)
        if pairs := storms.ended(limit):
            _report_use(report, limit, [on for _, on in pairs])
            _report_price(report, limit, pairs)
    every = [outcome for outcomes in (*storms.on.values(), *storms.off.values()) for outcome in outcomes]
    report.add("sampler: longest time between two readings", max(one.longest_gap_s for one in every) * 1e3, "ms")
    report.add("sampler: mean time between two readings", 1e3 * _mean_gap_s(every), "ms")


def report_comparison(report: Report, n_messages: int) -> None:
    """The same bot without manager and limit, over many messages."""
    without, managed = (_storm(limit, 1, n_messages) for limit in (0, COMPARED_MIB))
    what = f"{n_messages:,} messages, {COMPARED_MIB} MiB over no manager"
    report.add(f"{n_messages:,} messages, no manager: peak", without.peak_bytes / MIB, "MiB")
    report.add(f"{n_messages:,} messages, no manager: mean", without.mean_bytes / MIB, "MiB")
    if managed.killed:
        report.add(what, "killed", "", f"at most {MAX_OF_UNLIMITED}", False)
        return
    for name, ours, theirs in (
        ("peak", managed.peak_bytes, without.peak_bytes),
        ("mean", managed.mean_bytes, without.mean_bytes),
    ):
        ratio = ours / theirs
        report.add(f"{what}: {name}", ratio, "×", f"at most {MAX_OF_UNLIMITED}", ratio <= MAX_OF_UNLIMITED)
    _add_zero(report, f"{n_messages:,} messages, {COMPARED_MIB} MiB: histories dropped", [managed], "histories_dropped")
    mean = managed.loaded_mean_bytes / MIB / COMPARED_MIB
    report.add(
        f"{n_messages:,} messages, {COMPARED_MIB} MiB: mean used under load",
        mean,
        "of the limit",
        f"at least {MIN_MEAN}",
        mean >= MIN_MEAN,
    )


def _storm(limit: int, seed: int, n_messages: int) -> Outcome:
    return run(Storm(limit or None, seed, n_messages), kill_above_mib=limit or None)


def _report_survival(report: Report, limit: int, storms: Storms) -> None:
    on, off = storms.on[limit], storms.off[limit]
    survived, killed = sum(not one.killed for one in on), sum(one.killed for one in off)
    report.add(f"{limit} MiB: survived", f"{survived} of {len(on)}", "seeds", "all", survived == len(on))
    report.add(f"{limit} MiB: manager off, killed", f"{killed} of {len(off)}", "seeds", "all", killed == len(off))
    most, worst = MAX_PEAKS[limit], max(one.peak_bytes for one in on) / MIB / limit
    report.add(f"{limit} MiB: peak, worst seed", worst, "of the limit", f"at most {most}", worst <= most)
    report.add(f"{limit} MiB: peak, median", median(one.peak_bytes for one in on) / MIB / limit, "of the limit")


def _report_use(report: Report, limit: int, ended: Sequence[Outcome]) -> None:
    loaded = min(one.loaded_mean_bytes for one in ended) / MIB / limit
    figure = f"{limit} MiB: mean used since {LOADED_SHARE} was reached, least seed"
    report.add(figure, loaded, "of the limit", f"at least {MIN_MEAN}", loaded >= MIN_MEAN)
    report.add(
        f"{limit} MiB: mean used, start included, median", median(one.mean_bytes for one in ended) / MIB / limit,
        "of the limit",
    )  # fmt: skip
    if limit in KEEPS_HISTORIES:
        _add_zero(report, f"{limit} MiB: histories dropped, all seeds", ended, "histories_dropped")
    else:
        report.add(f"{limit} MiB: histories dropped, all seeds", _sum(ended, "histories_dropped"), "")
    report.add(f"{limit} MiB: downloads refused, all seeds", _sum(ended, "refused"), "")
    _add_zero(report, f"{limit} MiB: bytes reserved at the end, all seeds", ended, "reserved_bytes")
    if estimated_bytes := _sum(ended, "estimated_bytes"):
        freed = _sum(ended, "actual_bytes") / estimated_bytes
        report.add(f"{limit} MiB: freed, actual over estimated", freed, "×", "at least 0.8", freed >= 0.8)


def _report_price(report: Report, limit: int, pairs: Sequence[tuple[Outcome, Outcome]]) -> None:
    """Against the bot without a limit, of the same seed: medians of differences and ratios."""

    def added(name: str) -> float:
        return median(float(on.said[name]) - float(unlimited.said[name]) for unlimited, on in pairs)

    lag_ms = added("lag_ms")
    goal = f"at most {MAX_ADDED_LAG_MS}"
    add_timed(report, f"{limit} MiB: longest loop lag, added, median", lag_ms, "ms", goal, lag_ms <= MAX_ADDED_LAG_MS)
    report.add(f"{limit} MiB: longest work of the loop's thread, added, CPU, median", added("lag_cpu_ms"), "ms")
    throughput = median(unlimited.said["wall_s"] / on.said["wall_s"] for unlimited, on in pairs)
    if least := MIN_THROUGHPUTS.get(limit):
        figure = f"{limit} MiB: throughput, over no limit, median"
        add_timed(report, figure, throughput, "×", f"at least {least}", throughput >= least)
    else:
        report.add(f"{limit} MiB: throughput, over no limit, median", throughput, "×")
    cpu = median(on.said["cpu_s"] / unlimited.said["cpu_s"] for unlimited, on in pairs)
    report.add(f"{limit} MiB: CPU, over no limit, median", cpu, "×")
    report.add(f"{limit} MiB: downloads that waited, median", median(on.said["waits"] for _, on in pairs), "")
    report.add(f"{limit} MiB: their waiting together, median", median(on.said["waited_s"] for _, on in pairs), "s")


def _add_zero(report: Report, figure: str, outcomes: Sequence[Outcome], name: str) -> None:
    total = _sum(outcomes, name)
    report.add(figure, total, "", "0", total == 0)


def _sum(outcomes: Sequence[Outcome], name: str) -> int:
    return sum(int(one.said[name]) for one in outcomes)


def _mean_gap_s(outcomes: Sequence[Outcome]) -> float:
    return sum(one.watched_s for one in outcomes) / sum(one.samples for one in outcomes)
