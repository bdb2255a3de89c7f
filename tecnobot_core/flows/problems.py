"""What is wrong with a flow: all of it at once, each problem with the place where it stands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from itertools import islice

from ..errors import FlowError, FlowProblem

MAX_STEPS = 10_000
MAX_NESTING = 50  # levels of steps; readers, writers and interpreters may recurse so deep on any stack
MAX_TEXT_CHARS = 4_096  # WhatsApp cuts what is longer
MAX_LABEL_CHARS = 100  # of what is read at a glance, and of names; they are parts of the addresses of steps
MAX_FLOW_BYTES = 1024 * 1024

_SHOWN = 10
_KEPT = 1_000  # that are told one by one to tools; nobody mends more before reading a flow again
_MAX_PROBLEMS = 10_000  # a document that is wrong in so many places is another kind of document; reading on is waste
_FOUND_CHARS = 80
_MAX_CANDIDATES = 1_000  # names that are compared for "did you mean"; each costs about 10 µs
_MAX_COMPARISONS = _SHOWN * _MAX_CANDIDATES  # for all problems of a flow

_MAX_PIECES = 10  # of a place; the middle of a longer one is left out

_WORDS = {"": "step", "steps": "step", "say": "step", "then": "step", "otherwise": "step"} | {
    "choices": "choice",
    "fields": "field",
}
_ROOTS = {"": ("steps",), "say": ("say",)}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a stored flow, as keys and indices from the list of its steps, or from ``TOP``.

    Prints as an owner counts: "step 3 'pay', choice 2, step 1". ``level`` counts the steps from the outermost, 1.
    """

    above: "Place | None" = None
    key: str | int = ""
    id: str = ""
    level: int = 0
    is_said: bool = True

    def at(self, key: str | int, id: str = "") -> "Place":
        """The place of a field, or of an item of the list that stands here."""
        is_step = isinstance(key, int) and _WORDS.get(str(self.key)) == "step"
        return Place(self, key, id, self.level + is_step)

    def about(self, key: str) -> "Place":
        """The place of a field that sentences name themselves: it is not printed."""
        return Place(self, key, "", self.level, is_said=False)

    @property
    def path(self) -> tuple[str | int, ...]:
        """The keys and indices that lead here from the top of the stored flow."""
        places = self._outermost_first()
        root = places[0].above if places else self
        return (*_ROOTS.get(str(root.key) if root else "", ()), *(place.key for place in places))

    def __str__(self) -> str:
        pieces: list[str] = []
        for place in self._outermost_first():
            if isinstance(place.key, str):
                pieces += [cut(place.key)] if place.is_said else []
                continue
            container = str(place.above.key) if place.above else ""
            word = _WORDS.get(container, "item")
            if container in ("steps", "choices", "fields"):
                pieces.pop()
            pieces.append(f"{word} {place.key + 1}" + (f" {cut(place.id)!r}" if place.id else ""))
        if len(pieces) > _MAX_PIECES:
            pieces[_MAX_PIECES // 2 : -_MAX_PIECES // 2] = ["…"]
        return ", ".join(pieces)

    def _outermost_first(self) -> list["Place"]:
        places: list[Place] = []
        place: Place | None = self
        while place is not None and place.above is not None:
            places.append(place)
            place = place.above
        return places[::-1]


TOP = Place(key="top")
"""The place of a stored flow as a whole, which holds "steps" and what stands beside it."""


@dataclass(slots=True)
class Problems:
    """Collects what is wrong with the flow *flow_id*; ``raise_if_any`` says it in one FlowError."""

    flow_id: str
    count: int = 0
    _kept: list[FlowProblem] = field(default_factory=list)
    _comparisons: int = 0
    _steps: int = 0
    _bytes: int = 0

    def add(self, place: Place, sentence: str, *, name: object = None, known: Iterable[str] = ()) -> None:
        """Note a problem; of the *known* names the nearest to the wrong *name* is suggested."""
        self.count += 1
        if len(self._kept) < _KEPT:
            self._kept.append(self._problem(place, sentence + self._suggest(name, known), name))
        if self.count > _MAX_PROBLEMS:
            self.raise_if_any()

    @property
    def listed(self) -> Sequence[FlowProblem]:
        """The problems so far, but for those beyond the first thousand."""
        return self._kept

    def include(self, error: FlowError) -> None:
        """Note what another check of the same flow found."""
        problems = error.problems or [FlowProblem(flow_id=self.flow_id, path=(), sentence=str(error))]
        self.count += len(problems)
        self._kept += problems[: _KEPT - len(self._kept)]

    def is_sound(self, field: str) -> bool:
        """Whether nothing is wrong so far with the *field* of the stored flow."""
        return not any(problem.path[:1] == (field,) for problem in self._kept)

    def enter_step(self, place: Place) -> bool:
        """Count a step; False when it is nested too deep to look at. Raises FlowError when there are too many."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            self._refuse(f"has more than {MAX_STEPS:,} steps; make several flows of it")
        if place.level > MAX_NESTING:
            self.add(place, f"steps are nested more than {MAX_NESTING} levels deep; call another flow instead")
        return place.level <= MAX_NESTING

    def weigh(self, data: object, place: Place) -> None:
        """Add the bytes of stored *data*: its texts and names in UTF-8, and two for each value.

        Raises FlowError beyond ``MAX_FLOW_BYTES``, and when something contains itself, as the aliases of YAML permit.
        """
        self._add_bytes(data)
        open_ids = {id(data)}
        branch = [(place, data, _parts(data))]
        while branch:
            above, container, parts = branch[-1]
            for key, value in parts:
                if isinstance(key, str):
                    self._add_bytes(key)
                self._add_bytes(value)
                if value and isinstance(value, dict | list | tuple):
                    inner = above.at(key if isinstance(key, str | int) else found(key))
                    if id(value) in open_ids:
                        self.add(inner, "contains itself; write out what it should hold")
                        self.raise_if_any()
                    open_ids.add(id(value))
                    branch.append((inner, value, _parts(value)))
                    break
            else:
                open_ids.discard(id(container))
                branch.pop()

    def _add_bytes(self, value: object) -> None:
        self._bytes += 2
        if isinstance(value, str):
            self._bytes += len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        if self._bytes > MAX_FLOW_BYTES:
            self._refuse("is bigger than 1 MiB; make several flows of it")

    def raise_if_any(self) -> None:
        """Raise one FlowError with a line for each of the first problems, unless there is none."""
        if not self.count:
            return
        raise flow_error(self._kept, self.count, "at least " if self.count > _MAX_PROBLEMS else "")

    def _refuse(self, sentence: str) -> None:
        raise flow_error([self._problem(Place(), sentence)])

    def _problem(self, place: Place, sentence: str, name: object = None) -> FlowProblem:
        return FlowProblem(
            flow_id=self.flow_id,
            path=place.path,
            place=str(place),
            sentence=sentence,
            name=name if isinstance(name, str) else "",
        )

    def _suggest(self, name: object, known: Iterable[str]) -> str:
        if not isinstance(name, str) or self._comparisons > _MAX_COMPARISONS:
            return ""
        candidates = list(islice(known, _MAX_CANDIDATES))
        self._comparisons += len(candidates)
        return did_you_mean(name, candidates)


def flow_error(problems: Sequence[FlowProblem], count: int = 0, least: str = "") -> FlowError:
    """One error with a line for each of the first *problems*; *count*: how many there are, where not all were kept."""
    lines = [str(problem) for problem in problems[:_SHOWN]]
    more = max(count, len(problems)) - len(lines)
    return FlowError("\n".join([*lines, *([f"and {least}{more:,} more"] if more else [])]), problems)


def cut(text: str) -> str:
    """*text* in at most 80 characters."""
    return text if len(text) <= _FOUND_CHARS else text[: _FOUND_CHARS - 1] + "…"


def found(value: object) -> str:
    """What an owner wrote, in at most about 80 characters; never follows what it holds, which may hold itself."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return cut(repr(value[:_FOUND_CHARS]))
        case int() if abs(value) >= 10**_FOUND_CHARS:
            return f"a number of more than {_FOUND_CHARS} digits"  # Python refuses to print some of them
        case int() | float():
            return str(value)
        case list() | tuple():
            return f"a list of {len(value)}"
        case Mapping():
            names = ", ".join(str(key)[:20] if isinstance(key, str) else found(key) for key in islice(value, 4))
            return cut(f"an object with {names}") if names else "an empty object"
        case date():
            return f"the date {value}; write it in quotes"
    return f"a {type(value).__name__}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """ "; did you mean …?" when one of the *known* names is near to *name*, else nothing."""
    if not isinstance(name, str):
        return ""
    near = get_close_matches(name[:_FOUND_CHARS], list(islice(known, _MAX_CANDIDATES)), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _parts(value: object) -> Iterator[tuple[object, object]]:
    if isinstance(value, dict):
        return iter(value.items())
    return iter(enumerate(value)) if isinstance(value, list | tuple) else iter(())
