"""Customers who write all at once or at random moments, and note how each message was answered."""

import asyncio
import random
import time
from collections.abc import Sequence
from itertools import accumulate

from tecnobot_core.connection import DisconnectReason, Lost, Opened, Sink
from tecnobot_core.flows import Flow
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage
from tecnobot_core.tasks import Tasks

N_FLOWS = 20
AHEAD = 1000  # messages that wait unacknowledged, as a transport would hold them


def flows() -> list[Flow]:
    """What the customers ask for."""
    return [Flow(f"flow-{n}").on(f"palabra{n:02}").say(f"Respuesta {n:02}") for n in range(N_FLOWS)]


def chat_id(number: int) -> ChatId:
    """A number in Mexico, as WhatsApp writes it."""
    return ChatId(f"521550{number:07}")


class Customers:
    """A transport with *n_messages* of *n_chats*, who write in turn.

    *per_s* messages come at random moments, whether earlier ones are answered or not; None: all of them at once. An
    answer's time counts from the moment when its message was written, also while the bot was not ready to take it.
    """

    def __init__(
        self,
        n_messages: int,
        n_chats: int,
        per_s: float | None,
        *,
        without_first_chat: bool = False,
        seed: int = 4,
    ) -> None:
        chance = random.Random(seed)
        gaps_s = (0.0 if per_s is None else chance.expovariate(per_s) for _ in range(n_messages))
        self._written_at_s = list(accumulate(gaps_s))
        self._n_chats = n_chats
        self._without_first_chat = without_first_chat
        self._tasks = Tasks("customers")
        self._unacknowledged = 0
        self._room = asyncio.Event()
        self._began = 0.0
        self._answers: list[tuple[int, float]] = []

    async def open(self, sink: Sink) -> None:
        self._began = time.perf_counter()
        sink(Opened())
        self._tasks.start(self._write(sink), "write")

    async def close(self) -> None:
        await self._tasks.aclose()

    async def ping(self) -> None:
        """Nothing to ask."""

    async def send(self, message: OutboundMessage) -> None:
        self._answers.append((int(message.key.partition("/")[0]), time.perf_counter() - self._began))

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        self._unacknowledged -= len(message_ids)
        self._room.set()

    def findings(self, n_first: int = 0) -> dict[str, float]:
        """Rate, times in milliseconds, and what went wrong; the *n_first* messages count apart from p50 and p99."""
        measured = [(number, at_s) for number, at_s in self._answers if self._is_measured(number)]
        took_ms = [(number, (at_s - self._written_at_s[number]) * 1000) for number, at_s in measured]
        millis = sorted(ms for number, ms in took_ms if number >= n_first)
        numbers = [number for number, _ in took_ms]
        return {
            "per_s": len(took_ms) / max(at_s for _, at_s in measured),
            "first_ms": max((ms for number, ms in took_ms if number < n_first), default=0.0),
            "p50_ms": millis[int(0.5 * (len(millis) - 1))],
            "p99_ms": millis[int(0.99 * (len(millis) - 1))],
            "lost": sum(map(self._is_measured, range(len(self._written_at_s)))) - len(set(numbers)),
            "doubled": len(numbers) - len(set(numbers)),
            "out_of_order": self._out_of_order(numbers),
        }

    def _is_measured(self, number: int) -> bool:
        return not self._without_first_chat or number % self._n_chats != 0

    def _out_of_order(self, numbers: Sequence[int]) -> int:
        highest: dict[int, int] = {}
        late = 0
        for number in numbers:
            chat = number % self._n_chats
            late += number < highest.get(chat, -1)
            highest[chat] = max(number, highest.get(chat, -1))
        return late

    async def _write(self, sink: Sink) -> None:
        for number, at_s in enumerate(self._written_at_s):
            while self._unacknowledged >= AHEAD:
                self._room.clear()
                await self._room.wait()
            if (wait_s := self._began + at_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            self._unacknowledged += 1
            sink(self._message(number))
        sink(Lost(DisconnectReason.ENDED, retryable=False))

    def _message(self, number: int) -> InboundMessage:
        chat, place = number % self._n_chats, number // self._n_chats
        topic = (chat + place) % N_FLOWS
        return InboundMessage(
            id=str(number),
            chat=chat_id(chat),
            sent_at=self._written_at_s[number],
            text=f"hola, quiero saber de palabra{topic:02}",
        )
