"""What an owner writes: flows, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self, get_args

from ..errors import FlowError
from .folding import fold

TriggerKind = Literal["word", "exact"]
FlowEvent = Literal["welcome", "unknown", "voice", "image", "document", "location", "contact", "sticker", "video"]

MAX_KEYWORD_CHARS = 200  # a keyword is a few words; longer ones are texts that were pasted into the wrong field


@dataclass(frozen=True, slots=True)
class Keyword:
    """Starts a flow: "word" when the words occur in the message in this order, "exact" when they are all of it."""

    text: str
    kind: TriggerKind = "word"


@dataclass(frozen=True, slots=True)
class Say:
    """Sends a text, and a numbered list of choices where there are buttons."""

    text: str
    buttons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """A conversation: what starts it and what it says.

    ``keywords`` and ``event`` start it; of several that fit, the more specific keyword wins, then the higher
    ``priority``, then the smaller ``id``. Building methods return a new flow, so a flow can be shared.
    """

    id: str
    keywords: tuple[Keyword, ...] = ()
    event: FlowEvent | None = None
    steps: tuple[Say, ...] = ()
    priority: int = 0

    def on(self, *texts: str, kind: TriggerKind = "word") -> Self:
        """Add keywords."""
        return replace(self, keywords=(*self.keywords, *(Keyword(text, kind) for text in texts)))

    def say(self, text: str, *buttons: str) -> Self:
        """Add a text to say."""
        return replace(self, steps=(*self.steps, Say(text, buttons)))

    def check(self) -> None:
        """Raise FlowError, naming the field, unless this flow can be served."""
        if not self.id.strip():
            raise FlowError("a flow has an empty id; give it a name")
        if not self.id.isprintable():
            raise FlowError(f"flow {self.id!r}: the id has invisible characters; use letters, digits, - and _")
        if not self.keywords and self.event is None:
            raise FlowError(f"flow {self.id!r}: nothing starts it; give it keywords or an event")
        if self.event is not None and self.event not in get_args(FlowEvent):
            raise FlowError(f"flow {self.id!r}: event {self.event!r} is unknown; use {', '.join(get_args(FlowEvent))}")
        if not self.steps:
            raise FlowError(f"flow {self.id!r}: it says nothing; give it at least one step")
        for keyword in self.keywords:
            if keyword.kind not in get_args(TriggerKind):
                raise FlowError(f"flow {self.id!r}: keyword kind {keyword.kind!r} is unknown; use word or exact")
            if not fold(keyword.text):
                raise FlowError(f"flow {self.id!r}: a keyword is empty; write the word that people send")
            if len(keyword.text) > MAX_KEYWORD_CHARS:
                raise FlowError(
                    f"flow {self.id!r}: a keyword has {len(keyword.text)} characters; at most {MAX_KEYWORD_CHARS}"
                )
        for number, step in enumerate(self.steps, 1):
            if not step.text.strip():
                raise FlowError(f"flow {self.id!r}, step {number}: the text is empty; write what to say")

    def response(self) -> dict[str, object]:
        """The stored form of everything but keywords and priority, in JSON types."""
        stored: dict[str, object] = {"say": [{"text": s.text, "buttons": list(s.buttons)} for s in self.steps]}
        if self.event is not None:
            stored["event"] = self.event
        # A text that is both is found in more messages as words, so that is what is kept of it.
        words = {keyword.text for keyword in self.keywords if keyword.kind == "word"}
        if exact := [keyword.text for keyword in self.keywords if keyword.text not in words]:
            stored["exact"] = exact
        return stored

    @classmethod
    def from_stored(cls, id: str, keywords: list[str], response: object, priority: int = 0) -> "Flow":
        """Read the stored form; raise FlowError naming flow and field when it is malformed."""
        if not isinstance(response, Mapping):
            raise FlowError(f"flow {id!r}: response must be an object with a list 'say', not {response!r:.80}")
        if unknown := sorted(set(response) - {"say", "event", "exact"}):
            raise FlowError(f"flow {id!r}: response has unknown fields {', '.join(unknown)}")
        if not all(isinstance(text, str) for text in keywords):
            raise FlowError(f"flow {id!r}: keywords must be texts")
        exact = response.get("exact", [])
        if not isinstance(exact, list) or not all(isinstance(text, str) for text in exact):
            raise FlowError(f"flow {id!r}: response.exact must be a list of keywords")
        flow = cls(
            id,
            tuple(Keyword(text, "exact" if text in exact else "word") for text in keywords),
            response.get("event"),
            _read_steps(id, response.get("say")),
            priority,
        )
        flow.check()
        return flow


def _read_steps(flow_id: str, say: object) -> tuple[Say, ...]:
    if not isinstance(say, list):
        raise FlowError(f"flow {flow_id!r}: response.say must be a list of texts, not {say!r:.80}")
    steps = []
    for number, item in enumerate(say, 1):
        where = f"flow {flow_id!r}, step {number}"
        if isinstance(item, str):
            item = {"text": item}
        if not isinstance(item, Mapping) or not isinstance(item.get("text"), str):
            raise FlowError(f"{where}: must be a text, or an object with 'text', not {item!r:.80}")
        buttons = item.get("buttons", [])
        if not isinstance(buttons, list) or not all(isinstance(button, str) for button in buttons):
            raise FlowError(f"{where}: buttons must be a list of texts")
        steps.append(Say(item["text"], tuple(buttons)))
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class FlowMatch:
    """A flow that a message starts, and the keyword or event that it was found by."""

    flow: Flow
    matched: str


class FlowStore(Protocol):
    """Where flows are kept. Failures are StoreError."""

    async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
        """The active flows of a chatbot, and one error for each that is broken."""
        ...

    async def version(self, chatbot_id: str) -> int:
        """A number that grows with every change of the chatbot's flows."""
        ...

    async def add(self, chatbot_id: str, flow: Flow) -> bool:
        """Add *flow*; False, and nothing changed, when there is one with its id."""
        ...

    async def put(self, chatbot_id: str, flow: Flow) -> None:
        """Add *flow*, or replace the one with its id."""
        ...

    async def remove(self, chatbot_id: str, flow_id: str) -> bool:
        """Remove a flow; False when there was none."""
        ...
