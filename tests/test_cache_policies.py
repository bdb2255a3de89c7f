"""Policies: what they allow, and what is wrong with them."""

from typing import Any

import pytest

from tecnobot_core import CachePolicy, ConfigurationError
from tecnobot_core.cache import DEFAULT_POLICIES, policies_with


def test_answers_to_a_person_belong_to_them_and_nothing_global_does() -> None:
    assert {name for name, policy in DEFAULT_POLICIES.items() if policy.scope == "user"} == {"reply", "profile"}


def test_every_load_of_a_named_policy_ends() -> None:
    assert all(policy.hard_timeout_s for name, policy in DEFAULT_POLICIES.items() if name != "default")


def test_times_of_policies_can_be_set_by_name_and_the_rest_stays() -> None:
    policies = policies_with({"reply": 5})
    assert (policies["reply"].ttl_s, policies["reply"].scope) == (5, "user")
    assert policies["reply"].stale_if_error_s == DEFAULT_POLICIES["reply"].stale_if_error_s
    assert policies["transcript"] == DEFAULT_POLICIES["transcript"]
    with pytest.raises(ConfigurationError, match="no cache policy 'repli'; there are: default, reply"):
        policies_with({"repli": 5})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"ttl_s": 0}, "ttl_s of a cache policy must be more than 0, not 0"),
        ({"ttl_s": float("nan")}, "ttl_s of a cache policy must be more than 0, not nan"),
        ({"scope": "chat"}, "must be 'global' or 'user', not 'chat'"),
        ({"jitter": 1}, "jitter of a cache policy is a share"),
        ({"stale_if_error_s": -1}, "stale_if_error_s of a cache policy must be at least 0, not -1"),
        ({"negative_ttl_s": -1}, "negative_ttl_s of a cache policy must be at least 0"),
        ({"hard_timeout_s": 0}, "hard_timeout_s of a cache policy must be more than 0, not 0"),
        ({"max_item_bytes": 0}, "max_item_bytes of a cache policy must be more than 0"),
        ({"soft_timeout_s": 1}, "needs stale_if_error_s"),
    ],
)
def test_a_policy_that_makes_no_sense_says_why(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        CachePolicy(**({"ttl_s": 60} | fields))


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        CachePolicy(-1, jitter=2, max_item_bytes=0)
    assert len(caught.value.problems) == 3
