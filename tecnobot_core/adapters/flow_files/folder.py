"""Flows in a folder of files, as people edit them and version control keeps them."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ...errors import FlowError, StoreError
from ...flows.model import Flow
from .chatbot_folder import ChatbotFolder

T = TypeVar("T")


class FolderFlowStore:
    """A FlowStore in *folder*: the flows of the chatbot "shop" are the YAML and JSON files in its folder "shop".

    A file holds one flow or several. What is wrong with one is told with file, line and column, and the others are
    served; of several flows with one id the one in the first file by name is. A flow that is added gets a file of its
    own. One that is replaced or removed is so in its file, of which the other flows are kept; a file whose comments
    would be lost is refused with StoreError, and left to people. Files are replaced as a whole: readers never see a
    half. One process at a time should write.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._chatbots: dict[str, ChatbotFolder] = {}

    async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
        """The flows of a chatbot by id, and one error for each flow or file that is broken."""
        return await self._run(chatbot_id, ChatbotFolder.load)

    async def version(self, chatbot_id: str) -> int:
        """How often this store saw the names, sizes, times or inodes of the chatbot's files changed."""
        return await self._run(chatbot_id, ChatbotFolder.version)

    async def add(self, chatbot_id: str, flow: Flow) -> bool:
        """Add *flow* in a file of its own; False when there is one with its id."""
        return await self._run(chatbot_id, lambda folder: folder.put(flow, replaces=False))

    async def put(self, chatbot_id: str, flow: Flow) -> None:
        """Add *flow*, or replace the one with its id where it stands."""
        await self._run(chatbot_id, lambda folder: folder.put(flow))

    async def remove(self, chatbot_id: str, flow_id: str) -> bool:
        """Remove a flow, and its file if it was the only one in it; False when there was none."""
        return await self._run(chatbot_id, lambda folder: folder.remove(flow_id))

    async def _run(self, chatbot_id: str, work: Callable[[ChatbotFolder], T]) -> T:
        folder = self._chatbots.get(chatbot_id)
        if folder is None:
            folder = self._chatbots[chatbot_id] = ChatbotFolder(self._folder / _folder_name(chatbot_id))

        def run() -> T:
            if not self._folder.is_dir():
                raise StoreError(f"there is no folder {self._folder}; make it, or bring it back", retryable=True)
            return work(folder)

        return await asyncio.to_thread(run)


def _folder_name(chatbot_id: str) -> str:
    name = quote(chatbot_id, safe=" ", errors="surrogatepass")
    return re.sub(r"^\.+", lambda dots: "%2E" * len(dots[0]), name) or "%"
