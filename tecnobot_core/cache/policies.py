"""How each type of data is kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from ..errors import ConfigurationError

KIB = 1024
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
MAX_SET_S = 30 * DAY_S  # how long a store keeps what was set, whatever time it was set for


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long one type of data is kept, where, and whether it belongs to one user. Times are seconds.

    A value is fresh for ``ttl_s``, less a random share of it up to ``jitter``, so that what was loaded together does
    not expire together. After that, and only if the windows say so, it may still be given as stale: for
    ``stale_while_revalidate_s`` while it is loaded again, and for ``stale_if_error_s`` when loading fails or takes
    longer than ``soft_timeout_s``. A load is given up after ``hard_timeout_s``, with a TimeoutError for all who wait.

    None is kept like any value, unless ``negative_ttl_s`` says otherwise; 0 does not keep it. What is bigger than
    ``max_item_bytes`` is not kept: as it is written for a store, before it is compressed, or else as an object. With
    ``store`` it also goes to the cache's store, if that has one.
    """

    ttl_s: float
    scope: Literal["global", "user"] = "global"
    store: bool = True
    jitter: float = 0.0
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0
    soft_timeout_s: float | None = None
    hard_timeout_s: float | None = None
    negative_ttl_s: float | None = None
    max_item_bytes: int = 256 * KIB

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise ConfigurationError(problems)

    @property
    def stale_s(self) -> float:
        """How long after its ttl a value may still be of use."""
        return max(self.stale_while_revalidate_s, self.stale_if_error_s)

    def times_of(self, value: object) -> tuple[float, float]:
        """How long a *value* that was loaded is fresh, without jitter, and how long it is kept."""
        if value is None and self.negative_ttl_s is not None:
            return self.negative_ttl_s, self.negative_ttl_s
        return self.ttl_s, self.ttl_s + self.stale_s


def _problems(policy: CachePolicy) -> Iterator[str]:
    if not policy.ttl_s > 0:
        yield f"ttl_s of a cache policy must be more than 0, not {policy.ttl_s!r}"
    if policy.scope not in ("global", "user"):
        yield f"scope of a cache policy must be 'global' or 'user', not {policy.scope!r}"
    if not 0 <= policy.jitter < 1:
        yield f"jitter of a cache policy is a share of its ttl, from 0 to less than 1, not {policy.jitter!r}"
    for name in ("stale_while_revalidate_s", "stale_if_error_s", "negative_ttl_s"):
        if (seconds := getattr(policy, name)) is not None and not seconds >= 0:
            yield f"{name} of a cache policy must be at least 0, not {seconds!r}"
    for name in ("soft_timeout_s", "hard_timeout_s", "max_item_bytes"):
        if (limit := getattr(policy, name)) is not None and not limit > 0:
            yield f"{name} of a cache policy must be more than 0, not {limit!r}"
    if policy.soft_timeout_s is not None and not policy.stale_if_error_s:
        yield "soft_timeout_s of a cache policy needs stale_if_error_s: there would be nothing to give instead"


DEFAULT_POLICIES: Mapping[str, CachePolicy] = MappingProxyType(
    {
        "default": CachePolicy(5 * MINUTE_S),
        # The key is the whole request with what the bot knows, so an old answer is old, never wrong for its question:
        # better than none when the model is down. Longer than any model's own deadline, which should speak first.
        "reply": CachePolicy(
            HOUR_S, scope="user", stale_if_error_s=6 * HOUR_S, hard_timeout_s=120, negative_ttl_s=0,
            max_item_bytes=64 * KIB,
        ),
        # First questions that everybody asks; many arrive together after opening hours, hence the jitter.
        "faq": CachePolicy(
            6 * HOUR_S, jitter=0.1, stale_while_revalidate_s=HOUR_S, stale_if_error_s=DAY_S, soft_timeout_s=5,
            hard_timeout_s=120, negative_ttl_s=0, max_item_bytes=64 * KIB,
        ),
        # Under the hash of the recording, so it never becomes wrong; a week is how long a voice note is passed on. An
        # hour of speech takes minutes; whoever hears has a deadline that fits the recording, which should speak first.
        "transcript": CachePolicy(7 * DAY_S, hard_timeout_s=2 * HOUR_S, negative_ttl_s=0, max_item_bytes=64 * KIB),
        # Under the text and the model's name, so it never becomes wrong. 3,072 numbers are 65 KB of JSON.
        "embedding": CachePolicy(30 * DAY_S, jitter=0.1, hard_timeout_s=60, negative_ttl_s=0),
        # Live objects read from the database, which is the store already.
        "flow": CachePolicy(
            MINUTE_S, store=False, stale_while_revalidate_s=10 * MINUTE_S, stale_if_error_s=DAY_S, soft_timeout_s=1,
            hard_timeout_s=30,
        ),
        # Who somebody is changes rarely; that somebody is not known changes as soon as they register.
        "profile": CachePolicy(
            15 * MINUTE_S, scope="user", stale_while_revalidate_s=15 * MINUTE_S, stale_if_error_s=DAY_S,
            soft_timeout_s=1, hard_timeout_s=15, negative_ttl_s=MINUTE_S, max_item_bytes=16 * KIB,
        ),
    }
)  # fmt: skip


def policies_with(ttl_s: Mapping[str, float]) -> Mapping[str, CachePolicy]:
    """The default policies with other times. A name that is none of theirs is a ConfigurationError."""
    if unknown := sorted(set(ttl_s) - set(DEFAULT_POLICIES)):
        known = ", ".join(DEFAULT_POLICIES)
        raise ConfigurationError([f"there is no cache policy {name!r}; there are: {known}" for name in unknown])
    return {name: replace(policy, ttl_s=ttl_s.get(name, policy.ttl_s)) for name, policy in DEFAULT_POLICIES.items()}
