"""One form for every benchmark: a table with the goal beside each figure, then one JSON line."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True)
class Figure:
    """A measured value; ``ok`` is None where there is no goal."""

    figure: str
    value: float | str
    unit: str
    goal: str
    ok: bool | None


class Report:
    """Collects figures and says which goals were missed."""

    def __init__(self, name: str, *, versions: tuple[str, ...] = ("tecnobot-core",)) -> None:
        self._name = name
        self._versions = versions
        self._figures: list[Figure] = []

    def add(self, figure: str, value: float | str, unit: str, goal: str = "", ok: bool | None = None) -> None:
        """Note one figure; *ok* says whether *goal* was met."""
        self._figures.append(Figure(figure, value, unit, goal, ok))

    def finish(self, check: bool) -> int:
        """Print everything; return 1 when *check* is set and a goal was missed, else 0."""
        rows = [("figure", "measured", "goal", "")]
        rows += [
            (f.figure, _text(f), f.goal or "-", {None: "", True: "ok", False: "MISSED"}[f.ok]) for f in self._figures
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        print(
            json.dumps(
                {
                    "benchmark": self._name,
                    "figures": [asdict(figure) for figure in self._figures],
                    "machine": machine,
                    "versions": {name: _version(name) for name in self._versions},
                }
            )
        )
        missed = [f"missed: {f.figure}: {_text(f)}, wanted {f.goal}" for f in self._figures if f.ok is False]
        if check and missed:
            print("\n".join(missed))
            return 1
        return 0


def _text(figure: Figure) -> str:
    value = (
        figure.value
        if isinstance(figure.value, str)
        else f"{figure.value:,.4g}"
        if figure.value < 1000
        else f"{figure.value:,.0f}"
    )
    return f"{value} {figure.unit}".rstrip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
