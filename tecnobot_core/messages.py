"""The values that travel between parts. All frozen; times are Unix seconds on the message's own clock."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MessageKind = Literal[
    "text", "voice", "audio", "image", "video", "document", "sticker", "location", "contact", "reaction", "unknown",
    "signal",
]  # fmt: skip
Role = Literal["system", "user", "assistant", "tool"]
Outcome = Literal["answered", "refused", "skipped", "failed", "expired"]

_print_key = b""


def print_chat_ids_with(key: bytes) -> None:
    """Hash printed chat ids with *key* (1 to 32 bytes), so that logs of several processes can be joined.

    Until this is called a random key of the process is used.
    """
    global _print_key
    if not 1 <= len(key) <= 32:
        raise ValueError(f"the key must have 1 to 32 bytes, not {len(key)}")
    _print_key = key


class ChatId(str):
    """The opaque address of a chat.

    Compares and hashes as the text it is, but prints as a keyed hash, so that no log line, trace or f-string holds a
    phone number by accident. ``reveal()`` gives the address to those who must dial it.
    """

    __slots__ = ()

    def reveal(self) -> str:
        """The address itself, as a plain ``str``."""
        return str.__str__(self)

    def __str__(self) -> str:
        if not _print_key:
            print_chat_ids_with(os.urandom(16))
        # 40 bits tell chats apart in a log; without the key they cannot be turned back by trying all numbers.
        data = str.encode(self, "utf-8", "surrogatepass")
        return "chat:" + hashlib.blake2s(data, key=_print_key, digest_size=5).hexdigest()

    def __repr__(self) -> str:
        return f"<{self}>"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaReference:
    """Where the bytes of an attachment are, so that they can be fetched when needed, also after a restart.

    ``address`` and ``key`` mean something to the transport alone; ``key`` and what a person named it never print.
    """

    kind: MessageKind
    address: str
    mime: str = ""
    size_bytes: int | None = None
    sha256: str = ""
    file_name: str = field(default="", repr=False)
    duration_s: float | None = None
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """What a person sent. ``id`` is unique within a chatbot; the text never prints.

    ``aliases`` are other addresses that the transport knows for the same person. Kind "signal" was sent by nobody: the
    bot tells itself, in the chat's lane, what its text names: "due" (the time of the position is over) or "release" (a
    handoff ends).
    """

    id: str
    chat: ChatId
    sent_at: float
    text: str = field(default="", repr=False)
    kind: MessageKind = "text"
    media: MediaReference | None = None
    sender_name: str = field(default="", repr=False)
    from_me: bool = False
    reply_to: str | None = None
    aliases: tuple[ChatId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundMessage:
    """What the bot says. ``key`` is unique within a chatbot: the same key is never sent on purpose twice.

    It is sent *delay_s* after the one before it in its chat was, or after its turn was committed.
    """

    chat: ChatId
    key: str
    text: str = field(default="", repr=False)
    media: MediaReference | None = None
    buttons: tuple[str, ...] = ()
    reply_to: str | None = None
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A function that the model wants called; ``arguments`` is the model's JSON text, unchecked."""

    id: str
    name: str
    arguments: str = field(default="{}", repr=False)


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One row of a conversation, as a language model sees it.

    A message of role "tool" answers the call named by ``tool_call_id``. ``pinned`` rows outlive the history window.
    """

    role: Role
    content: str = field(repr=False)
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """Where a conversation stands in a flow: which step of which version, and what was collected so far.

    ``stack`` holds the callers of the flow, the innermost last, each as (flow, step, version). ``kind`` is that of the
    step, which is waiting for an answer or a release until ``expires_at``; its question was asked at ``asked_at``, and
    ``retries`` times again since. At ``remind_at`` the person is reminded of it, once.
    """

    flow: str
    step: str
    version: int = 0
    variables: Mapping[str, object] = field(default_factory=dict, repr=False)
    stack: tuple[tuple[str, str, int], ...] = ()
    expires_at: float | None = None
    kind: str = ""
    asked_at: float | None = None
    retries: int = 0
    remind_at: float | None = None

    @property
    def due_at(self) -> float | None:
        """When something is to be done about it if nobody writes, in Unix seconds; None: never."""
        times = [at for at in (self.remind_at, self.expires_at) if at is not None]
        return min(times, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRecord:
    """What a person entered into the form *form*: values in JSON types by variable, and the *consent* agreed to."""

    form: str
    values: Mapping[str, object] = field(repr=False)
    submitted_at: float
    consent: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is known of a chat: ``history`` oldest first, ``position`` None outside a flow.

    ``welcomed_at`` is when it was last welcomed, in Unix seconds.
    """

    history: tuple[ChatMessage, ...] = ()
    position: Position | None = None
    welcomed_at: float | None = None


@dataclass(frozen=True, slots=True)
class TraceStep:
    """What one stage of the pipeline did with a message, and how long it took. Holds no text of the message."""

    stage: str
    detail: str
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One inbound message and everything it causes; committed once, as a whole.

    ``history`` is appended in order; ``position`` is where the conversation stands afterwards (None: in no flow);
    ``records`` are forms that were completed; ``welcomed_at`` is when it welcomed the person (None: it did not). All
    count only when ``outcome`` is "answered": whatever else happened leaves the conversation as it is.
    ``answered_by`` names the part that decided ("flow", "model", "knowledge", "rate_limit", …).
    """

    chat: ChatId
    inbound: tuple[str, ...]
    outcome: Outcome
    answered_by: str
    history: tuple[ChatMessage, ...] = ()
    position: Position | None = None
    outgoing: tuple[OutboundMessage, ...] = ()
    records: tuple[FormRecord, ...] = ()
    welcomed_at: float | None = None
    trace: tuple[TraceStep, ...] = ()
