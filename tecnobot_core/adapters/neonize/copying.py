"""Databases of sessions are checked and copied by a process of its own; see ``child/copying.py`` for why."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_COPYING = Path(__file__).with_name("child") / "copying.py"


class CopyingError(Exception):
    """A database could not be checked or copied; *damaged*: because of what is in it."""

    def __init__(self, message: str, *, damaged: bool = False) -> None:
        super().__init__(message)
        self.damaged = damaged


@dataclass(frozen=True, slots=True)
class Condition:
    """What a file of a session holds: *problem* is why it cannot be read. *age_s* is since it last changed."""

    path: Path
    size_bytes: int = 0
    age_s: float = 0.0
    accounts: Sequence[str] = ()
    problem: str = ""
    missing: bool = False


class Copying:
    """Starts a process for each call, and ends it after *timeout_s*."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def check(self, path: Path) -> Sequence[str]:
        """The accounts of which *path* holds keys; CopyingError when it is damaged or cannot be read."""
        accounts: Sequence[str] = (await self._process("check", path))["accounts"]
        return accounts

    async def copy(self, source: Path, target: Path) -> dict[str, Any]:
        """Copy *source*, which may be in use, to *target*: verified, on disk, mode 0600."""
        return await self._process("copy", source, target)

    async def condition(self, path: Path, *, now: float) -> Condition:
        """What *path* holds, as far as it can be told; raises nothing."""
        seen = _seen(path, now)
        if seen.problem:
            return seen
        try:
            return replace(seen, accounts=await self.check(path))
        except CopyingError as error:
            return replace(seen, problem=str(error))

    async def _process(self, verb: str, *paths: Path) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_COPYING), verb, *map(str, paths)),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
            env={},
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise CopyingError(f"no answer within {self._timeout_s:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        facts: dict[str, Any] = json.loads(output or b'{"error": "the process that reads it ended"}')
        if "error" in facts:
            raise CopyingError(facts["error"], damaged=facts.get("damaged", False))
        return facts


def _seen(path: Path, now: float) -> Condition:
    """What is known of *path* without opening it."""
    try:
        facts = path.stat()
    except OSError as error:
        return Condition(path, problem=error.strerror or str(error), missing=isinstance(error, FileNotFoundError))
    return Condition(
        path, facts.st_size, max(0.0, now - facts.st_mtime), problem="" if facts.st_size else "it is empty"
    )
