"""Where in memory a key of aiocache's face is."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from .namespaces import MARK, Epochs, bare_prefix, namespace_prefixes, namespaced, without_namespace

MAX_PREFIXES = 256
KeyBuilder = Callable[[Any, str | None], Any]


class Places(ABC):
    """Builds keys, quickly where that can be, and others for a namespace that has ended."""

    namespace: Any
    _own_prefix: str
    _has_bare_keys: bool

    def _build_places(self, key_builder: KeyBuilder | None) -> None:
        self._key_builder = key_builder
        self._epochs = Epochs()
        self._prefixes: dict[str, str] = {}
        self._bare_prefix = ""
        self._builds_keys = key_builder is not None

    def build_key(self, key: Any, namespace: str | None = None) -> Any:
        """The key in memory of *key* in *namespace*, by default the cache's own."""
        if namespace is None:
            namespace = self.namespace
        if self._key_builder is not None:
            return self._key_builder(key, namespace)
        if not namespace:
            place = without_namespace(key, self._epochs.of(""))
            if place.startswith(MARK):
                self._need_builder()
            return place
        # From now on a text of the caller may look like a key in memory that is another's.
        self._need_builder()
        if len(self._prefixes) >= MAX_PREFIXES:
            self._prefixes.clear()
        epoch = self._epochs.of(namespace)
        self._prefixes[namespace] = namespace_prefixes(namespace, epoch)[0]
        return namespaced(namespace, key, epoch)

    def _need_builder(self) -> None:
        if not self._builds_keys:
            self._builds_keys = True
            self._look_for_the_quick_way()

    def _build_key(self, key: Any, namespace: str | None = None) -> Any:
        # aiocache 0.12 puts this over build_key when it is made.
        return type(self).build_key(self, key, namespace)

    def _place(self, key: Any, namespace: str | None) -> Any:
        """``build_key``, quick where it can be."""
        if namespace is None:
            namespace = self.namespace
        if type(key) is str and self._key_builder is None:
            if not namespace:
                if self._bare_prefix:
                    return self._bare_prefix + key
                if key[:1] != MARK:
                    return key
            elif (prefix := self._prefixes.get(namespace)) is not None:
                return prefix + key
        return self.build_key(key, namespace)

    def _prefixes_of(self, namespace: str) -> tuple[str, ...]:
        if self._key_builder is None:
            return namespace_prefixes(namespace, self._epochs.of(namespace)) if namespace else ("",)
        built = self._key_builder("", namespace)
        # A builder that hashes or ignores namespaces would clear nothing or all: then what aiocache does.
        return (built if isinstance(built, str) and namespace in built else namespace,)

    def _note_ended(self) -> None:
        """An epoch has ended: keys are others from now on, and what has the old ones goes."""
        self._prefixes.clear()
        if epoch := self._epochs.of(""):
            self._bare_prefix = bare_prefix(epoch)
            self._builds_keys = True
        self._look_for_the_quick_way()
        self._forget_ended()

    @abstractmethod
    def _look_for_the_quick_way(self) -> None:
        """What keys are has changed."""

    @abstractmethod
    def _forget_ended(self) -> None:
        """Forget what is of epochs that have ended."""
