"""What an owner writes: flows, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self, get_args

from ..errors import FlowError
from .checking import check_steps
from .expressions import Expression
from .folding import fold
from .reading import read_steps, write_steps
from .steps import AnyStep, Send
from .templates import check_template

TriggerKind = Literal["word", "exact", "prefix", "contains", "regex"]
FlowEvent = Literal[
    "welcome", "unknown", "voice", "image", "document", "location", "contact", "sticker", "video", "reaction"
]

MAX_KEYWORD_CHARS = 200  # a keyword is a few words; longer ones are texts that were pasted into the wrong field
MAX_PATTERN_CHARS = 512  # nobody can check a longer expression by reading it
MIN_PART_CHARS = 2  # one letter is contained in nearly every message


@dataclass(frozen=True, slots=True)
class Keyword:
    """Starts a flow when a message fits.

    "word": the words stand in it, in this order. "exact": they are all of it. "prefix": it begins with them.
    "contains": the letters stand in it, also inside of a word. These ignore case, accents and punctuation. "regex": the
    expression occurs in it as it was written, in whatever case; its ``\\w`` and ``\\b`` know only ASCII, ``\\p{Latin}``
    is any letter.
    """

    text: str
    kind: TriggerKind = "word"


@dataclass(frozen=True, slots=True)
class Flow:
    """A conversation: what starts it and what it says.

    ``keywords`` and ``event`` start it; of several that fit, the more specific keyword wins, then the higher
    ``priority``, then the smaller ``id``. The keywords of a flow that ``interrupts`` also work while another flow waits
    for an answer ("cancelar", "menú"). Building methods return a new flow, so a flow can be shared.
    """

    id: str
    keywords: tuple[Keyword, ...] = ()
    event: FlowEvent | None = None
    steps: tuple[AnyStep, ...] = ()
    priority: int = 0
    interrupts: bool = False

    def on(self, *texts: str, kind: TriggerKind = "word") -> Self:
        """Add keywords."""
        return replace(self, keywords=(*self.keywords, *(Keyword(text, kind) for text in texts)))

    def say(self, text: str, *buttons: str) -> Self:
        """Add a text to say."""
        return self.then(Send(text=text, buttons=buttons))

    def then(self, *steps: AnyStep) -> Self:
        """Add steps of any kind."""
        return replace(self, steps=(*self.steps, *steps))

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
        if self.interrupts and not self.keywords:
            raise FlowError(f"flow {self.id!r}: it interrupts, but has no keywords; give it the words that interrupt")
        for keyword in self.keywords:
            if problem := _keyword_problem(keyword):
                raise FlowError(f"flow {self.id!r}: {problem}")
        check_steps(self.id, self.steps, known_flows=None, check_condition=Expression, check_template=check_template)

    def response(self) -> dict[str, object]:
        """The stored form of everything but keywords and priority, in JSON types."""
        stored: dict[str, object] = {"steps": write_steps(self.steps)}
        if self.event is not None:
            stored["event"] = self.event
        if self.interrupts:
            stored["interrupts"] = True
        return stored | _stored_kinds(self.keywords)

    @classmethod
    def from_stored(cls, id: str, keywords: list[str], response: object, priority: int = 0) -> "Flow":
        """Read the stored form; raise FlowError naming flow and field when it is malformed."""
        if not isinstance(response, Mapping):
            raise FlowError(f"flow {id!r}: response must be an object with a list 'steps', not {response!r:.80}")
        if unknown := sorted(set(response) - {"steps", "say", "event", "interrupts", *get_args(TriggerKind)}):
            raise FlowError(f"flow {id!r}: response has unknown fields {', '.join(unknown)}")
        if not isinstance(interrupts := response.get("interrupts", False), bool):
            raise FlowError(f"flow {id!r}: response.interrupts must be true or false, not {interrupts!r:.80}")
        flow = cls(
            id,
            _read_keywords(id, keywords, response),
            response.get("event"),
            _read_steps(id, response),
            priority,
            interrupts,
        )
        flow.check()
        return flow


def _keyword_problem(keyword: Keyword) -> str:
    """What is wrong with a keyword, and what is wanted; empty when nothing is."""
    kind, text = keyword.kind, keyword.text
    if kind not in get_args(TriggerKind):
        return f"keyword kind {kind!r} is unknown; use {', '.join(get_args(TriggerKind))}"
    folded = text.strip() if kind == "regex" else fold(text)
    if not folded:
        return "a keyword is empty; write the word that people send"
    if len(text) > (limit := MAX_PATTERN_CHARS if kind == "regex" else MAX_KEYWORD_CHARS):
        return f"a {kind} keyword has {len(text)} characters; at most {limit}"
    if kind == "contains" and len(folded) < MIN_PART_CHARS:
        return f"the contains keyword {text!r} would be found nearly everywhere; give it {MIN_PART_CHARS} letters"
    if kind in ("prefix", "contains") and not any(map(str.isalnum, folded)):
        return f"the {kind} keyword {text!r} has no letters, and symbols are only compared alone; use word or exact"
    return ""


def _stored_kinds(keywords: tuple[Keyword, ...]) -> dict[str, list[str]]:
    """By kind, the texts of keywords that are not only words."""
    others = {keyword.text for keyword in keywords if keyword.kind != "word"}
    stored: dict[str, list[str]] = {}
    for keyword in keywords:
        if keyword.text in others:
            stored.setdefault(keyword.kind, []).append(keyword.text)
    return stored


def _read_keywords(flow_id: str, texts: list[str], response: Mapping[str, object]) -> tuple[Keyword, ...]:
    if not all(isinstance(text, str) for text in texts):
        raise FlowError(f"flow {flow_id!r}: keywords must be texts")
    kinds: dict[str, list[TriggerKind]] = {text: [] for text in texts}
    for kind in get_args(TriggerKind):
        listed = response.get(kind, [])
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise FlowError(f"flow {flow_id!r}: response.{kind} must be a list of keywords")
        for text in dict.fromkeys(listed):
            if text in kinds:
                kinds[text].append(kind)
    word: list[TriggerKind] = ["word"]
    return tuple(Keyword(text, kind) for text, found in kinds.items() for kind in found or word)


def _read_steps(flow_id: str, response: Mapping[str, object]) -> tuple[AnyStep, ...]:
    """Steps of every kind under "steps", or texts alone under "say"."""
    if "say" not in response:
        return read_steps(response.get("steps"), flow_id)
    if "steps" in response:
        raise FlowError(f"flow {flow_id!r}: response has both 'say' and 'steps'; put the texts among the steps")
    say = response["say"]
    if not isinstance(say, list):
        raise FlowError(f"flow {flow_id!r}: response.say must be a list of texts, not {say!r:.80}")
    return read_steps([_say(item) for item in say], flow_id)


def _say(item: object) -> object:
    """A text with buttons, as a step."""
    if not isinstance(item, Mapping) or "text" not in item:
        return item
    return {"say" if name == "text" else name: value for name, value in item.items()}


@dataclass(frozen=True, slots=True)
class FlowMatch:
    """A flow that a message starts, and the keyword or event that it was found by.

    ``suggested``: the message looks like a mistyped ``matched``, which nobody has said yet; ask before starting it.
    """

    flow: Flow
    matched: str
    suggested: bool = False


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
