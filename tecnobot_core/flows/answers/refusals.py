"""Why an answer is not taken."""

from typing import Literal

Reason = Literal[
    "empty", "not_text", "too_short", "too_long",
    "not_a_number", "not_an_integer", "too_small", "too_large",
    "not_a_date", "too_early", "too_late",
    "not_an_email", "not_a_phone",
    "not_a_choice", "ambiguous_choice", "not_yes_or_no",
    "not_a_file", "wrong_kind",
]  # fmt: skip


class AnswerRefused(ValueError):  # noqa: N818 (nothing went wrong)
    """The answer is not of the wanted type, or outside its limits; ``reason`` is a code, and never holds the answer."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
