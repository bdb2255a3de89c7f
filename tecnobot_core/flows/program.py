"""A flow as a flat set of addressed steps, so that a conversation can stand at any of them."""

from collections.abc import Callable, Iterator

from ..errors import FlowError
from .forms import PlacedStep, expand
from .menus import branch_of
from .steps import AnyStep, Form, Menu, When


class Program:
    """The steps of one version of a flow: each under its address, with what comes behind it.

    The address of a step is its id. Without one it is its place: its number among its neighbours, after the address of
    the step and the name of the branch that hold them, as in "3", "2.then.1" and "3.pay-later.1" (the folded label of a
    choice). So an address survives every edit but those among the neighbours before it, or of the label around it. A
    form is named by its name, and a field of it by its variable, as in "registro.email"; ``forms`` tells the rest.

    Raises FlowError when two steps have one address or a menu shows one label twice. Nesting costs no recursion.
    """

    def __init__(self, flow_id: str, version: int | Callable[[], int], steps: tuple[AnyStep, ...]) -> None:
        self.flow_id = flow_id
        self._version = version
        self.first = _entry("", steps, None)
        self._steps: dict[str, PlacedStep] = {}
        self._next: dict[str, str | None] = {}
        self._entries: dict[tuple[str, str], str | None] = {}
        self._lay_out(steps)

    @property
    def version(self) -> int:
        """The number that tells it from others of the flow; found out when somebody first asks."""
        # Conversations that only say something never ask, and where it follows from the steps it costs more than they.
        if callable(self._version):
            self._version = self._version()
        return self._version

    def __getitem__(self, address: str) -> PlacedStep:
        return self._steps[address]

    def has(self, address: str) -> bool:
        """Whether a step has that address."""
        return address in self._steps

    def next(self, address: str) -> str | None:
        """Where it goes on behind a step, out of the branches that end with it; None at the end of the flow."""
        return self._next[address]

    def enter(self, address: str, branch: str) -> str | None:
        """Where a branch of a step begins; behind the step when the branch has no steps."""
        return self._entries[address, branch]

    def _lay_out(self, steps: tuple[AnyStep, ...]) -> None:
        blocks: list[tuple[str, tuple[AnyStep, ...], str | None]] = [("", steps, None)]
        while blocks:
            prefix, block, behind = blocks.pop()
            addresses = [address_of(prefix, number, step) for number, step in enumerate(block, 1)]
            for step, address, following in zip(block, addresses, [*addresses[1:], behind], strict=False):
                if not isinstance(step, AnyStep):
                    kind = type(step).__name__
                    raise FlowError(f"flow {self.flow_id!r}, step {address!r}: {kind} is no kind of step")
                if isinstance(step, Form):
                    self._lay_out_form(step, address, following)
                    continue
                self._add(address, step, following)
                for branch, inner in _branches(step):
                    inside = f"{address}.{branch}."
                    self._add_entry(address, branch, _entry(inside, inner, following))
                    blocks.append((inside, inner, following))

    def _lay_out_form(self, form: Form, address: str, following: str | None) -> None:
        first, *others = expand(form, address, following)
        self._add(address, form, first.address)
        for laid in (first, *others):
            self._add(laid.address, laid.step, laid.behind)
            for branch, entry in laid.branches.items():
                self._add_entry(laid.address, branch, entry)

    def _add(self, address: str, step: PlacedStep, following: str | None) -> None:
        if address in self._steps:
            raise FlowError(f"flow {self.flow_id!r}: two steps have the address {address!r}; give one another id")
        self._steps[address] = step
        self._next[address] = following

    def _add_entry(self, address: str, branch: str, entry: str | None) -> None:
        if (address, branch) in self._entries:
            raise FlowError(
                f"flow {self.flow_id!r}, step {address!r}: two choices read {branch!r}; give one another label"
            )
        self._entries[address, branch] = entry


def address_of(prefix: str, number: int, step: AnyStep) -> str:
    """The address of the step at a *number*, counted from 1, within what *prefix* names."""
    # What is no step at all gets a place as well, for the error that refuses it.
    named = getattr(step, "id", "") or (step.name if isinstance(step, Form) else "")
    return named or f"{prefix}{number}"


def _branches(step: AnyStep) -> Iterator[tuple[str, tuple[AnyStep, ...]]]:
    if isinstance(step, Menu):
        for choice in step.choices:
            yield branch_of(choice), choice.steps
    elif isinstance(step, When):
        yield "then", step.then
        yield "otherwise", step.otherwise


def _entry(prefix: str, steps: tuple[AnyStep, ...], behind: str | None) -> str | None:
    return address_of(prefix, 1, steps[0]) if steps else behind
