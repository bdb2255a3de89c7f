"""Which ratchet steps senders have used: the server sees them in the clear, though not what they encrypt."""

from tests.whatsapp_server.nodes import Node
from tests.whatsapp_server.protobuf import Fields

_SIGNAL_MAC_BYTES = 8
# Field numbers of SignalMessage, and of the PreKeySignalMessage that may hold one.
_RATCHET_KEY, _COUNTER, _INNER = 1, 2, 4

Step = tuple[str, str, bytes, int]


class RatchetSteps:
    """A sender that uses one step for two messages has lost the second: its receiver drops it as seen."""

    def __init__(self) -> None:
        self._seen: set[Step] = set()

    def is_reused(self, sender: str, receiver: str, encrypted: Node) -> bool:
        """Whether this step came before; it counts as used from now on."""
        step = _step(sender, receiver, encrypted)
        if step is None:
            return False
        reused = step in self._seen
        self._seen.add(step)
        return reused


def _step(sender: str, receiver: str, encrypted: Node) -> Step | None:
    try:
        message = encrypted.content if isinstance(encrypted.content, bytes) else b""
        if encrypted.text("type") == "pkmsg":
            message = Fields.parse(message[1:]).bytes(_INNER)
        fields = Fields.parse(message[1:-_SIGNAL_MAC_BYTES])
        return sender, receiver, fields.bytes(_RATCHET_KEY), fields.number(_COUNTER)
    except ValueError:
        return None  # no Signal message, such as a group's
