"""Times of a machine with others on it: shown with their goal, and never a reason to fail."""

from benchmarks._report import Report


def add_timed(report: Report, figure: str, value: float, unit: str, goal: str, met: bool) -> None:
    """Note a figure that a busy machine makes worse: ``--check`` passes it by."""
    report.add(figure, value, unit, f"{goal}: {'met' if met else 'not met'}, timed")
