"""Policies, ready for use."""

from dataclasses import dataclass, field

from .policies import CachePolicy
from .scopes import KeySpace, scope_prefix, scoped_key
from .statistics import PolicyStatistics

MAX_PREFIXES = 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy, ready for use."""

    name: str
    policy: CachePolicy
    prefix: str  # of its memory keys
    prefix_of_all: str  # of those without a scope
    tag: bytes
    is_face: bool  # without a scope its keys are those of aiocache's face
    is_per_user: bool
    counts: PolicyStatistics = field(default_factory=PolicyStatistics)
    prefixes: dict[str | None, str] = field(default_factory=dict)  # of scopes that were used lately

    def prefix_of_scope(self, scope: str) -> str:
        """What the memory keys of *scope* begin with; joined once, as a hit costs little more than that."""
        if len(self.prefixes) >= MAX_PREFIXES:
            self.prefixes.clear()
            self._know_prefix_of_all()
        prefix = self.prefixes[scope] = scope_prefix(self.prefix, scope)
        return prefix

    def __post_init__(self) -> None:
        self._know_prefix_of_all()

    def _know_prefix_of_all(self) -> None:
        if not self.is_face and not self.is_per_user:
            self.prefixes[None] = self.prefix_of_all


def rules_for(name: str, policy: CachePolicy, space: KeySpace) -> Rules:
    """The rules of *policy* in *space*."""
    prefix = space.policy_prefix(name)
    return Rules(
        name,
        policy,
        prefix,
        scoped_key(prefix, None, ""),
        space.policy_tag(name),
        is_face=name == "default",
        is_per_user=policy.scope == "user",
    )
