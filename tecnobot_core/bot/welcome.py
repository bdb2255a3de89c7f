"""Who is greeted."""

import math
from dataclasses import dataclass

from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Welcome:
    """Greets each person once, or again when the last greeting is *again_after_s* ago."""

    again_after_s: float | None = None

    def __post_init__(self) -> None:
        if self.again_after_s is not None and not 0 < self.again_after_s < math.inf:
            raise ConfigurationError(
                f"again_after_s must be a number of seconds above 0, or None for once, not {self.again_after_s}"
            )

    def is_due(self, welcomed_at: float | None, now_s: float, *, is_new: bool) -> bool:
        """Whether to greet now a person who was last greeted at *welcomed_at*; *is_new*: nothing was said before.

        Who was never greeted and is not new began with a question that was answered: a greeting would come too late.
        """
        if welcomed_at is None:
            return is_new
        return self.again_after_s is not None and now_s - welcomed_at >= self.again_after_s
