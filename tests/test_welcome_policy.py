"""Who is greeted."""

import pytest

from tecnobot_core.bot import Welcome
from tecnobot_core.errors import ConfigurationError

DAY_S = 86_400.0


def test_a_new_person_is_greeted_and_a_known_one_is_not() -> None:
    assert Welcome().is_due(None, 0.0, is_new=True)
    assert not Welcome().is_due(None, 0.0, is_new=False)
    assert not Welcome().is_due(0.0, 1e9, is_new=True)


def test_a_person_is_greeted_again_after_a_time() -> None:
    again = Welcome(again_after_s=30 * DAY_S)
    assert not again.is_due(0.0, 30 * DAY_S - 1, is_new=False)
    assert again.is_due(0.0, 30 * DAY_S, is_new=False)


@pytest.mark.parametrize("again_after_s", [0, -1.0, float("inf"), float("nan")])
def test_an_impossible_time_is_refused(again_after_s: float) -> None:
    with pytest.raises(ConfigurationError, match="again_after_s"):
        Welcome(again_after_s=again_after_s)
