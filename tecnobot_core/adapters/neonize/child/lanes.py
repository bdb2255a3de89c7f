"""Threads that call the library. One that does not return in time is left behind, and holds up nothing else."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable

from .frames import Frame

# Each lane is a thread, so that a long call holds up nothing else. Sends keep their order, but for those with an
# attachment: to one chat nothing is sent before the answer to what was sent last.
_LANES = {"send": "send", "fetch": "fetch", "typing": "signs", "presence": "signs", "read": "signs"}

MAX_LEFT_BEHIND = 3  # each may hold an attachment in memory


class Lanes:
    """Has *answer* answer requests, each kind in its order, and says the answers.

    A request may tell how long somebody waits for it, ``within_s``. After that nothing begins any more, and what it
    began is nobody's business: it gets ``until`` on the way, in seconds of ``time.monotonic``.
    """

    def __init__(self, answer: Callable[[Frame], Frame], say: Callable[[Frame], None]) -> None:
        self._answer = answer
        self._say = say
        self._lanes: dict[str, _Lane] = {}
        self._left_behind: list[_Lane] = []

    def put(self, request: Frame) -> None:
        """Answer *request* when its lane is free."""
        do = str(request["do"])
        name = "attachments" if do == "send" and request.get("media") else _LANES.get(do, do)
        until = time.monotonic() + request["within_s"] if request.get("within_s") else None
        if name not in self._lanes:
            self._lanes[name] = _Lane(name, self._answer, self._say)
        self._replace_if_stuck(name)
        self._lanes[name].waiting.put({**request, "until": until})

    def replace_stuck(self) -> str:
        """Give each lane that is stuck a new thread; why that does not help any more, or an empty text."""
        stuck = [name for name in self._lanes if not self._replace_if_stuck(name)]
        return f"the library does not return from {', '.join(stuck)}" if stuck else ""

    def _replace_if_stuck(self, name: str) -> bool:
        """Whether what comes next in the lane can begin.

        Texts are sent one at a time: behind one that is stuck, no thread could send another.
        """
        lane = self._lanes[name]
        if not lane.is_stuck():
            return True
        self._left_behind = [other for other in self._left_behind if other.began is not None]
        if name == "send" or len(self._left_behind) >= MAX_LEFT_BEHIND:
            return False
        self._left_behind.append(lane)
        self._lanes[name] = lane.take_over()
        return True


class _Lane:
    def __init__(self, name: str, answer: Callable[[Frame], Frame], say: Callable[[Frame], None]) -> None:
        self._name = name
        self._answer = answer
        self._say = say
        self._is_left = False
        self.waiting = queue.SimpleQueue[Frame]()
        self.began: Frame | None = None
        threading.Thread(target=self._work, args=(self.waiting,), name=name, daemon=True).start()

    def is_stuck(self) -> bool:
        return (request := self.began) is not None and is_late(request)

    def take_over(self) -> "_Lane":
        """Another lane for what waits; this one ends with what it does now."""
        self._is_left = True
        other = _Lane(self._name, self._answer, self._say)
        with contextlib.suppress(queue.Empty):
            while True:
                other.waiting.put(self.waiting.get_nowait())
        return other

    def _work(self, waiting: "queue.SimpleQueue[Frame]") -> None:
        while not self._is_left:
            request = waiting.get()
            if is_late(request):
                continue
            self.began = request
            answer = self._answer(request)
            self.began = None
            self._say({"type": "answer", "n": request["n"], **answer})


def is_late(request: Frame) -> bool:
    """Whether nobody waits for *request* any more."""
    until: float | None = request.get("until")
    return until is not None and time.monotonic() > until
