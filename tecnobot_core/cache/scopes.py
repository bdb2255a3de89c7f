"""Keys that cannot be mistaken for one another, in memory and as digests in a store."""

from collections.abc import Collection
from functools import partial

from .hashing import blake2b

PREFIX_CHARACTERS = 17  # of a policy


class OfScope(str):
    """A tag for what was kept because this scope asked, though others are given it too: erased with the scope."""

    __slots__ = ()


class KeySpace:
    """The keys and tags of one cache.

    Digests are keyed with *secret*: telephone numbers have so little entropy that a plain hash of one can be looked up.
    Their parts are written with their lengths, and memory keys begin with a digest that nobody else can make, so no
    text of a user becomes another key by how it is joined.
    """

    def __init__(self, secret: bytes, namespace: str | None = None) -> None:
        if not 16 <= len(secret) <= 64:
            raise ValueError(f"secret must be 16 to 64 bytes, not {len(secret)}")
        self._digester = partial(blake2b, key=secret, digest_size=16)
        self._namespace = namespace or ""

    def digest(self, kind: str, *parts: str) -> bytes:
        """16 bytes for *parts* of this *kind*."""
        digester = self._digester()
        for part in (kind, self._namespace, *parts):
            # str.encode and not str(): a ChatId prints as a short hash.
            raw = str.encode(part, "utf-8", "surrogatepass")
            digester.update(len(raw).to_bytes(8, "big"))
            digester.update(raw)
        return digester.digest()

    def scope_tag(self, scope: str) -> bytes:
        """The tag of all that belongs to *scope*."""
        return self.digest("scope", scope)

    def tag(self, tag: str) -> bytes:
        """The tag of all that was kept with *tag*."""
        return self.scope_tag(tag) if isinstance(tag, OfScope) else self.digest("tag", tag)

    def namespace_tag(self, namespace: str) -> bytes:
        """The tag of all that was kept in *namespace*, one of aiocache's."""
        return self.digest("namespace", namespace)

    def policy_tag(self, policy: str) -> bytes:
        """The tag of all that was kept under *policy*, which is apart from a namespace of that name."""
        return self.digest("policy", policy)

    def policy_prefix(self, policy: str) -> str:
        """What the memory keys of *policy* begin with."""
        return f"\0{self.digest('memory', policy).hex()[: PREFIX_CHARACTERS - 1]}"


def scoped_key(prefix: str, scope: str | None, key: str) -> str:
    """The memory key of *key* in *scope*, below the *prefix* of its policy."""
    if scope is None:
        return "".join((prefix, "-", key))
    return "".join((scope_prefix(prefix, scope), key))


def scope_prefix(prefix: str, scope: str) -> str:
    """What the memory keys of *scope* begin with, below the *prefix* of their policy."""
    return "".join((prefix, str(len(scope)), "\0", scope))


def scope_of(key: str, prefixes: Collection[str]) -> str | None:
    """The scope of a memory key below one of *prefixes*; None where it has none."""
    if key[:PREFIX_CHARACTERS] not in prefixes:
        return None
    length, mark, rest = key[PREFIX_CHARACTERS:].partition("\0")
    return rest[: int(length)] if mark and length.isdecimal() else None
