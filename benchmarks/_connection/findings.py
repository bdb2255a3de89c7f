"""Counts that must be right wherever they are counted, and what depends on the machine."""

from benchmarks._report import Report


class Findings:
    """Adds to a *report*; ``wrong`` names the counts that are not what they must be."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.wrong: list[str] = []

    def count(self, figure: str, value: float, goal: str = "0", *, at_most: float = 0) -> None:
        """A number that may be at most *at_most* on any machine."""
        self._report.add(figure, value, "", goal, value <= at_most)
        if value > at_most:
            self.wrong.append(f"wrong: {figure}: {value:g}, must be {goal}")

    def measure(self, figure: str, value: float, unit: str, *, at_most: float | None = None) -> None:
        """A time or a size, with its goal."""
        goal = "" if at_most is None else f"at most {at_most:g} {unit}"
        self._report.add(figure, value, unit, goal, None if at_most is None else value <= at_most)

    def note(self, figure: str, value: float | str, unit: str = "") -> None:
        """Something without a goal."""
        self._report.add(figure, value, unit)
