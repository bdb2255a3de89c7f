"""The numbers that a manager is made with."""

import math


def check_seconds(name: str, value: float, *, least_s: float | None = None, finite: bool = False) -> None:
    """ValueError unless *value* is above 0, or at least *least_s*. Infinite is as good as never, unless *finite*."""
    # No comparison holds for what is not a number.
    fits = _is_number(value) and (value > 0 if least_s is None else value >= least_s)
    if not fits or (finite and math.isinf(value)):
        wanted = "above 0" if least_s is None else f"of at least {least_s:g}"
        raise ValueError(f"{name} must be a {'finite ' * finite}number of seconds {wanted}, not {value!r}")


def check_count(name: str, value: int | None, *, none_means: str = "") -> None:
    """ValueError unless *value* is a whole number from 1, or None where that means something."""
    if value is None and none_means:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        allowed = f", or None for {none_means}" if none_means else ""
        raise ValueError(f"{name} must be a whole number of at least 1{allowed}, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
