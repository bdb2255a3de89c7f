"""What aiocache does around every command: its switch, its timeout, its plugins."""

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from copy import copy
from typing import Any, Final

UNSET: Final[Any] = object()
Method = Callable[..., Coroutine[Any, Any, Any]]


def command(name: str, *, when_disabled: Any) -> Callable[[Method], Method]:
    """Make a method aiocache's command *name*; *when_disabled* is its result when aiocache is switched off."""

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        async def run(self: Any, *args: Any, timeout: float | None = UNSET, **kwargs: Any) -> Any:
            if self.is_disabled:
                return copy(when_disabled)
            seconds = self.timeout if timeout is UNSET else timeout
            call = _with_plugins(self, name, method, args, kwargs) if self.plugins else method(self, *args, **kwargs)
            return await (asyncio.wait_for(call, seconds) if seconds else call)

        return run

    return decorate


async def _with_plugins(cache: Any, name: str, method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    began = time.monotonic()
    for plugin in cache.plugins:
        await getattr(plugin, f"pre_{name}")(cache, *args, **kwargs)
    result = await method(cache, *args, **kwargs)
    took_s = time.monotonic() - began
    for plugin in cache.plugins:
        await getattr(plugin, f"post_{name}")(cache, *args, took=took_s, ret=result, **kwargs)
    return result
