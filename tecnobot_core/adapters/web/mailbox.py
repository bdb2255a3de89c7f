"""Messages that must not be forgotten yet, within bounds."""

from collections.abc import Iterator

from ...messages import ChatId, InboundMessage


class Mailbox:
    """Keeps messages in order of arrival until they are taken, at most so many and so many bytes of text."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: dict[str, InboundMessage] = {}
        self._bytes = 0

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._messages

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[InboundMessage]:
        return iter(tuple(self._messages.values()))

    def of(self, chat: ChatId) -> list[InboundMessage]:
        """What is kept of *chat*."""
        return [message for message in self._messages.values() if message.chat == chat]

    def add(self, message: InboundMessage) -> bool:
        """Keep *message*; False, and nothing kept, when there is no room. An id that is kept already stays as it is."""
        if message.id in self._messages:
            return True
        size = _size_bytes(message)
        if len(self._messages) >= self._max_messages or self._bytes + size > self._max_bytes:
            return False
        self._messages[message.id] = message
        self._bytes += size
        return True

    def take(self, message_id: str) -> InboundMessage | None:
        """Keep the message no longer; None when it was not here."""
        message = self._messages.pop(message_id, None)
        if message is not None:
            self._bytes -= _size_bytes(message)
        return message


def _size_bytes(message: InboundMessage) -> int:
    return len(message.text.encode("utf-8", "surrogatepass"))
