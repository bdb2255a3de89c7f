"""What an owner writes: flows, as values."""

from dataclasses import dataclass, field, replace
from typing import Self

from .building import Building
from .problems import Problems
from .steps import AnyStep
from .stored_flow import read_fields, write_response
from .triggers import FlowEvent as FlowEvent
from .triggers import Keyword as Keyword
from .triggers import TriggerKind as TriggerKind
from .whole_flow import check_flow


@dataclass(frozen=True, slots=True)
class Flow(Building):
    """A conversation: what starts it and what it says.

    ``keywords`` and ``event`` start it; of several that fit, the more specific keyword wins, then the higher
    ``priority``, then the smaller ``id``. The keywords of a flow that ``interrupts`` also work while another flow waits
    for an answer ("cancelar", "menú"). Building methods return a new flow, so a flow can be shared.

    ``version`` is given by the store; 0: it follows from what the steps are.
    """

    id: str
    keywords: tuple[Keyword, ...] = ()
    event: FlowEvent | None = None
    steps: tuple[AnyStep, ...] = ()
    priority: int = 0
    interrupts: bool = False
    version: int = field(default=0, compare=False)

    def on(self, *texts: str, kind: TriggerKind = "word") -> Self:
        """Add keywords."""
        return replace(self, keywords=(*self.keywords, *(Keyword(text, kind) for text in texts)))

    def then(self, *steps: AnyStep) -> Self:
        """Add steps of any kind."""
        return replace(self, steps=(*self.steps, *steps))

    def check(self) -> None:
        """Raise FlowError, with all reasons, unless this flow can be served."""
        problems = Problems(self.id)
        check_flow(self, problems)
        problems.raise_if_any()

    def response(self) -> dict[str, object]:
        """The stored form of everything but keywords and priority, in JSON types."""
        return write_response(self)

    @classmethod
    def from_stored(
        cls, id: str, keywords: list[str], response: object, priority: int = 0, *, version: int = 0
    ) -> "Flow":
        """Read the stored form; raise FlowError, with all that is wrong, when it is malformed or cannot be served."""
        problems = Problems(id)
        flow = cls(id, version=version, **read_fields(keywords, response, priority, problems))
        check_flow(flow, problems)
        problems.raise_if_any()
        return flow


@dataclass(frozen=True, slots=True)
class FlowMatch:
    """A flow that a message starts, and the keyword or event that it was found by.

    ``suggested``: the message looks like a mistyped ``matched``, which nobody has said yet; ask before starting it.
    """

    flow: Flow
    matched: str
    suggested: bool = False
