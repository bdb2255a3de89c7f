"""The keywords of one kind, by the form in which they are compared."""

from collections.abc import Iterator, Sequence

from ..folding import fold, fold_letters
from ..model import Flow, FlowMatch, TriggerKind


class Keywords:
    """Which flow a keyword of *kind* starts. *flows* come best first: the first to claim a keyword keeps it."""

    __slots__ = ("_flows", "_kind")

    def __init__(self, kind: TriggerKind, flows: Sequence[Flow]) -> None:
        self._kind = kind
        self._flows: dict[str, Flow] = {}
        for flow, text in _texts(kind, flows):
            folded = fold(text)
            # Most keywords are written as they are compared; one string for both halves the memory of an index.
            self._flows.setdefault(text if text == folded else folded, flow)

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._flows)

    def get(self, folded: str) -> Flow | None:
        """The flow that a keyword starts."""
        return self._flows.get(folded)

    def match(self, folded: str) -> FlowMatch | None:
        """The same, with the keyword as its owner wrote it."""
        flow = self._flows.get(folded)
        if flow is None:
            return None
        texts = [keyword.text for keyword in flow.keywords if keyword.kind == self._kind]
        return FlowMatch(flow, folded if folded in texts else next(text for text in texts if fold(text) == folded))


def rank(flow: Flow) -> tuple[int, str]:
    """Sorts the better of equally specific flows first."""
    return -flow.priority, flow.id


def alike_but_for_symbols(flows: Sequence[Flow]) -> dict[str, FlowMatch]:
    """Of keywords that folding makes one ("C", "C++"), what each starts, by its letters and symbols.

    Only of keywords that can be a whole message, the exact ones first.
    """
    texts = [found for kind in ("exact", "word") for found in _texts(kind, flows)]
    with_symbols = {fold(text) for _, text in texts if not text.replace(" ", "").isalnum()}
    forms: dict[str, dict[str, FlowMatch]] = {folded: {} for folded in with_symbols}
    for flow, text in texts if with_symbols else ():
        if (alike := forms.get(fold(text))) is not None:
            alike.setdefault(fold_letters(text), FlowMatch(flow, text))
    return {form: match for alike in forms.values() if len(alike) > 1 for form, match in alike.items()}


def _texts(kind: TriggerKind, flows: Sequence[Flow]) -> Iterator[tuple[Flow, str]]:
    return ((flow, keyword.text) for flow in flows for keyword in flow.keywords if keyword.kind == kind)
