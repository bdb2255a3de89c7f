"""One variable of the environment: the field it fills, and how it is read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from ..errors import ConfigurationError
from .kinds import Kind, Secret

T = TypeVar("T")

MAX_SECRET_FILE_BYTES = 64 * 1024  # a larger one is something else, perhaps a device without end


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, and what it means.

    ``default`` is text as in the environment. Where ``kind`` is secret it may also be given as NAME_FILE, the name of a
    file that holds it. With ``many`` the name is a prefix: what follows it, in lower case, is a key in a mapping.
    """

    name: str
    kind: Kind[Any]
    default: str
    meaning: str
    alias: str = ""
    many: bool = False

    def read(self, environ: Mapping[str, str]) -> Any:
        """The value in *environ*; unset: None, or with ``many`` an empty mapping. Raises ConfigurationError."""
        if self.many:
            return self._read_many(environ)
        use_alias = self.alias and not environ.get(self.name, "").strip()
        return _read(self.alias if use_alias else self.name, self.kind, environ)

    def _read_many(self, environ: Mapping[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        problems: list[str] = []
        for key in self._keys(environ):
            try:
                value = _read(self.name + key, self.kind, environ)
            except ConfigurationError as error:
                problems += error.problems
            else:
                values[key.lower()] = value
        if problems:
            raise ConfigurationError(problems)
        return {key: value for key, value in values.items() if value is not None}

    def _keys(self, environ: Mapping[str, str]) -> list[str]:
        keys = {name.removeprefix(self.name) for name in environ if name.startswith(self.name)} - {""}
        return sorted({key.removesuffix("_FILE") for key in keys} if self.kind.secret else keys)

    @property
    def title(self) -> str:
        """The name, or what stands for the names of ``many``."""
        return f"{self.name}<NAME>" if self.many else self.name

    def lines(self, value: Any) -> list[str]:
        """The line ``NAME=text`` that gives *value*, or with ``many`` one for each; a secret as ``***``."""
        if self.many:
            return [f"{self.name}{key.upper()}={self.kind.write(item)}" for key, item in value.items()]
        return [f"{self.name}={'' if value is None else self.kind.write(value)}"]


def setting(name: str, kind: Kind[T], default: str, meaning: str, *, alias: str = "") -> T:
    """A field that variable *name* fills."""
    variable = Variable(name, kind, default, meaning, alias)
    return field(default=kind.read(default), metadata={"variable": variable})


def optional(name: str, kind: Kind[T], meaning: str) -> T | None:
    """A field that is None while variable *name* is unset."""
    return cast("T | None", field(default=None, metadata={"variable": Variable(name, kind, "", meaning)}))


def secret(name: str, kind: Kind[Secret], meaning: str) -> Secret:
    """A field that is an empty Secret while variable *name* is unset."""
    return field(default=Secret(), metadata={"variable": Variable(name, kind, "", meaning)})


def many(prefix: str, kind: Kind[T], meaning: str) -> Mapping[str, T]:
    """A field that all variables that begin with *prefix* fill."""
    variable = Variable(prefix, kind, "", meaning, many=True)
    return cast("Mapping[str, T]", field(default_factory=dict, metadata={"variable": variable}))


def _read(name: str, kind: Kind[T], environ: Mapping[str, str]) -> T | None:
    text = environ.get(name, "").strip()
    source = name
    if kind.secret and (path := environ.get(f"{name}_FILE", "").strip()):
        if text:
            raise ConfigurationError(f"{name} and {name}_FILE are both set; wanted is one of them")
        source = f"{name}_FILE"
        text = _read_file(source, path)
    if not text:
        return None
    try:
        return kind.read(text)
    except ValueError:
        # What holds an @ may hold a password.
        shown = "'***'" if kind.secret or "@" in text else f"{text!r:.60}"
        raise ConfigurationError(f"{source} is {shown}; wanted is {kind.wanted}") from None


def _read_file(source: str, path: str) -> str:
    try:
        return _text_of(path)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValueError as error:
        problem = str(error)
    # What names no file may be the secret itself, given to the wrong variable.
    shown = repr(path) if os.path.exists(path) else "'***'"
    raise ConfigurationError(f"{source} is {shown}, which {problem}; wanted is the name of a file that holds the value")


def _text_of(path: str) -> str:
    """The stripped text of a small file that is not empty; ValueError says what it is instead."""
    with open(path, "rb") as file:
        data = file.read(MAX_SECRET_FILE_BYTES + 1)
    if len(data) > MAX_SECRET_FILE_BYTES:
        raise ValueError(f"has more than {MAX_SECRET_FILE_BYTES} bytes")
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    if not text:
        raise ValueError("is empty")
    return text
