"""The SDK's client, made by the first call that needs it."""

import asyncio
from operator import attrgetter
from typing import TYPE_CHECKING

from ...errors import ConfigurationError, LifecycleError, MissingDependencyError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"


class LazyClient:
    """One client for *owner*, which asks its *resource*, as "chat.completions".

    Calls are never repeated by the SDK, and have no deadline but their caller's. The ``openai`` package, half a second
    and 50 MiB, is imported by the first ``open``, in a thread.
    """

    def __init__(self, owner: str, resource: str, *, api_key: str = "", base_url: str | None = None) -> None:
        if not api_key and base_url is None:
            raise ConfigurationError(
                "OPENAI_API_KEY is empty; wanted is a key, or in OPENAI_BASE_URL a server that needs none"
            )
        self.api_key = api_key
        self.base_url = base_url or OPENAI_URL
        self._owner = owner
        self._resource = resource
        self._client: AsyncOpenAI | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def open(self) -> "AsyncOpenAI":
        """The client; LifecycleError after ``aclose``."""
        async with self._opening:
            if self._client is None and not self._closed:
                self._client = await asyncio.to_thread(self._make)
            if self._client is None or self._closed:
                raise LifecycleError(f"this {self._owner} is closed; make another one")
            return self._client

    async def aclose(self) -> None:
        """Close the connections; calls that are under way fail."""
        self._closed = True
        async with self._opening:
            if self._client is not None:
                await self._client.close()

    def _make(self) -> "AsyncOpenAI":
        try:
            import openai  # noqa: PLC0415  here it does not hold up the event loop
        except ModuleNotFoundError as error:
            raise MissingDependencyError("openai", extra="openai") from error
        client = openai.AsyncOpenAI(
            api_key=self.api_key or "none",  # the SDK refuses to be without one
            base_url=self.base_url,
            max_retries=0,
            timeout=None,
        )
        attrgetter(self._resource)(client)  # imports the larger half of the SDK
        return client
